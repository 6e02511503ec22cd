<?php
require_once __DIR__ . '/../../core/php/EVcharger.inc.php';
if (!isConnect('admin')) {
	throw new Exception('{{401 - Accès non autorisé}}');
}
?>
<div id="md_EVchargerProfiles" class="EVchargerModal">
	<p>{{Un chargeur que le plugin ne connaît pas se décrit par un profil : un fichier JSON qui nomme ses registres. Les vôtres sont gardés dans data/chargers, que les mises à jour ne touchent pas, et sont dans les sauvegardes de Jeedom.}}</p>
	<table class="table table-bordered table-condensed" data-role="list" style="display:none">
		<thead>
			<tr>
				<th>{{Profil}}</th>
				<th>{{Modèle}}</th>
				<th>{{État}}</th>
				<th>{{Utilisé par}}</th>
				<th></th>
			</tr>
		</thead>
		<tbody></tbody>
	</table>
	<div class="EVchargerBar">
		<label>{{Partir de…}}<select class="form-control" data-role="from"></select></label>
		<label class="btn btn-default" style="display:inline-block"><i class="fas fa-file-upload"></i> {{Depuis un fichier}}<input type="file" accept=".json,application/json" data-role="file" style="display:none"></label>
		<span style="flex:1"></span>
		<a class="btn btn-default" data-role="download"><i class="fas fa-download"></i> {{Télécharger}}</a>
		<a class="btn btn-primary" data-role="check"><i class="fas fa-spell-check"></i> {{Vérifier}}</a>
		<a class="btn btn-success" data-role="save"><i class="fas fa-check-circle"></i> {{Sauvegarder}}</a>
	</div>
	<div data-role="result" aria-live="polite"></div>
	<textarea class="form-control" rows="22" spellcheck="false" wrap="off" data-role="text" placeholder="{{Collez un profil ici, ou partez d'un profil fourni.}}"></textarea>
</div>
<script>
	(function() {
		"use strict"

		const { element, option, ask, download } = EVchargerPage
		const box = document.getElementById('md_EVchargerProfiles')
		const role = _name => box.querySelector('[data-role="' + _name + '"]')
		const text = role('text')
		let own = [] // ids of the user's profiles
		let edited = '' // id of the one in the editor, once it is kept

		function result(_level, ..._parts) {
			role('result').replaceChildren(element('div', { class: 'alert alert-' + _level }, ..._parts))
		}

		function edit(_text, _id = '') {
			text.value = _text
			edited = _id
			role('result').replaceChildren()
			text.setSelectionRange(0, 0)
			text.scrollTop = 0
			text.focus()
		}

		function button(_icon, _title, _click) {
			const made = element('a', { class: 'btn btn-default btn-xs', title: _title }, element('i', { class: 'fas ' + _icon }))
			made.addEventListener('click', _click)
			return made
		}

		function row(_profile) {
			const failed = _text => result('danger', _text)
			const state = _profile.error == '' ? element('span', { class: 'label label-success' }, '{{Valide}}') : element('span', {}, element('span', { class: 'label label-danger' }, '{{Erreur}}'), ' ' + _profile.error)
			const actions = element('td', { class: 'EVchargerActions' },
				button('fa-pencil-alt', '{{Modifier}}', () => ask('profile', { id: _profile.id }, function(_text) {
					edit(_text, _profile.id)
					if (isJson() && _profile.error != '') fault(_profile.error)
				}, failed)), ' ',
				button('fa-download', '{{Télécharger}}', () => ask('profile', { id: _profile.id }, _text => download(_profile.id + '.json', _text), failed)), ' ',
				button('fa-trash', '{{Supprimer}}', () => jeeDialog.confirm('{{Supprimer le profil}} ' + _profile.id + ' ?', function(_yes) {
					if (_yes) ask('profile_remove', { id: _profile.id }, changed, failed)
				})))
			return element('tr', { 'data-id': _profile.id }, element('td', { class: 'EVchargerMono' }, _profile.id + '.json'), element('td', {}, _profile.title), element('td', {}, state), element('td', {}, _profile.used.join(', ')), actions)
		}

		function list() {
			ask('profiles', {}, function(_profiles) {
				own = _profiles.map(_profile => _profile.id)
				role('list').style.display = own.length ? '' : 'none'
				role('list').tBodies[0].replaceChildren(..._profiles.map(row))
			}, _text => result('danger', _text))
		}

		/** Profiles have come or gone. */
		function changed(_answer) {
			EVchargerPage.setModels(_answer.models)
			fillFrom(_answer.models)
			list()
		}

		function fillFrom(_models) {
			role('from').replaceChildren(option('', '{{Choisir un profil à copier}}'), ..._models.map(_model => option(_model.id, _model.brand + ' ' + _model.model)))
		}

		// What is wrong, and where

		/** Offset of what a path such as $.points.power.address or $.notes[1] leads to, or of the last that is there. */
		function offset(_path) {
			const wanted = [..._path.matchAll(/\.([^.[\]\s]+)|\[(\d+)\]/g)].map(_part => _part[1] ?? Number(_part[2]))
			const stack = [] // of the objects and lists around: the key or the index at which we are
			let found = 0
			let best = 0
			for (const token of text.value.matchAll(/"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g)) {
				const top = stack[stack.length - 1]
				if (token[0] == '}' || token[0] == ']') stack.pop()
				else if (token[0] == ',') top.key = top.list ? top.key + 1 : null
				else if (top && !top.list && top.key === null) top.key = JSON.parse(token[0])
				const isThere = token[0] != ',' && stack.length <= wanted.length && stack.every((_level, _i) => _level.key === wanted[_i])
				if (isThere && stack.length > best) {
					best = stack.length
					found = token.index
				}
				if (token[0] == '{') stack.push({ list: false, key: null })
				if (token[0] == '[') stack.push({ list: true, key: 0 })
			}
			return found
		}

		/** Offset of what the browser finds wrong with the JSON, and its words; null when it is JSON. */
		function jsonFault() {
			try {
				JSON.parse(text.value)
				return null
			} catch (error) {
				const at = error.message.match(/position (\d+)/) // Chromium; Firefox gives line and column
				const line = error.message.match(/line (\d+) column (\d+)/)
				let offset = text.value.length
				if (at) offset = Number(at[1])
				else if (line) offset = text.value.split('\n').slice(0, line[1] - 1).join('\n').length + Number(line[2])
				return { offset: offset, text: error.message }
			}
		}

		function select(_offset) {
			const before = text.value.slice(0, _offset).split('\n')
			const end = text.value.indexOf('\n', _offset)
			text.focus()
			text.setSelectionRange(_offset, end < 0 ? text.value.length : end)
			text.scrollTop = (before.length - 5) * text.scrollHeight / text.value.split('\n').length
			text.scrollLeft = 0
			return before
		}

		/** Shows what the daemon says, « $.path : what was expected », and goes there. */
		function fault(_text) {
			result('danger', _text)
			const path = _text.match(/^\$[.[]\S*/) // not $ alone, the whole
			if (!path || jsonFault()) return
			const before = select(offset(path[0]))
			result('danger', '{{Ligne}} ' + before.length + ' : ' + _text)
		}

		/** Whether the text is JSON at all; the daemon looks at the rest. */
		function isJson() {
			const wrong = jsonFault()
			if (wrong === null) return true
			const before = select(wrong.offset)
			result('danger', '{{JSON invalide}}, {{ligne}} ' + before.length + ', {{colonne}} ' + (before[before.length - 1].length + 1) + ' : ' + wrong.text)
			return false
		}

		function id() {
			try {
				return String(JSON.parse(text.value).id)
			} catch {
				return 'profil'
			}
		}

		function save() {
			ask('profile_save', { text: text.value }, function(_answer) {
				edited = _answer.id
				result('success', '{{Sauvegardé : ce modèle peut être choisi dès maintenant.}}')
				changed(_answer)
			}, fault)
		}

		// Events

		fillFrom(EVchargerPage.models)
		list()
		role('from').addEventListener('change', function() {
			if (role('from').value == '') return
			ask('profile', { id: role('from').value }, function(_text) {
				// A name of its own: the shipped ones are taken.
				edit(_text.replace(/("id"\s*:\s*")([^"]*)"/, (_all, _before, _id) => _before + 'mon-' + _id.slice(0, 45) + '"'))
				role('from').value = ''
			}, _text => result('danger', _text))
		})
		role('file').addEventListener('change', async function() {
			if (role('file').files.length) edit(await role('file').files[0].text())
			role('file').value = ''
		})
		role('download').addEventListener('click', () => download(id() + '.json', text.value))
		role('check').addEventListener('click', function() {
			if (!isJson()) return
			ask('profile_check', { text: text.value }, function(_checked) {
				result('success', element('b', {}, _checked.title), ' : {{ce profil est valide. Il offre}} ' + _checked.commands.join(', ') + '.')
			}, fault)
		})
		role('save').addEventListener('click', function() {
			if (!isJson()) return
			if (id() == edited || !own.includes(id())) return save()
			jeeDialog.confirm('{{Un profil de ce nom existe déjà. Le remplacer ?}}', function(_yes) {
				if (_yes) save()
			})
		})
	})()
</script>
