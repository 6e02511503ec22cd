<?php
/* The core calls install at each enable, update at each update, remove at each disable: none may destroy anything of the
 * user's, and each may come twice. */

require_once __DIR__ . '/../core/php/EVcharger.inc.php';

function EVcharger_install() {
	EVcharger_update();
}

function EVcharger_update() {
	foreach (eqLogic::byType('EVcharger') as $eqLogic) {
		try {
			$eqLogic->syncCommands(); // a newer version may offer more
		} catch (Exception $e) {
			log::add('EVcharger', 'error', $eqLogic->getHumanName() . ' : ' . $e->getMessage());
		}
	}
	plugin::byId('EVcharger')->launch('startDaemonSoon');
}

function EVcharger_remove() {
	EVcharger::deamon_stop(); // the core has done so, unless it believed it not to run
}
