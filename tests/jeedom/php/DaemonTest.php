<?php

class DaemonTest extends DaemonCase {
	private function action(string $logicalId, string $subType = 'other'): EVchargerCmd {
		$eqLogic = new EVcharger();
		$eqLogic->setEqType_name('EVcharger');
		$eqLogic->setName('Borne');
		$eqLogic->setIsEnable(1);
		$eqLogic->save();
		$cmd = new EVchargerCmd();
		$cmd->setEqLogic_id($eqLogic->getId());
		$cmd->setLogicalId($logicalId);
		$cmd->setType('action');
		$cmd->setSubType($subType);
		$cmd->setName($logicalId);
		return $cmd;
	}

	public function testItStartsAndStops() {
		$this->assertSame(array('nok', 'ok'), array(EVcharger::deamon_info()['state'], EVcharger::deamon_info()['launchable']));
		EVcharger::deamon_start();
		$this->assertSame('ok', EVcharger::deamon_info()['state']);
		EVcharger::deamon_stop();
		$this->assertSame('nok', EVcharger::deamon_info()['state']);
	}

	public function testTheKeyGoesByEnvironmentAndNotByArguments() {
		EVcharger::deamon_start();
		$given = $this->kept('given.json');
		$this->assertSame(jeedom::KEY, $given['key']);
		$this->assertStringNotContainsString(jeedom::KEY, implode(' ', $given['arguments']));
		$this->assertFalse(getenv('EVCHARGER_APIKEY'), 'and it does not stay in ours');
	}

	public function testItGetsItsConfigurationInAFileForItsEyesOnly() {
		EVcharger::deamon_start();
		$path = jeedom::getTmpFolder('EVcharger') . '/config.json';
		$this->assertSame(array('chargers' => array(), 'language' => 'fr_FR'), $this->kept('config.json'));
		$this->assertSame('0600', substr(sprintf('%o', fileperms($path)), -4));
	}

	public function testJeedomIsCalledBackWhereJeedomSaysThatItIs() {
		Store::$config['address'] = 'https://172.17.0.1:443/jeedom';
		$this->assertSame('https://172.17.0.1:443/jeedom/plugins/EVcharger/core/php/jeeEVcharger.php', EVchargerDaemon::callback());
		Store::$config['EVcharger::callback'] = ' http://proxy/ ';
		$this->assertSame('http://proxy/plugins/EVcharger/core/php/jeeEVcharger.php', EVchargerDaemon::callback());
	}

	public function testWithoutDependenciesItIsNotLaunchable() {
		$this->script(EVchargerDaemon::PYTHON, "echo \"ModuleNotFoundError: No module named 'serial'\"; exit 1");
		$info = EVcharger::deamon_info();
		$this->assertSame('nok', $info['launchable']);
		$this->assertStringContainsString("No module named 'serial'", $info['launchable_message']);
		unlink(EVchargerDaemon::PYTHON);
		$this->assertSame('Dépendances non installées', EVcharger::deamon_info()['launchable_message']);
		$this->expectExceptionMessage('Dépendances non installées');
		EVcharger::deamon_start();
	}

	public function testAPidOfSomeoneElseIsNotTheDaemon() {
		$other = proc_open(array('sleep', '60'), array(), $pipes);
		file_put_contents(jeedom::getTmpFolder('EVcharger') . '/deamon.pid', proc_get_status($other)['pid']);
		$this->assertSame('nok', EVcharger::deamon_info()['state']);
		EVcharger::deamon_stop();
		$this->assertTrue(proc_get_status($other)['running']);
		proc_terminate($other);
		proc_close($other);
	}

	public function testAnActionIsSentWithItsValueAndTheKey() {
		EVcharger::deamon_start();
		$cmd = $this->action('set_current_limit', 'slider');
		$cmd->execute(array('slider' => '10.5'));
		$this->assertSame(
			array('apikey' => jeedom::KEY, 'action' => 'execute', 'charger' => $cmd->getEqLogic_id(), 'logicalId' => 'set_current_limit', 'value' => 10.5),
			$this->kept('asked.json')
		);
		$this->action('set_phases', 'select')->execute(array('select' => '3'));
		$this->assertSame(3, $this->kept('asked.json')['value']);
	}

	public function testRefreshIsAMessageOfItsOwn() {
		EVcharger::deamon_start();
		$cmd = $this->action('refresh');
		$cmd->execute();
		$this->assertSame(array('apikey' => jeedom::KEY, 'action' => 'refresh', 'charger' => $cmd->getEqLogic_id()), $this->kept('asked.json'));
	}

	public function testARefusalBecomesAnExceptionThatSaysWhy() {
		EVcharger::deamon_start();
		$this->answer('{"ok": false, "error": "une charge est en cours"}');
		$this->expectExceptionMessage('une charge est en cours');
		$this->action('cable_unlock')->execute();
	}

	public function testAnAnswerThatIsNoneIsAFailure() {
		EVcharger::deamon_start();
		$this->answer('');
		$this->expectExceptionMessage('Le démon EVcharger n\'a pas répondu');
		$this->action('cable_lock')->execute();
	}

	public function testWithoutADaemonAnActionFails() {
		$this->expectExceptionMessage('Le démon EVcharger n\'est pas démarré');
		$this->action('cable_lock')->execute();
	}

	public function testASliderWithoutANumberIsNotSent() {
		$this->expectExceptionMessage('il manque une valeur numérique');
		$this->action('set_current_limit', 'slider')->execute(array('slider' => ''));
	}

	public function testSavingTellsTheRunningDaemonAtOnceAndRemovingToo() {
		EVcharger::deamon_start();
		$eqLogic = $this->action('refresh')->getEqLogic();
		$eqLogic->setConfiguration('model', 'some');
		$eqLogic->setConfiguration('port', '/dev/ttyUSB0');
		$eqLogic->save();
		$asked = $this->kept('asked.json');
		$this->assertSame('configure', $asked['action']);
		$this->assertSame($eqLogic->getId(), $asked['config']['chargers'][0]['id']);
		$eqLogic->remove();
		$this->assertSame(array(), $this->kept('asked.json')['config']['chargers']);
	}

	public function testAConfigurationThatTheDaemonRefusesIsSaidOnThePageAndOtherwiseLogged() {
		EVcharger::deamon_start();
		$eqLogic = $this->action('refresh')->getEqLogic();
		$eqLogic->setConfiguration('model', 'some');
		$eqLogic->setConfiguration('port', 'COM3');
		$this->answer('{"ok": false, "error": "$.chargers[0].port : un chemin est attendu ; l\'adresse 1 est celle du chargeur ' . $eqLogic->getId() . '"}');
		$eqLogic->save();
		$this->assertSame(array('error: [Borne] port : un chemin est attendu ; l\'adresse 1 est celle du chargeur [Borne]'), Store::$log);
		$eqLogic->preAjax();
		$eqLogic->save();
		$this->expectExceptionMessage('[Borne] port : un chemin est attendu');
		$eqLogic->postAjax();
	}

	public function testAChargerAtRestIsMarkedAsHeardFrom() {
		EVcharger::deamon_start();
		$eqLogic = $this->action('refresh')->getEqLogic();
		$this->answer(json_encode(array('ok' => true, 'chargers' => array($eqLogic->getId() => array('online' => 1, 'last_answer_s' => 90)))));
		EVcharger::cron5();
		$this->assertEqualsWithDelta(time() - 90, strtotime($eqLogic->status['lastCommunication']), 2);
		$tests = EVcharger::health();
		$this->assertSame(array('Borne', 'En ligne, dernière réponse il y a 90 s', true), array($tests[0]['test'], $tests[0]['result'], $tests[0]['state']));
	}

	public function testANewScanIsNotTakenForTheOneBeforeIt() {
		EVcharger::deamon_start();
		EVcharger::receive(array('events' => array(array('type' => 'scan', 'id' => 1, 'done' => true))));
		$this->answer('{"ok": true, "scan": 1}');
		$this->assertSame(1, EVcharger::scan('/dev/ttyUSB0', 'quick'));
		$this->assertNull(EVcharger::scanState());
		$this->assertSame(array('apikey' => jeedom::KEY, 'action' => 'scan', 'port' => '/dev/ttyUSB0', 'depth' => 'quick'), $this->kept('asked.json'));
	}

	public function testHealthSaysWhoDoesNotAnswer() {
		$this->action('refresh');
		$this->assertSame(array('Ne répond pas', false), array(EVcharger::health()[0]['result'], EVcharger::health()[0]['state']));
	}
}
