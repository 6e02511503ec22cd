<?php
require_once __DIR__ . '/../../../core/php/core.inc.php';
include_file('core', 'authentification', 'php');
if (!isConnect('admin')) {
	throw new Exception('{{401 - Accès non autorisé}}');
}
?>
<form class="form-horizontal">
	<fieldset>
		<div class="form-group">
			<label class="col-md-4 control-label">{{Port de la socket interne}}
				<sup><i class="fas fa-question-circle tooltips" title="{{Port local par lequel Jeedom parle au démon. À changer seulement si un autre programme l'utilise.}}"></i></sup>
			</label>
			<div class="col-md-2">
				<input class="configKey form-control" type="number" min="1024" max="65535" data-l1key="socketport" placeholder="55092">
			</div>
		</div>
		<div class="form-group">
			<label class="col-md-4 control-label">{{Cycle d'envoi (s)}}
				<sup><i class="fas fa-question-circle tooltips" title="{{Le démon envoie à Jeedom les valeurs qui ont changé, au plus une fois par cycle.}}"></i></sup>
			</label>
			<div class="col-md-2">
				<input class="configKey form-control" type="number" min="0.1" max="60" step="0.1" data-l1key="cycle" placeholder="0.5">
			</div>
		</div>
		<div class="form-group">
			<label class="col-md-4 control-label">{{Adresse de Jeedom vue du démon}}
				<sup><i class="fas fa-question-circle tooltips" title="{{À remplir seulement si le démon n'atteint pas Jeedom : certaines installations Docker, un Jeedom derrière un autre serveur web.}}"></i></sup>
			</label>
			<div class="col-md-4">
				<input class="configKey form-control" data-l1key="callback" placeholder="<?php echo network::getNetworkAccess('internal', 'proto:127.0.0.1:port:comp'); ?>">
			</div>
		</div>
		<div class="form-group">
			<div class="col-md-offset-4 col-md-6">{{Le démon redémarre quand vous sauvegardez ces réglages.}}</div>
		</div>
	</fieldset>
</form>
<script>
	// The core calls this once the configuration is saved.
	window.EVcharger_postSaveConfiguration = function() {
		domUtils.ajax({
			type: 'POST',
			url: 'plugins/EVcharger/core/ajax/EVcharger.ajax.php',
			data: { action: 'restart' },
			dataType: 'json',
			success: function(_answer) {
				if (_answer.state != 'ok') jeedomUtils.showAlert({ message: _answer.result, level: 'danger' })
			}
		})
	}
</script>
