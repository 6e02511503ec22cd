<?php
try {
	require_once __DIR__ . '/../../../../core/php/core.inc.php';
	include_file('core', 'authentification', 'php');
	require_once __DIR__ . '/../php/EVcharger.inc.php';

	if (!isConnect('admin')) {
		throw new Exception(__('401 - Accès non autorisé', __FILE__));
	}
	ajax::init();

	if (init('action') === 'status') {
		ajax::success(EVcharger::status());
	}
	unautorizedInDemo();
	$settings = json_decode(init('settings', '{}'), true); // of an equipment as the page shows it, saved or not
	if (!is_array($settings)) {
		throw new Exception(__('Réglages illisibles', __FILE__));
	}
	switch (init('action')) {
		case 'read':
			$answer = EVchargerDaemon::ask(array('action' => 'read', 'config' => $settings));
			ajax::success(EVchargerCatalog::describe($answer['values'], translate::getLanguage()));
		case 'registers':
			$asked = array('table' => init('table'), 'address' => init('address'), 'count' => init('count'));
			ajax::success(EVchargerDaemon::ask(array('action' => 'registers', 'config' => $settings) + $asked)['words']);
		case 'restart': // once the plugin's configuration is saved
			if (EVchargerDaemon::isRunning()) {
				plugin::byId('EVcharger')->deamon_start(true);
			}
			ajax::success();

		case 'scan':
			ajax::success(EVcharger::scan(init('port'), init('depth')));
		case 'scan_state':
			ajax::success(EVcharger::scanState());
		case 'scan_stop':
			ajax::success(EVchargerDaemon::ask(array('action' => 'scan', 'stop' => true))['scan']);
		case 'add':
			$eqLogic = EVcharger::add(init('name'), $settings);
			ajax::success(array('id' => $eqLogic->getId(), 'name' => $eqLogic->getHumanName()));

		case 'profiles':
			ajax::success(EVchargerProfiles::all());
		case 'profile':
			ajax::success(EVchargerProfiles::text(init('id')));
		case 'profile_check':
			$checked = EVchargerProfiles::check(init('text'));
			ajax::success(array('title' => $checked['title'], 'commands' => EVchargerCatalog::names($checked['commands'], translate::getLanguage())));
		case 'profile_save':
			$id = EVchargerProfiles::save(init('text'));
			ajax::success(array('id' => $id, 'models' => EVchargerCatalog::models(translate::getLanguage())));
		case 'profile_remove':
			EVchargerProfiles::remove(init('id'));
			ajax::success(array('models' => EVchargerCatalog::models(translate::getLanguage())));

		case 'capture': // its end comes as an event EVcharger::capture
			$eqLogic = eqLogic::byId(init('id'));
			if (!is_object($eqLogic) || !$eqLogic->getIsEnable() || $eqLogic->getConfiguration('model') == '') {
				throw new Exception(__('Choisissez un modèle, activez l\'équipement et sauvegardez : le démon n\'écoute que les chargeurs qu\'il lit', __FILE__));
			}
			ajax::success(EVchargerDaemon::ask(array('action' => 'capture', 'charger' => (int) init('id'), 'seconds' => init('seconds'))));
		case 'capture_stop':
			ajax::success(EVchargerDaemon::ask(array('action' => 'capture', 'charger' => (int) init('id'), 'stop' => true)));
		case 'captures':
			ajax::success(EVchargerCaptures::all());
		case 'capture_text':
			ajax::success(EVchargerCaptures::text(init('name')));
		case 'capture_remove':
			EVchargerCaptures::remove(init('name'));
			ajax::success();
	}
	throw new Exception(__('Aucune méthode correspondante à :', __FILE__) . ' ' . init('action'));
} catch (Exception $e) {
	ajax::error($e->getMessage(), $e->getCode()); // plain: the page shows it as text
}
