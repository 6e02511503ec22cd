<?php

use PHPUnit\Framework\TestCase;

/** core/php/jeeEVcharger.php behind PHP's own web server, on the stand-ins. */
class CallbackTest extends TestCase {
	private static $server;
	private static string $address;

	public static function setUpBeforeClass(): void {
		$free = stream_socket_server('tcp://127.0.0.1:0');
		self::$address = stream_socket_get_name($free, false);
		fclose($free);
		self::$server = proc_open(array(PHP_BINARY, '-S', self::$address, '-t', JEEDOM_ROOT), array(2 => array('file', '/dev/null', 'w')), $pipes);
		for ($i = 0; $i < 100 && !($socket = @stream_socket_client('tcp://' . self::$address)); $i++) {
			usleep(50000);
		}
		fclose($socket);
	}

	public static function tearDownAfterClass(): void {
		proc_terminate(self::$server);
		proc_close(self::$server);
	}

	private function status(string $method, string $body = ''): int {
		$context = stream_context_create(array('http' => array('method' => $method, 'content' => $body, 'ignore_errors' => true, 'header' => 'Content-Type: application/json')));
		file_get_contents('http://' . self::$address . '/plugins/EVcharger/core/php/jeeEVcharger.php', false, $context);
		return (int) explode(' ', $http_response_header[0])[1];
	}

	public function testTheDaemonIsLetIn() {
		$this->assertSame(200, $this->status('POST', json_encode(array('apikey' => jeedom::KEY, 'test' => 1))));
		$this->assertSame(200, $this->status('POST', json_encode(array('apikey' => jeedom::KEY, 'chargers' => array('12' => array('state' => 3)), 'events' => array()))));
	}

	public function testOnlyPostIsTaken() {
		$this->assertSame(405, $this->status('GET'));
		$this->assertSame(405, $this->status('PUT', json_encode(array('apikey' => jeedom::KEY, 'test' => 1))));
	}

	public function testWhatIsNoMessageIsABadRequest() {
		foreach (array('', 'x', '3', '{"apikey": ', str_repeat('[', 100) . str_repeat(']', 100), json_encode(array('apikey' => jeedom::KEY, 'chargers' => 3))) as $body) {
			$this->assertSame(400, $this->status('POST', $body), $body);
		}
	}

	public function testAKeyIsNeededAndMustBeThePluginsOwn() {
		$this->assertSame(401, $this->status('POST', '{"test": 1}'));
		$this->assertSame(401, $this->status('POST', '{"apikey": ["' . jeedom::KEY . '"]}'));
		$this->assertSame(403, $this->status('POST', '{"apikey": "another-key-0123456789"}'));
		$this->assertSame(403, $this->status('POST', json_encode(array('apikey' => jeedom::USER_KEY, 'test' => 1))));
	}

	public function testALongBodyIsNotRead() {
		$this->assertSame(413, $this->status('POST', json_encode(array('apikey' => jeedom::KEY, 'events' => str_repeat('x', 1048576)))));
	}
}
