<?php

use PHPUnit\Framework\TestCase;

/** With a daemon of a few lines in place of ours: it keeps what it was given, listens, and answers what the test wants. */
abstract class DaemonCase extends TestCase {
	const DAEMON = <<<'PHP'
<?php
$arguments = array();
for ($i = 2; $i < $argc; $i += 2) {
	$arguments[$argv[$i]] = $argv[$i + 1];
}
$folder = dirname($arguments['--pid']);
file_put_contents($folder . '/given.json', json_encode(array('arguments' => $argv, 'key' => getenv('EVCHARGER_APIKEY'))));
$server = stream_socket_server('tcp://127.0.0.1:' . $arguments['--socketport']);
file_put_contents($arguments['--pid'], getmypid());
while (true) {
	$socket = @stream_socket_accept($server, 60);
	$message = $socket ? fgets($socket) : false;
	if ($message) {
		file_put_contents($folder . '/asked.json', $message);
		fwrite($socket, file_get_contents($folder . '/answer'));
		fclose($socket);
	}
}
PHP;

	protected function setUp(): void {
		Store::clear();
		$free = stream_socket_server('tcp://127.0.0.1:0');
		Store::$config['EVcharger::socketport'] = (int) substr(strrchr(stream_socket_get_name($free, false), ':'), 1);
		fclose($free);
		$this->script(EVchargerDaemon::LAUNCHER, 'exec ' . PHP_BINARY . ' ' . PLUGIN . '/resources/evcharger.daemon.php "$@"');
		file_put_contents(PLUGIN . '/resources/evcharger.daemon.php', self::DAEMON);
		$this->script(EVchargerDaemon::PYTHON, 'exit 0');
		$this->answer('{"ok": true}');
	}

	protected function tearDown(): void {
		EVcharger::deamon_stop();
		exec('rm -rf ' . escapeshellarg(PLUGIN . '/resources'));
	}

	protected function script(string $path, string $line): void {
		$path = str_replace('/core/class/../..', '', $path);
		@mkdir(dirname($path), 0777, true);
		file_put_contents($path, "#!/bin/sh\n$line\n");
		chmod($path, 0755);
	}

	protected function answer(string $line): void {
		file_put_contents(jeedom::getTmpFolder('EVcharger') . '/answer', $line . "\n");
	}

	protected function kept(string $name): array {
		return json_decode(file_get_contents(jeedom::getTmpFolder('EVcharger') . '/' . $name), true);
	}
}
