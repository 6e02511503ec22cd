<?php
require_once __DIR__ . '/../core/php/EVcharger.inc.php';

/** Before an update changes files: the daemon must not load half of the old version and half of the new one. */
function EVcharger_pre_update() {
	EVcharger::deamon_stop();
}
