<?php
/* The daemon as a process and as someone to talk to: started and stopped by its pid file, asked through its local socket. */

class EVchargerDaemon {
	const LAUNCHER = __DIR__ . '/../../resources/evcharger';
	const PYTHON = __DIR__ . '/../../resources/python_venv/bin/python3';
	const MODULES = 'serial, jsonschema, requests';
	const INSTALLING = '/tmp/jeedom_install_in_progress_EVcharger'; // the core's progress file
	const START_SECONDS = 20;
	const STOP_SECONDS = 10;
	const CONNECT_SECONDS = 2;
	const ANSWER_SECONDS = 60; // the daemon's own limit for an action, listener.py

	public static function isRunning(): bool {
		$pid = self::pid();
		// A reused pid is someone else, and a dead process that nobody has reaped has no command line.
		return $pid > 0 && strpos((string) @file_get_contents('/proc/' . $pid . '/cmdline'), 'evcharger') !== false;
	}

	/** Why the daemon cannot be started; an empty string when it can. */
	public static function obstacle(): string {
		if (file_exists(self::INSTALLING)) {
			return __('Dépendances en cours d\'installation', __FILE__);
		}
		if (!is_executable(self::PYTHON)) {
			return __('Dépendances non installées', __FILE__);
		}
		exec(escapeshellarg(self::PYTHON) . ' -c ' . escapeshellarg('import ' . self::MODULES) . ' 2>&1', $output, $code);
		return $code === 0 ? '' : __('Dépendances incomplètes :', __FILE__) . ' ' . end($output);
	}

	public static function python(): string {
		return is_executable(self::PYTHON) ? trim((string) exec(escapeshellarg(self::PYTHON) . ' -V 2>&1')) : 'Python: not installed';
	}

	/** Starts the daemon with this configuration and waits until it answers. Throws when it does not. */
	public static function start(array $configuration): void {
		self::writeConfiguration($configuration);
		$arguments = array(
			self::LAUNCHER, 'run',
			'--config', self::configurationFile(),
			'--socketport', self::port(),
			'--callback', self::callback(),
			'--pid', self::pidFile(),
			'--loglevel', log::convertLogLevel(log::getLogLevel('EVcharger')),
			'--cycle', config::byKey('cycle', 'EVcharger'),
		);
		$command = implode(' ', array_map('escapeshellarg', $arguments));
		$command .= ' >> ' . escapeshellarg(log::getPathToLog('EVcharger_daemon')) . ' 2>&1 < /dev/null &';
		// The key goes by environment: arguments can be read by everyone on the machine.
		$environment = array('EVCHARGER_APIKEY' => jeedom::getApiKey('EVcharger'), 'TZ' => date_default_timezone_get()) + getenv();
		proc_close(proc_open(array('/bin/sh', '-c', $command), array(), $pipes, '/', $environment));
		for ($waited = 0; $waited < self::START_SECONDS; $waited += 0.25) {
			if (self::isRunning() && self::isListening()) {
				return;
			}
			usleep(250000);
		}
		throw new Exception(__('Le démon n\'a pas démarré : voir le log EVcharger_daemon', __FILE__));
	}

	public static function stop(): void {
		if (!self::isRunning()) {
			return; // a pid file without a daemon may be that of one just being born
		}
		$pid = self::pid();
		system::kill($pid); // SIGTERM
		for ($waited = 0; self::isRunning() && $waited < self::STOP_SECONDS; $waited += 0.1) {
			usleep(100000);
		}
		if (self::isRunning()) {
			exec(system::getCmdSudo() . 'kill -9 ' . $pid);
		}
	}

	/** Sends one message and returns the daemon's answer. Throws, in the user's language, when it refuses or is not there. */
	public static function ask(array $message, float $seconds = self::ANSWER_SECONDS): array {
		$answer = self::answer($message, $seconds);
		if (!$answer['ok']) {
			throw new Exception($answer['error']);
		}
		return $answer;
	}

	/** As ask(), but a refusal is an answer too: "ok" false, "error" and what else the daemon says. */
	public static function answer(array $message, float $seconds = self::ANSWER_SECONDS): array {
		$socket = @stream_socket_client('tcp://127.0.0.1:' . self::port(), $code, $reason, self::CONNECT_SECONDS);
		if ($socket === false) {
			throw new Exception(__('Le démon EVcharger n\'est pas démarré', __FILE__));
		}
		stream_set_timeout($socket, (int) $seconds + 5); // the daemon gives its own reason first
		fwrite($socket, json_encode(array('apikey' => jeedom::getApiKey('EVcharger')) + $message) . "\n");
		$answer = json_decode((string) fgets($socket), true);
		fclose($socket);
		if (!is_array($answer)) {
			throw new Exception(__('Le démon EVcharger n\'a pas répondu', __FILE__));
		}
		if (!($answer['ok'] ?? false)) {
			$answer += array('ok' => false, 'error' => __('Le démon EVcharger a refusé sans dire pourquoi', __FILE__));
		}
		return $answer;
	}

	/** Where the daemon posts its values. Jeedom knows how it is reached from here, in Docker too; the user may know better. */
	public static function callback(): string {
		$base = trim((string) config::byKey('callback', 'EVcharger'));
		if ($base === '') {
			$base = network::getNetworkAccess('internal', 'proto:127.0.0.1:port:comp');
		}
		return rtrim($base, '/') . '/plugins/EVcharger/core/php/jeeEVcharger.php';
	}

	public static function port(): int {
		return (int) config::byKey('socketport', 'EVcharger');
	}

	private static function pid(): int {
		return (int) @file_get_contents(self::pidFile());
	}

	private static function isListening(): bool {
		$socket = @stream_socket_client('tcp://127.0.0.1:' . self::port(), $code, $reason, self::CONNECT_SECONDS);
		return $socket !== false && fclose($socket);
	}

	private static function pidFile(): string {
		return jeedom::getTmpFolder('EVcharger') . '/deamon.pid';
	}

	private static function configurationFile(): string {
		return jeedom::getTmpFolder('EVcharger') . '/config.json';
	}

	private static function writeConfiguration(array $configuration): void {
		$path = tempnam(dirname(self::configurationFile()), 'config'); // mode 0600
		file_put_contents($path, json_encode($configuration, JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE));
		rename($path, self::configurationFile());
	}
}
