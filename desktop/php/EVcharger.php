<?php
require_once __DIR__ . '/../../core/php/EVcharger.inc.php';
if (!isConnect('admin')) {
	throw new Exception('{{401 - Accès non autorisé}}');
}
$plugin = plugin::byId('EVcharger');
$eqLogics = eqLogic::byType('EVcharger');
sendVarToJS('eqType', 'EVcharger');
// Not by sendVarToJS(): its addslashes() spoils the JSON of texts that hold quotes.
$page = array('models' => EVchargerCatalog::models(translate::getLanguage()), 'ports' => (object) EVcharger::ports());
?>
<script>
	var EVchargerPage = <?php echo json_encode($page, JSON_HEX_TAG | JSON_HEX_AMP | JSON_UNESCAPED_UNICODE); ?>
</script>

<div class="row row-overflow" id="EVcharger">
	<div class="col-xs-12 eqLogicThumbnailDisplay">
		<legend><i class="fas fa-cog"></i> {{Gestion}}</legend>
		<div class="eqLogicThumbnailContainer">
			<div class="cursor eqLogicAction logoPrimary" data-action="add">
				<i class="fas fa-plus-circle"></i><br>
				<span>{{Ajouter}}</span>
			</div>
			<div class="cursor eqLogicAction logoSecondary" data-action="gotoPluginConf">
				<i class="fas fa-wrench"></i><br>
				<span>{{Configuration}}</span>
			</div>
			<div class="cursor logoSecondary" id="bt_EVchargerScan">
				<i class="fas fa-search"></i><br>
				<span>{{Détecter}}</span>
			</div>
			<div class="cursor logoSecondary" id="bt_EVchargerProfiles">
				<i class="fas fa-file-code"></i><br>
				<span>{{Mes profils}}</span>
			</div>
			<div class="cursor logoSecondary" id="bt_EVchargerHealth">
				<i class="fas fa-medkit"></i><br>
				<span>{{Santé}}</span>
			</div>
		</div>
		<legend><i class="fas fa-charging-station"></i> {{Mes chargeurs}}</legend>
		<?php if (count($eqLogics) == 0) { ?>
			<div class="text-center" style="font-size:1.2em">{{Aucun chargeur : cliquez sur Détecter pour le chercher, ou sur Ajouter pour choisir vous-même son modèle et son port.}}</div>
		<?php } else { ?>
			<div class="input-group" style="margin:5px">
				<input class="form-control roundedLeft" placeholder="{{Rechercher}}" id="in_searchEqlogic">
				<div class="input-group-btn">
					<a id="bt_resetSearch" class="btn" style="width:30px"><i class="fas fa-times"></i></a>
					<a class="btn roundedRight hidden" id="bt_pluginDisplayAsTable" data-coreSupport="1" data-state="0"><i class="fas fa-grip-lines"></i></a>
				</div>
			</div>
			<div class="eqLogicThumbnailContainer">
				<?php foreach ($eqLogics as $eqLogic) {
					$profile = EVchargerCatalog::profile($eqLogic->getConfiguration('model')); ?>
					<div class="eqLogicDisplayCard cursor <?php echo $eqLogic->getIsEnable() ? '' : 'disableCard'; ?>" data-eqLogic_id="<?php echo $eqLogic->getId(); ?>">
						<img src="<?php echo $eqLogic->getImage(); ?>">
						<br>
						<span class="name"><?php echo $eqLogic->getHumanName(true, true); ?></span>
						<span class="hiddenAsCard displayTableRight hidden">
							<span><?php echo $profile === null ? '' : htmlspecialchars($profile['brand'] . ' ' . $profile['model']); ?></span>
							<?php echo $eqLogic->getIsVisible() ? '<i class="fas fa-eye" title="{{Equipement visible}}"></i>' : '<i class="fas fa-eye-slash" title="{{Equipement non visible}}"></i>'; ?>
						</span>
					</div>
				<?php } ?>
			</div>
		<?php } ?>
	</div>

	<div class="col-xs-12 eqLogic" style="display:none">
		<div class="input-group pull-right" style="display:inline-flex">
			<span class="input-group-btn">
				<a class="btn btn-sm btn-default eqLogicAction roundedLeft" data-action="configure"><i class="fas fa-cogs"></i><span class="hidden-xs"> {{Configuration avancée}}</span></a>
				<a class="btn btn-sm btn-default eqLogicAction" data-action="copy"><i class="fas fa-copy"></i><span class="hidden-xs"> {{Dupliquer}}</span></a>
				<a class="btn btn-sm btn-success eqLogicAction" data-action="save"><i class="fas fa-check-circle"></i> {{Sauvegarder}}</a>
				<a class="btn btn-sm btn-danger eqLogicAction roundedRight" data-action="remove"><i class="fas fa-minus-circle"></i><span class="hidden-xs"> {{Supprimer}}</span></a>
			</span>
		</div>
		<ul class="nav nav-tabs" role="tablist">
			<li role="presentation"><a href="#" class="eqLogicAction" aria-controls="home" role="tab" data-toggle="tab" data-action="returnToThumbnailDisplay"><i class="fas fa-arrow-circle-left"></i></a></li>
			<li role="presentation" class="active"><a href="#eqlogictab" aria-controls="home" role="tab" data-toggle="tab"><i class="fas fa-charging-station"></i> {{Chargeur}}</a></li>
			<li role="presentation"><a href="#commandtab" aria-controls="profile" role="tab" data-toggle="tab"><i class="fas fa-list"></i> {{Commandes}}</a></li>
		</ul>
		<div class="tab-content">
			<div role="tabpanel" class="tab-pane active" id="eqlogictab">
				<form class="form-horizontal">
					<fieldset>
						<div class="col-lg-6">
							<legend><i class="fas fa-wrench"></i> {{Paramètres généraux}}</legend>
							<div class="form-group">
								<label class="col-sm-4 control-label">{{Nom de l'équipement}}</label>
								<div class="col-sm-7">
									<input type="text" class="eqLogicAttr form-control" data-l1key="id" style="display:none">
									<input type="text" class="eqLogicAttr form-control" data-l1key="name" placeholder="{{Nom de l'équipement}}">
								</div>
							</div>
							<div class="form-group">
								<label class="col-sm-4 control-label">{{Objet parent}}</label>
								<div class="col-sm-7">
									<select class="eqLogicAttr form-control" data-l1key="object_id">
										<option value="">{{Aucun}}</option>
										<?php foreach (jeeObject::buildTree(null, false) as $object) {
											echo '<option value="' . $object->getId() . '">' . str_repeat('&nbsp;&nbsp;', $object->getConfiguration('parentNumber')) . $object->getName() . '</option>';
										} ?>
									</select>
								</div>
							</div>
							<div class="form-group">
								<label class="col-sm-4 control-label">{{Catégorie}}</label>
								<div class="col-sm-8">
									<?php foreach (jeedom::getConfiguration('eqLogic:category') as $key => $value) {
										echo '<label class="checkbox-inline"><input type="checkbox" class="eqLogicAttr" data-l1key="category" data-l2key="' . $key . '">' . $value['name'] . '</label>';
									} ?>
								</div>
							</div>
							<div class="form-group">
								<label class="col-sm-4 control-label">{{Options}}</label>
								<div class="col-sm-8">
									<label class="checkbox-inline"><input type="checkbox" class="eqLogicAttr" data-l1key="isEnable" checked>{{Activer}}</label>
									<label class="checkbox-inline"><input type="checkbox" class="eqLogicAttr" data-l1key="isVisible" checked>{{Visible}}</label>
								</div>
							</div>

							<legend><i class="fas fa-charging-station"></i> {{Modèle}}</legend>
							<div class="form-group">
								<label class="col-sm-4 control-label" for="in_EVchargerSearch">{{Modèle}}
									<sup><i class="fas fa-question-circle tooltips" title="{{La recherche connaît aussi les autres noms sous lesquels un même chargeur est vendu.}}"></i></sup>
								</label>
								<div class="col-sm-7">
									<input type="text" class="form-control" id="in_EVchargerSearch" placeholder="{{Rechercher une marque ou un modèle}}" autocomplete="off">
									<select class="eqLogicAttr form-control" data-l1key="configuration" data-l2key="model" id="sel_EVchargerModel"></select>
								</div>
							</div>
							<div class="form-group" id="div_EVchargerUnverified">
								<label class="col-sm-4 control-label">{{Commandes non vérifiées}}
									<sup><i class="fas fa-question-circle tooltips" title="{{Déduites d'un chargeur voisin ou d'une source incertaine : personne ne les a confirmées sur ce modèle.}}"></i></sup>
								</label>
								<div class="col-sm-7">
									<label class="checkbox-inline"><input type="checkbox" class="eqLogicAttr" data-l1key="configuration" data-l2key="unverified"><span id="span_EVchargerUnverified"></span></label>
								</div>
							</div>

							<legend><i class="fas fa-network-wired"></i> {{Liaison}}</legend>
							<div class="form-group">
								<label class="col-sm-4 control-label" for="sel_EVchargerPort">{{Port}}
									<sup><i class="fas fa-question-circle tooltips" title="{{Un adaptateur garde le même nom où qu'il soit branché. Autre : un chemin, ou l'adresse d'une passerelle RS485-Ethernet, par exemple socket://192.168.1.50:4196.}}"></i></sup>
								</label>
								<div class="col-sm-7">
									<select class="form-control" id="sel_EVchargerPort"></select>
									<input type="text" class="eqLogicAttr form-control" data-l1key="configuration" data-l2key="port" id="in_EVchargerPort" placeholder="socket://192.168.1.50:4196" autocomplete="off" spellcheck="false">
								</div>
							</div>
							<div class="form-group">
								<label class="col-sm-4 control-label">{{Adresse Modbus}}</label>
								<div class="col-sm-3">
									<input type="number" min="0" max="255" class="eqLogicAttr form-control" data-l1key="configuration" data-l2key="unit">
								</div>
							</div>
							<div class="form-group EVchargerSerial">
								<label class="col-sm-4 control-label">{{Vitesse, parité, bits de stop}}</label>
								<div class="col-sm-7" style="display:flex;gap:5px">
									<select class="eqLogicAttr form-control" data-l1key="configuration" data-l2key="baudrate" id="sel_EVchargerBaudrate" title="{{Vitesse}}"></select>
									<select class="eqLogicAttr form-control" data-l1key="configuration" data-l2key="parity" title="{{Parité}}">
										<option value="N">{{Aucune}}</option>
										<option value="E">{{Paire}}</option>
										<option value="O">{{Impaire}}</option>
									</select>
									<select class="eqLogicAttr form-control" data-l1key="configuration" data-l2key="stopbits" title="{{Bits de stop}}">
										<option value="1">1</option>
										<option value="2">2</option>
									</select>
								</div>
							</div>
							<div class="form-group">
								<label class="col-sm-4 control-label">{{Lecture toutes les (s)}}</label>
								<div class="col-sm-3">
									<input type="number" min="1" max="3600" step="any" class="eqLogicAttr form-control" data-l1key="configuration" data-l2key="poll" placeholder="5">
								</div>
							</div>
							<div class="form-group">
								<label class="col-sm-4 control-label"></label>
								<div class="col-sm-7">
									<a class="btn btn-primary" id="bt_EVchargerTest" title="{{Lit le chargeur maintenant, avec les réglages de cette page}}"><i class="fas fa-plug"></i> {{Tester}}</a>
									<a class="btn btn-default" id="bt_EVchargerScanPort" title="{{Cherche sur ce port ce qui répond, à quelle vitesse et quelle adresse}}"><i class="fas fa-search"></i> {{Détecter}}</a>
									<a class="btn btn-default" id="bt_EVchargerRegisters" title="{{Montre les registres du chargeur, relus sans cesse}}"><i class="fas fa-table"></i> {{Registres}}</a>
									<a class="btn btn-default" id="bt_EVchargerCapture" title="{{Enregistre les échanges avec le chargeur, pour les joindre à une demande d'aide}}"><i class="fas fa-record-vinyl"></i> {{Capturer}}</a>
								</div>
							</div>
						</div>

						<div class="col-lg-6">
							<legend><i class="fas fa-info-circle"></i> {{Ce modèle}}</legend>
							<div id="div_EVchargerModel"></div>
							<div id="div_EVchargerTest"></div>
						</div>
					</fieldset>
				</form>
			</div>

			<div role="tabpanel" class="tab-pane" id="commandtab">
				<div class="table-responsive">
					<table id="table_cmd" class="table table-bordered table-condensed">
						<thead>
							<tr>
								<th class="hidden-xs" style="width:60px">ID</th>
								<th style="min-width:200px">{{Nom}}</th>
								<th>{{Type}}</th>
								<th style="min-width:260px">{{Options}}</th>
								<th>{{Etat}}</th>
								<th style="min-width:120px">{{Actions}}</th>
							</tr>
						</thead>
						<tbody></tbody>
					</table>
				</div>
			</div>
		</div>
	</div>
</div>

<?php
include_file('desktop', 'EVcharger', 'css', 'EVcharger');
include_file('desktop', 'EVcharger', 'js', 'EVcharger');
include_file('core', 'plugin.template', 'js');
