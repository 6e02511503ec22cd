<?php
require_once __DIR__ . '/../../core/php/EVcharger.inc.php';
if (!isConnect('admin')) {
	throw new Exception('{{401 - Accès non autorisé}}');
}
?>
<div id="md_EVchargerRegisters" class="EVchargerModal">
	<p>{{Lecture seule, avec les réglages de la page de l'équipement. Ce qui vient de changer est en couleur : branchez le véhicule, changez un réglage, et regardez quel registre bouge. Une plage où manque un registre est souvent refusée tout entière : réduisez-la.}}</p>
	<div class="EVchargerBar">
		<label>{{Table}}
			<select class="form-control" data-role="table">
				<option value="holding">{{Holding (fonction 3)}}</option>
				<option value="input">{{Input (fonction 4)}}</option>
				<option value="coil">{{Coils (fonction 1)}}</option>
				<option value="discrete">{{Entrées binaires (fonction 2)}}</option>
			</select>
		</label>
		<label>{{Adresse (décimale, ou 0x… hexadécimale)}}<input type="text" class="form-control" data-role="address" value="0" spellcheck="false" autocomplete="off"></label>
		<label>{{Nombre}}<input type="number" class="form-control" data-role="count" value="10" min="1" max="125"></label>
		<label data-role="as">{{Valeurs}}
			<select class="form-control">
				<option value="uint16">uint16</option>
				<option value="int16">int16</option>
				<option value="uint32">{{uint32, mot fort d'abord}}</option>
				<option value="uint32le">{{uint32, mot faible d'abord}}</option>
				<option value="int32">{{int32, mot fort d'abord}}</option>
				<option value="int32le">{{int32, mot faible d'abord}}</option>
				<option value="float32">{{float32, mot fort d'abord}}</option>
				<option value="float32le">{{float32, mot faible d'abord}}</option>
				<option value="text">{{texte}}</option>
				<option value="bits">{{bits 15…0}}</option>
			</select>
		</label>
		<label>{{Toutes les (s)}}<input type="number" class="form-control" data-role="every" value="2" min="1" max="60"></label>
		<a class="btn btn-primary" data-role="go"><i class="fas fa-play"></i> {{Lire}}</a>
		<a class="btn btn-default" data-role="pause" style="display:none"><i class="fas fa-pause"></i> {{Pause}}</a>
	</div>
	<div data-role="result" aria-live="polite"></div>
	<table class="table table-bordered table-condensed" data-role="words" style="display:none">
		<thead>
			<tr>
				<th>{{Adresse}}</th>
				<th>{{Adresse (hexa)}}</th>
				<th>{{Registre (hexa)}}</th>
				<th>{{Valeur}}</th>
			</tr>
		</thead>
		<tbody class="EVchargerMono"></tbody>
	</table>
</div>
<script>
	(function() {
		"use strict"

		const { element, ask, told } = EVchargerPage
		const box = document.getElementById('md_EVchargerRegisters')
		const role = _name => box.querySelector('[data-role="' + _name + '"]')
		const as = role('as').querySelector('select')
		let timer = null
		let read = null // {table, address, words} as last read
		let before = null // the words of the read before it

		function hex(_number, _digits = 4) {
			return _number.toString(16).toUpperCase().padStart(_digits, '0')
		}

		/** A value of two registers, in the byte order of Modbus, the given word first. */
		function wide(_first, _second, _get) {
			const view = new DataView(new ArrayBuffer(4))
			view.setUint16(0, as.value.endsWith('le') ? _second : _first)
			view.setUint16(2, as.value.endsWith('le') ? _first : _second)
			return view[_get](0)
		}

		function value(_words) {
			const [first, second] = _words
			switch (as.value.replace(/le$/, '')) {
				case 'int16': return String(first << 16 >> 16)
				case 'text': return '« ' + [first >> 8, first & 0xFF].map(_code => _code < 0x20 || _code > 0x7E ? '·' : String.fromCharCode(_code)).join('') + ' »'
				case 'bits': return first.toString(2).padStart(16, '0').replace(/(....)(?=.)/g, '$1 ')
				case 'uint32': return second === undefined ? '' : String(wide(first, second, 'getUint32'))
				case 'int32': return second === undefined ? '' : String(wide(first, second, 'getInt32'))
				case 'float32': return second === undefined ? '' : String(Number(wide(first, second, 'getFloat32').toPrecision(7)))
			}
			return String(first)
		}

		function show() {
			if (read === null) return
			const bits = read.table == 'coil' || read.table == 'discrete'
			role('as').style.display = bits ? 'none' : ''
			const step = !bits && as.value.includes('32') ? 2 : 1
			const rows = []
			for (let i = 0; i < read.words.length; i += step) {
				const words = read.words.slice(i, i + step)
				const changed = before !== null && words.some((_word, _j) => _word !== before[i + _j]) ? { class: 'EVchargerChanged' } : {}
				rows.push(element('tr', {},
					element('td', {}, read.address + i),
					element('td', {}, '0x' + hex(read.address + i)),
					element('td', changed, words.map(_word => bits ? _word : hex(_word)).join(' ')),
					element('td', changed, bits ? words[0] : value(words))))
			}
			role('words').style.display = ''
			role('words').tBodies[0].replaceChildren(...rows)
		}

		/** What is asked for, as the user wrote it; an address in hexadecimal begins with 0x. */
		function asked() {
			const text = role('address').value.trim()
			const address = /^(0x[0-9a-f]{1,4}|\d{1,5})$/i.test(text) ? Number(text) : NaN
			const count = Number(role('count').value)
			if (!(address <= 0xFFFF)) return fail('{{Adresse : un nombre de 0 à 65535, ou de 0x0000 à 0xFFFF}}')
			if (!Number.isInteger(count) || count < 1 || count > 125) return fail('{{Nombre : de 1 à 125}}')
			return { table: role('table').value, address: address, count: count }
		}

		function fail(_text) {
			role('result').replaceChildren(element('div', { class: 'alert alert-danger' }, _text))
			return null
		}

		function run() {
			if (!box.isConnected) return // the modal is closed
			const wanted = asked()
			if (wanted === null) return stop()
			const turn = timer
			const again = function() {
				if (timer === turn) timer = setTimeout(run, 1000 * Math.max(1, Number(role('every').value) || 1))
			}
			ask('registers', { settings: JSON.stringify(told.settings), ...wanted }, function(_words) {
				if (timer !== turn) return // another question has been asked meanwhile
				const same = read !== null && read.table == wanted.table && read.address == wanted.address && read.words.length == _words.length
				before = same ? read.words : null
				read = { table: wanted.table, address: wanted.address, words: _words }
				role('result').replaceChildren()
				show()
				again()
			}, function(_text) {
				if (timer !== turn) return
				fail(_text)
				again()
			})
		}

		function start() {
			clearTimeout(timer)
			timer = setTimeout(run)
			role('go').style.display = 'none'
			role('pause').style.display = ''
		}

		function stop() {
			clearTimeout(timer)
			timer = null
			role('go').style.display = ''
			role('pause').style.display = 'none'
		}

		as.addEventListener('change', show)
		role('go').addEventListener('click', start)
		role('pause').addEventListener('click', stop)
		for (const name of ['table', 'address', 'count']) {
			role(name).addEventListener('change', () => timer === null || start())
		}
		role('address').addEventListener('keydown', function(_event) {
			if (_event.key == 'Enter') start()
		})
	})()
</script>
