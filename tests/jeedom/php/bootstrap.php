<?php
/* Lays a small Jeedom around a copy of the plugin, in a temporary directory: core/php/core.inc.php is our stand-ins. */

define('REPOSITORY', dirname(__DIR__, 3));
define('JEEDOM_ROOT', sys_get_temp_dir() . '/evcharger-phpunit-' . getmypid());
define('PLUGIN', JEEDOM_ROOT . '/plugins/EVcharger');

function copyTree(string $from, string $to): void {
	mkdir($to, 0777, true);
	foreach (scandir($from) as $name) {
		if ($name !== '.' && $name !== '..') {
			is_dir("$from/$name") ? copyTree("$from/$name", "$to/$name") : copy("$from/$name", "$to/$name");
		}
	}
}

foreach (array('core', 'plugin_info') as $part) {
	copyTree(REPOSITORY . '/' . $part, PLUGIN . '/' . $part);
}
mkdir(PLUGIN . '/data/chargers', 0777, true);
mkdir(JEEDOM_ROOT . '/core/php', 0777, true);
copy(__DIR__ . '/standins.php', JEEDOM_ROOT . '/core/php/core.inc.php');
register_shutdown_function(function () {
	exec('rm -rf ' . escapeshellarg(JEEDOM_ROOT));
});

require_once PLUGIN . '/core/php/EVcharger.inc.php';
require_once __DIR__ . '/DaemonCase.php';
