<?php
try {
	require_once __DIR__ . '/../../../../core/php/core.inc.php';
	include_file('core', 'authentification', 'php');
	require_once __DIR__ . '/../php/EVcharger.inc.php';

	if (!isConnect('admin')) {
		throw new Exception(__('401 - Accès non autorisé', __FILE__));
	}
	ajax::init();

	switch (init('action')) {
		case 'read': // the charger as the page describes it, saved or not
			unautorizedInDemo();
			$settings = json_decode(init('settings'), true);
			if (!is_array($settings)) {
				throw new Exception(__('Réglages illisibles', __FILE__));
			}
			$answer = EVchargerDaemon::ask(array('action' => 'read', 'config' => $settings));
			ajax::success(EVchargerCatalog::describe($answer['values'], translate::getLanguage()));
		case 'restart': // once the plugin's configuration is saved
			unautorizedInDemo();
			if (EVchargerDaemon::isRunning()) {
				plugin::byId('EVcharger')->deamon_start(true);
			}
			ajax::success();
		case 'status':
			ajax::success(EVcharger::status());
	}
	throw new Exception(__('Aucune méthode correspondante à :', __FILE__) . ' ' . init('action'));
} catch (Exception $e) {
	ajax::error($e->getMessage(), $e->getCode()); // plain: the page shows it as text
}
