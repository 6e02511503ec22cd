<?php
require_once __DIR__ . '/../../core/php/EVcharger.inc.php';
if (!isConnect('admin')) {
	throw new Exception('{{401 - Accès non autorisé}}');
}
?>
<div id="md_EVchargerCapture" class="EVchargerModal">
	<p>{{Une capture enregistre tout ce que le démon et ce chargeur se disent, pour le joindre à une demande d'aide : un développeur peut alors rejouer votre chargeur.}}</p>
	<p>{{Le fichier contient les trames, le profil du chargeur, ses réglages de liaison et les versions. Les registres de numéro de série et de badge y sont remplacés par des X ; le nom du port, l'adresse de votre réseau et la clé de Jeedom n'y sont pas. Regardez-le avant de le publier : c'est du texte.}}</p>
	<div class="EVchargerBar">
		<label>{{Durée (s)}}<input type="number" class="form-control" data-role="seconds" value="120" min="1" max="600"></label>
		<a class="btn btn-primary" data-role="start"><i class="fas fa-record-vinyl"></i> {{Capturer}}</a>
		<a class="btn btn-warning" data-role="stop" style="display:none"><i class="fas fa-stop"></i> {{Terminer maintenant}}</a>
	</div>
	<div data-role="running" style="display:none">
		<div class="progress"><div class="progress-bar" style="width:0"></div></div>
		<p>{{Capture en cours : faites maintenant ce qui pose problème (brancher, verrouiller, changer la limite…).}}</p>
	</div>
	<div data-role="result" aria-live="polite"></div>
	<table class="table table-bordered table-condensed" data-role="list" style="display:none">
		<thead>
			<tr>
				<th>{{Fichier}}</th>
				<th>{{Date}}</th>
				<th>{{Taille}}</th>
				<th></th>
			</tr>
		</thead>
		<tbody></tbody>
	</table>
</div>
<script>
	(function() {
		"use strict"

		const LATE_MS = 5000 // after which the end is no longer waited for

		const { element, ask, download, told } = EVchargerPage
		const box = document.getElementById('md_EVchargerCapture')
		const role = _name => box.querySelector('[data-role="' + _name + '"]')
		let timer = null

		function result(_level, _text) {
			role('result').replaceChildren(element('div', { class: 'alert alert-' + _level }, _text))
		}

		function button(_icon, _text, _click) {
			const made = element('a', { class: 'btn btn-default btn-xs' }, element('i', { class: 'fas ' + _icon }), ' ' + _text)
			made.addEventListener('click', _click)
			return made
		}

		function row(_capture) {
			const failed = _text => result('danger', _text)
			return element('tr', {},
				element('td', { class: 'EVchargerMono' }, _capture.name),
				element('td', {}, _capture.written),
				element('td', {}, Math.ceil(_capture.bytes / 1024) + ' {{Kio}}'),
				element('td', { class: 'EVchargerActions' },
					button('fa-download', '{{Télécharger}}', () => ask('capture_text', { name: _capture.name }, _text => download(_capture.name, _text), failed)), ' ',
					button('fa-trash', '{{Supprimer}}', () => ask('capture_remove', { name: _capture.name }, list, failed))))
		}

		function list() {
			ask('captures', {}, function(_captures) {
				role('list').style.display = _captures.length ? '' : 'none'
				role('list').tBodies[0].replaceChildren(..._captures.map(row))
			}, _text => result('danger', _text))
		}

		function run(_seconds) {
			const began = Date.now()
			role('start').style.display = 'none'
			role('stop').style.display = role('running').style.display = ''
			role('result').replaceChildren()
			timer = setInterval(function() {
				if (!box.isConnected) return clearInterval(timer)
				const passed = Date.now() - began
				box.querySelector('.progress-bar').style.width = Math.min(100, passed / _seconds / 10) + '%'
				if (passed > 1000 * _seconds + LATE_MS) end()
			}, 250)
		}

		function end() {
			clearInterval(timer)
			role('start').style.display = ''
			role('stop').style.display = role('running').style.display = 'none'
			list()
		}

		list()
		role('start').addEventListener('click', function() {
			ask('capture', { id: told.id, seconds: role('seconds').value }, _answer => run(_answer.seconds), _text => result('danger', _text))
		})
		role('stop').addEventListener('click', () => ask('capture_stop', { id: told.id }, end, _text => result('danger', _text)))
		EVchargerPage.listen('EVcharger::capture', box, function(_event) {
			if (_event.charger != told.id) return
			end()
			if (_event.error) result('danger', _event.error)
			else if (_event.truncated) result('warning', '{{Le fichier a atteint sa taille maximale : il y manque la fin.}}')
			else result('success', _event.frames + ' {{trames enregistrées.}}')
		})
	})()
</script>
