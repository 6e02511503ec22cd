<?php
require_once __DIR__ . '/../../core/php/EVcharger.inc.php';
if (!isConnect('admin')) {
	throw new Exception('{{401 - Accès non autorisé}}');
}
$eqLogics = eqLogic::byType('EVcharger');
?>
<div id="md_EVchargerHealth">
	<div class="alert alert-danger EVchargerNoDaemon" style="display:none">{{Le démon n'est pas démarré, ou ne répond pas.}}</div>
	<table class="table table-bordered table-condensed">
		<thead>
			<tr>
				<th>{{Chargeur}}</th>
				<th>{{Modèle}}</th>
				<th>{{Port}}</th>
				<th>{{Adresse}}</th>
				<th>{{En ligne}}</th>
				<th>{{Dernière réponse}}</th>
				<th>{{Requêtes}}</th>
				<th>{{Erreurs}}</th>
				<th>{{Trames/s}}</th>
			</tr>
		</thead>
		<tbody>
			<?php foreach ($eqLogics as $eqLogic) {
				$profile = EVchargerCatalog::profile($eqLogic->getConfiguration('model')); ?>
				<tr data-charger="<?php echo $eqLogic->getId(); ?>" data-enabled="<?php echo $eqLogic->getIsEnable(); ?>">
					<td><a href="<?php echo $eqLogic->getLinkToConfiguration(); ?>"><?php echo $eqLogic->getHumanName(true); ?></a></td>
					<td><?php echo $profile === null ? '' : htmlspecialchars($profile['brand'] . ' ' . $profile['model']); ?></td>
					<td><?php echo htmlspecialchars($eqLogic->getConfiguration('port')); ?></td>
					<td><?php echo htmlspecialchars($eqLogic->getConfiguration('unit')); ?></td>
					<td data-fact="online"></td>
					<td data-fact="last_answer_s"></td>
					<td data-fact="requests"></td>
					<td data-fact="errors"></td>
					<td data-fact="frames_per_second"></td>
				</tr>
			<?php } ?>
		</tbody>
	</table>
	<table class="table table-bordered table-condensed">
		<thead>
			<tr>
				<th>{{Ligne}}</th>
				<th>{{Occupation}}</th>
			</tr>
		</thead>
		<tbody class="EVchargerLines"></tbody>
	</table>
</div>
<script>
	(function() {
		const box = document.getElementById('md_EVchargerHealth')
		const number = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 })

		function text(_value, _unit) {
			return _value === undefined || _value === null ? '' : number.format(_value) + _unit
		}

		function show(_status) {
			box.querySelector('.EVchargerNoDaemon').style.display = _status.ok ? 'none' : ''
			box.querySelectorAll('tr[data-charger]').forEach(_row => {
				const charger = _status.chargers?.[_row.dataset.charger] ?? {}
				const cell = _name => _row.querySelector('[data-fact="' + _name + '"]')
				const label = _row.dataset.enabled != '1' ? ['default', '{{Désactivé}}'] : charger.online ? ['success', '{{Oui}}'] : ['danger', '{{Non}}']
				cell('online').innerHTML = '<span class="label label-' + label[0] + '">' + label[1] + '</span>'
				cell('last_answer_s').textContent = text(charger.last_answer_s, ' s')
				cell('requests').textContent = text(charger.requests, '')
				cell('errors').textContent = text(charger.errors, '') + (charger.error_rate === undefined ? '' : ' (' + text(100 * charger.error_rate, ' %') + ')')
				cell('frames_per_second').textContent = text(charger.frames_per_second, '')
			})
			const lines = Object.entries(_status.lines ?? {}).map(([_port, _line]) => {
				const row = document.createElement('tr')
				row.insertCell().textContent = _port
				row.insertCell().textContent = text(100 * _line.load, ' %')
				return row
			})
			box.querySelector('.EVchargerLines').replaceChildren(...lines)
		}

		function refresh() {
			if (!box.isConnected) return // the modal is closed
			domUtils.ajax({
				type: 'POST',
				url: 'plugins/EVcharger/core/ajax/EVcharger.ajax.php',
				data: { action: 'status' },
				dataType: 'json',
				global: false,
				success: function(_answer) {
					if (_answer.state == 'ok') show(_answer.result)
				},
				complete: function() {
					setTimeout(refresh, 3000)
				}
			})
		}
		refresh()
	})()
</script>
