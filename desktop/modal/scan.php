<?php
require_once __DIR__ . '/../../core/php/EVcharger.inc.php';
if (!isConnect('admin')) {
	throw new Exception('{{401 - Accès non autorisé}}');
}
?>
<div id="md_EVchargerScan" class="EVchargerModal">
	<p>{{La recherche lit et n'écrit jamais. Les chargeurs déjà configurés continuent à être lus pendant ce temps.}}</p>
	<div class="EVchargerBar">
		<label>{{Où}}<select class="form-control" data-role="port"></select></label>
		<label data-role="typed">{{Chemin ou adresse de la passerelle}}<input type="text" class="form-control" size="32" placeholder="socket://192.168.1.50:4196" spellcheck="false" autocomplete="off"></label>
		<label>{{Étendue}}
			<select class="form-control" data-role="depth">
				<option value="quick">{{Rapide : réglages d'usine}}</option>
				<option value="normal" selected>{{Normale : toutes les vitesses, adresses 1 à 16}}</option>
				<option value="full">{{Complète : toutes les adresses}}</option>
			</select>
		</label>
		<a class="btn btn-primary" data-role="start"><i class="fas fa-search"></i> {{Rechercher}}</a>
		<a class="btn btn-warning" data-role="stop" style="display:none"><i class="fas fa-stop"></i> {{Arrêter}}</a>
	</div>
	<div data-role="running" style="display:none">
		<div class="progress"><div class="progress-bar" style="width:0"></div></div>
		<p data-role="text" aria-live="polite"></p>
	</div>
	<div data-role="errors"></div>
	<table class="table table-bordered table-condensed" data-role="found" style="display:none">
		<thead>
			<tr>
				<th>{{Port}}</th>
				<th>{{Réglages}}</th>
				<th>{{Adresse}}</th>
				<th>{{Appareil}}</th>
				<th>{{Ce qu'il montre}}</th>
				<th style="min-width:130px"></th>
			</tr>
		</thead>
		<tbody></tbody>
	</table>
</div>
<script>
	(function() {
		"use strict"

		const PERIOD_MS = 1000

		const { element, option, ask, told } = EVchargerPage
		const box = document.getElementById('md_EVchargerScan')
		const role = _name => box.querySelector('[data-role="' + _name + '"]')
		const typed = role('typed').querySelector('input')
		const added = new Map() // what became of a result, by place()
		let last = { found: [], done: true }
		let timer = null

		function place(_found) {
			return [_found.port, _found.baudrate, _found.parity, _found.stopbits, _found.unit].join(' ')
		}

		function link(_equipment) {
			return element('a', { href: 'index.php?v=d&m=EVcharger&p=EVcharger&id=' + _equipment.id }, _equipment.name)
		}

		function button(_style, _icon, _text, _click) {
			const made = element('a', { class: 'btn btn-xs ' + _style }, element('i', { class: 'fas ' + _icon }), ' ' + _text)
			made.addEventListener('click', _click)
			return made
		}

		/** The model that the user has chosen among those that fit. */
		function chooser(_found) {
			const select = element('select', { class: 'form-control input-sm' })
			select.append(..._found.models.map(_model => option(_model.id, _model.title)))
			return select
		}

		function settings(_found, _model) {
			const line = _found.framing == 'tcp' ? {} : { baudrate: _found.baudrate, parity: _found.parity, stopbits: _found.stopbits }
			return { model: _model, port: _found.port, unit: _found.unit, ...line }
		}

		function add(_found, _model) {
			const title = _found.models.find(_each => _each.id == _model)?.title ?? '{{Appareil inconnu}}'
			ask('add', { name: title, settings: JSON.stringify(settings(_found, _model)) }, function(_equipment) {
				added.set(place(_found), _equipment)
				show(last)
			}, fail)
		}

		function row(_found) {
			const equipment = added.get(place(_found)) ?? _found.equipment
			const select = _found.models.length > 1 && !equipment ? chooser(_found) : null
			const chosen = () => select?.value ?? _found.models[0]?.id ?? ''
			const device = element('td')
			if (!_found.models.length) device.append(element('b', {}, '{{Appareil inconnu}}'))
			else if (select) device.append('{{L’un de ceux-ci :}} ', select)
			else device.append(element('b', {}, _found.models[0].title))
			const shows = element('td', {}, _found.shown.map(_row => _row.name + ' : ' + (_row.value + ' ' + _row.unit).trim()).join(' · '))
			if (_found.answers) {
				const answers = _found.answers.map(_answer => element('div', { class: 'EVchargerMono' }, said(_answer)))
				shows.append('{{Il a répondu :}}', ...answers)
			}
			const actions = element('td')
			if (equipment) {
				actions.append(element('span', { class: 'label label-success' }, added.has(place(_found)) ? '{{Ajouté}}' : '{{Déjà configuré}}'), ' ', link(equipment))
			} else if (last.done) {
				if (told.use) actions.append(button('btn-primary', 'fa-check', '{{Utiliser}}', function() {
					told.use(settings(_found, chosen()))
					jeeDialog.get(box).close()
				}), ' ')
				const text = _found.models.length ? '{{Ajouter}}' : '{{Ajouter sans modèle}}'
				actions.append(button('btn-success', 'fa-plus-circle', text, () => add(_found, chosen())))
				if (!_found.models.length) actions.append(element('div', {}, '{{pour explorer ses registres, puis le décrire dans Mes profils}}'))
			}
			return element('tr', {}, element('td', {}, EVchargerPage.ports[_found.port] ?? _found.port), element('td', { class: 'EVchargerLine' }, line(_found)), element('td', {}, _found.unit), device, shows, actions)
		}

		function line(_found) {
			if (_found.framing == 'tcp') return 'Modbus TCP'
			return _found.baudrate + ' 8' + _found.parity + _found.stopbits + (_found.framing == 'rtu' ? '' : ' ' + _found.framing)
		}

		function hex(_number) {
			return _number.toString(16).toUpperCase().padStart(4, '0')
		}

		function said(_answer) {
			const what = _answer.words ? _answer.words.map(hex).join(' ') : '{{refus}} ' + _answer.refused
			return _answer.table + ' 0x' + hex(_answer.address) + ' : ' + what
		}

		function show(_event) {
			last = _event
			role('start').style.display = _event.done ? '' : 'none'
			role('stop').style.display = _event.done ? 'none' : ''
			role('running').style.display = ''
			box.querySelector('.progress-bar').style.width = 100 * (_event.progress ?? 0) + '%'
			role('text').textContent = _event.text
			role('errors').replaceChildren(...Object.entries(_event.errors ?? {}).map(([_port, _error]) =>
				element('div', { class: 'alert alert-warning' }, (EVchargerPage.ports[_port] ?? _port) + ' : ' + _error)))
			role('found').style.display = _event.found.length ? '' : 'none'
			role('found').tBodies[0].replaceChildren(..._event.found.map(row))
		}

		/** Shows how far the search is until it has ended, or is not there. */
		function follow() {
			clearTimeout(timer)
			if (!box.isConnected) return // the modal is closed
			ask('scan_state', {}, function(_state) {
				if (_state && !(last.done && _state.done)) show(_state)
				again()
			}, function(_text) {
				fail(_text)
				again()
			})
		}

		function again() {
			if (!last.done) timer = setTimeout(follow, PERIOD_MS)
		}

		function fail(_text) {
			role('errors').replaceChildren(element('div', { class: 'alert alert-danger' }, _text))
		}

		role('port').append(
			option('*', '{{Tous les ports de cette machine}}'),
			...Object.entries(EVchargerPage.ports).map(([_path, _label]) => option(_path, _label)),
			option('', '{{Autre : chemin ou adresse réseau}}'))
		if (told.port) {
			role('port').value = told.port in EVchargerPage.ports ? told.port : ''
			typed.value = told.port
		}
		const showTyped = () => role('typed').style.display = role('port').value == '' ? '' : 'none'
		showTyped()
		role('port').addEventListener('change', showTyped)
		role('start').addEventListener('click', function() {
			const port = role('port').value == '*' ? '' : role('port').value || typed.value.trim()
			if (port == '' && role('port').value != '*') return typed.focus()
			role('errors').replaceChildren()
			ask('scan', { port: port, depth: role('depth').value }, function() {
				show({ found: [], done: false, progress: 0, text: '{{Recherche en cours…}}' })
				follow()
			}, function(_text) {
				fail(_text)
				role('stop').style.display = '' // of one that runs already
			})
		})
		role('stop').addEventListener('click', () => ask('scan_stop', {}, function(_number) {
			if (_number === null) show({ ...last, done: true }) // it has ended unheard
		}, function(_text) {
			show({ ...last, done: true })
			fail(_text)
		}))
		follow() // one that was begun before this window was opened

		// Closed by its cross, it leaves the list behind it without what was added.
		box.closest('.jeeDialog').querySelector('.btClose').addEventListener('click', function close(_event) {
			_event.currentTarget.removeEventListener('click', close, true)
			if (box.isConnected && added.size && !told.use) setTimeout(() => jeedomUtils.loadPage('index.php?v=d&m=EVcharger&p=EVcharger'))
		}, true)
	})()
</script>
