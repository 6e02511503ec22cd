<?php

use PHPUnit\Framework\TestCase;

class EquipmentTest extends TestCase {
	const FULL = 'full'; // offers the whole catalog
	const SMALL = 'small'; // state and a current limit with other bounds

	protected function setUp(): void {
		Store::clear();
		$catalog = EVchargerCatalog::commands();
		$named = function (string $type) use ($catalog) {
			return array_keys(array_filter($catalog, function ($command) use ($type) {
				return $command['type'] === $type && !isset($command['offeredWith']);
			}));
		};
		$this->keep(self::FULL, $named('info'), $named('action'), array('min' => 6, 'max' => 32, 'step' => 0.1));
		$this->keep(self::SMALL, array('state', 'current_limit'), array('set_current_limit'), array('min' => 8, 'max' => 16, 'step' => 2));
	}

	protected function tearDown(): void {
		array_map('unlink', glob(PLUGIN . '/data/chargers/*'));
	}

	private function keep(string $id, array $infos, array $actions, array $limit): void {
		$profile = array(
			'id' => $id,
			'commands' => array_fill_keys($infos, 'point'),
			'actions' => array_fill_keys($actions, array('write' => array(array('point' => 'point', 'to' => 'value')))),
			'points' => array('point' => array()),
			'limit' => $limit,
		);
		file_put_contents(PLUGIN . "/data/chargers/$id.json", json_encode($profile + CatalogTest::PROFILE));
	}

	private function charger(string $model, array $configuration = array()): EVcharger {
		$eqLogic = new EVcharger();
		$eqLogic->setEqType_name('EVcharger');
		$eqLogic->setName('Borne');
		$eqLogic->setIsEnable(1);
		foreach ($configuration + array('model' => $model, 'port' => '/dev/ttyUSB0') as $key => $value) {
			$eqLogic->setConfiguration($key, $value);
		}
		$eqLogic->save();
		return $eqLogic;
	}

	private function cmd(string $logicalId): ?EVchargerCmd {
		foreach (Store::$cmds as $cmd) {
			if ($cmd->getLogicalId() === $logicalId) {
				return $cmd;
			}
		}
		return null;
	}

	public function testANewChargerGetsTheCommandsOfItsModel() {
		$this->charger(self::FULL);
		$this->assertCount(count(EVchargerCatalog::commands()), Store::$cmds);
		foreach (EVchargerCatalog::commands() as $logicalId => $entry) {
			$cmd = $this->cmd($logicalId);
			$this->assertSame(array($entry['type'], $entry['subType'], $entry['unit']), array($cmd->getType(), $cmd->getSubType(), $cmd->getUnite()));
			$this->assertSame(str_replace("'", '’', $entry['name']['fr_FR']), $cmd->getName());
			$this->assertEquals($entry['visible'], $cmd->getIsVisible());
			$this->assertEquals($entry['historized'], $cmd->getIsHistorized());
			$this->assertSame($entry['template']['dashboard'], $cmd->getTemplate('dashboard'));
		}
	}

	public function testAnActionShowsTheInfoThatItChanges() {
		$this->charger(self::FULL);
		$this->assertEquals($this->cmd('cable_state')->getId(), $this->cmd('cable_lock')->getValue());
		$this->assertEquals($this->cmd('current_limit')->getId(), $this->cmd('set_current_limit')->getValue());
	}

	public function testNamesAreInTheUsersLanguage() {
		translate::$language = 'de_DE';
		$this->charger(self::FULL);
		$this->assertSame('Leistung', $this->cmd('power')->getName());
		$this->assertSame('1|Single-phase;3|Three-phase', $this->cmd('set_phases')->getConfiguration('listValue'));
	}

	public function testASecondSaveWritesNothing() {
		$eqLogic = $this->charger(self::FULL);
		Store::$writes = 0;
		$eqLogic->save();
		$this->assertSame(0, Store::$writes);
	}

	public function testWhatTheUserChangedStays() {
		$eqLogic = $this->charger(self::FULL);
		$power = $this->cmd('power');
		$power->setName('Ma puissance');
		$power->setIsVisible(0);
		$power->setIsHistorized(0);
		$power->setTemplate('dashboard', 'core::badge');
		$power->setConfiguration('maxValue', 7400);
		$limit = $this->cmd('set_current_limit');
		$limit->setConfiguration('maxValue', 16);
		$before = Store::fingerprint();
		$eqLogic->save();
		$this->assertSame($before, Store::fingerprint());
	}

	public function testTheCurrentLimitHasTheBoundsOfTheModel() {
		$eqLogic = $this->charger(self::FULL);
		$bounds = function () {
			$cmd = $this->cmd('set_current_limit');
			return array($cmd->getConfiguration('minValue'), $cmd->getConfiguration('maxValue'), $cmd->getDisplay('parameters')['step']);
		};
		$this->assertSame(array(6, 32, '1'), $bounds());
		$eqLogic->setConfiguration('model', self::SMALL);
		$eqLogic->save();
		$this->assertSame(array(8, 16, '2'), $bounds());
	}

	public function testCommandsThatTheNewModelLacksGoWhenNothingIsLost() {
		$eqLogic = $this->charger(self::FULL);
		$eqLogic->setConfiguration('model', self::SMALL);
		$eqLogic->save();
		$this->assertEqualsCanonicalizing(
			array('refresh', 'connected', 'state', 'current_limit', 'set_current_limit', 'session_duration', 'online'),
			array_map(function ($cmd) {
				return $cmd->getLogicalId();
			}, array_values(Store::$cmds))
		);
	}

	public function testThoseWithAHistoryOrAUseAreKeptHiddenAndComeBackAsTheyWere() {
		$eqLogic = $this->charger(self::FULL);
		Store::$withHistory = array('power');
		Store::$usedByScenario = array('cable_lock');
		$this->cmd('power')->setName('Ma puissance');
		$eqLogic->setConfiguration('model', self::SMALL);
		$eqLogic->save();
		foreach (array('power', 'cable_lock') as $logicalId) {
			$this->assertTrue($this->cmd($logicalId)->isRetired());
			$this->assertEquals(0, $this->cmd($logicalId)->getIsVisible());
			$this->assertFalse($this->cmd($logicalId)->dontRemoveCmd(), 'the user may remove it');
		}
		$this->assertNull($this->cmd('voltage_1'));
		Store::$writes = 0;
		$eqLogic->save();
		$this->assertSame(0, Store::$writes);

		$eqLogic->setConfiguration('model', self::FULL);
		$eqLogic->save();
		$this->assertFalse($this->cmd('power')->isRetired());
		$this->assertEquals(1, $this->cmd('power')->getIsVisible());
		$this->assertSame('Ma puissance', $this->cmd('power')->getName());
		$this->assertNotNull($this->cmd('voltage_1'));
	}

	public function testARetiredActionSaysWhyItDoesNothing() {
		$eqLogic = $this->charger(self::FULL);
		Store::$usedByScenario = array('cable_lock');
		$eqLogic->setConfiguration('model', self::SMALL);
		$eqLogic->save();
		$this->expectExceptionMessage('[Borne][Verrouillage permanent ON] : ce modèle de chargeur n\'a pas cette commande');
		$this->cmd('cable_lock')->execute();
	}

	public function testAModelThatIsNotThereChangesNothing() {
		$eqLogic = $this->charger(self::FULL);
		unlink(PLUGIN . '/data/chargers/' . self::FULL . '.json');
		$before = Store::fingerprint();
		$eqLogic->save();
		$this->assertSame($before, Store::fingerprint());
	}

	public function testACommandOfTheUsersOwnIsLeftAlone() {
		$eqLogic = $this->charger(self::FULL);
		$own = new EVchargerCmd();
		$own->setEqLogic_id($eqLogic->getId());
		$own->setName('À moi');
		$own->save();
		$eqLogic->setConfiguration('model', self::SMALL);
		$eqLogic->save();
		$this->assertContains($own, Store::$cmds);
		$this->assertFalse($own->dontRemoveCmd());
	}

	public function testANameThatIsTakenGetsANumber() {
		$eqLogic = $this->charger(self::SMALL);
		$this->cmd('state')->setName('puissance');
		$eqLogic->setConfiguration('model', self::FULL);
		$eqLogic->save();
		$this->assertSame('Puissance 2', $this->cmd('power')->getName());
	}

	public function testOfferedCommandsCannotBeRemoved() {
		$this->charger(self::FULL);
		$this->assertTrue($this->cmd('power')->dontRemoveCmd());
	}

	public function testThePageSavesCommandsBeforeTheyAreSynchronised() {
		$eqLogic = $this->charger(self::FULL);
		$eqLogic->preAjax();
		$eqLogic->setConfiguration('model', self::SMALL);
		$eqLogic->save();
		$this->assertNotNull($this->cmd('voltage_1'), 'the page is about to save this command');
		$eqLogic->postAjax();
		$this->assertNull($this->cmd('voltage_1'));
	}

	public function testAChargerAddedOnThePageIsEnabledAndVisible() {
		$eqLogic = new EVcharger();
		$eqLogic->setEqType_name('EVcharger');
		$eqLogic->setName('Borne');
		$eqLogic->preAjax();
		$eqLogic->save();
		$this->assertEquals(array(1, 1), array($eqLogic->getIsEnable(), $eqLogic->getIsVisible()));
		$this->assertSame(array(), Store::$cmds, 'no model yet');
	}

	public function testTheDaemonIsToldOfEnabledChargersWithWhatTheUserSet() {
		$first = $this->charger(self::FULL, array('unit' => '3', 'baudrate' => '9600', 'parity' => 'E', 'stopbits' => '', 'poll' => '2.5', 'unverified' => '1'));
		$this->charger(self::SMALL)->setIsEnable(0);
		$this->charger(self::SMALL, array('port' => ''));
		$this->charger('');
		$this->assertSame(
			array(
				'chargers' => array(array(
					'id' => $first->getId(), 'model' => self::FULL, 'port' => '/dev/ttyUSB0', 'unit' => 3, 'baudrate' => 9600,
					'parity' => 'E', 'poll' => 2.5, 'unverified' => true,
				)),
				'language' => 'fr_FR',
			),
			EVcharger::daemonConfiguration()
		);
	}

	public function testOldChargersComeBeforeNewOnesWhateverTheirNames() {
		$first = $this->charger(self::SMALL);
		$second = $this->charger(self::SMALL);
		Store::$eqLogics = array_reverse(Store::$eqLogics, true);
		$this->assertSame(array($first->getId(), $second->getId()), array_column(EVcharger::daemonConfiguration()['chargers'], 'id'));
	}

	public function testSpacesAroundAPortAreTypingErrors() {
		$this->assertSame('socket://10.0.0.2:4196', $this->charger(self::FULL, array('port' => " socket://10.0.0.2:4196\n"))->getConfiguration('port'));
	}

	public function testValuesReachTheirCommandsAndMarkTheChargerAsHeardFrom() {
		$eqLogic = $this->charger(self::FULL);
		EVcharger::receive(array('chargers' => array($eqLogic->getId() => array('state' => 3, 'power' => 7360.5, 'online' => 1, 'error_text' => '', 'nonsense' => 1, 'current_1' => null, 'rfid' => array()))));
		$this->assertSame(array(3, 7360.5, 1, '', null, null), array_map(function ($logicalId) {
			return $this->cmd($logicalId)->value;
		}, array('state', 'power', 'online', 'error_text', 'current_1', 'rfid')));
		$this->assertArrayHasKey('lastCommunication', $eqLogic->status);
	}

	public function testValuesOfSomeoneElseAreNotTaken() {
		$eqLogic = $this->charger(self::FULL);
		$eqLogic->setEqType_name('other');
		EVcharger::receive(array('chargers' => array($eqLogic->getId() => array('state' => 3), 999 => array('state' => 3), 'x' => 'y')));
		$this->assertNull($this->cmd('state')->value);
	}

	public function testAScanCanBeAskedForAndACaptureIsPushed() {
		$this->assertNull(EVcharger::scanState());
		$capture = array('type' => 'capture', 'charger' => 12, 'file' => 'a.json', 'done' => true);
		EVcharger::receive(array('events' => array(array('type' => 'scan', 'progress' => 0.5, 'found' => array()), $capture, array('type' => 'other'), 3)));
		$this->assertSame(array('type' => 'scan', 'progress' => 0.5, 'found' => array()), EVcharger::scanState());
		$this->assertSame(array(array('EVcharger::capture', $capture)), Store::$events, 'an event of the core is too small for a scan');
	}

	public function testWhatAScanFoundIsShownInWordsAndWithTheEquipmentThatStandsForIt() {
		$run = $this->charger(self::FULL, array('port' => '/dev/ttyUSB0', 'unit' => 1));
		$disabled = $this->charger(self::FULL, array('port' => '/dev/ttyUSB1', 'unit' => '2'));
		EVcharger::receive(array('events' => array(array('type' => 'scan', 'found' => array(
			array('port' => '/dev/serial/by-id/x', 'unit' => 9, 'charger' => $run->getId(), 'values' => array()),
			array('port' => '/dev/ttyUSB1', 'unit' => 2, 'values' => array('state' => 3)),
			array('port' => '/dev/ttyUSB1', 'unit' => 3, 'values' => array()),
		)))));
		$found = EVcharger::scanState()['found'];
		$this->assertSame(array($run->getId(), $disabled->getId(), null), array_map(function ($each) {
			return $each['equipment']['id'] ?? null;
		}, $found));
		$this->assertSame('3 (Recharge)', $found[1]['shown'][0]['value']);
	}

	public function testWhatAScanFoundIsAddedAsThePageWouldAddIt() {
		$settings = array('model' => self::FULL, 'port' => '/dev/ttyUSB0', 'unit' => 3, 'baudrate' => 19200, 'nonsense' => 1, 'poll' => array());
		$eqLogic = EVcharger::add('Borne', $settings);
		$this->assertSame(array('EVcharger', 'Borne', 1, 1), array($eqLogic->getEqType_name(), $eqLogic->getName(), $eqLogic->getIsEnable(), $eqLogic->getIsVisible()));
		$this->assertSame(array('model' => self::FULL, 'port' => '/dev/ttyUSB0', 'unit' => 3, 'baudrate' => 19200, 'unverified' => false), $eqLogic->lineSettings());
		$this->assertNotEmpty($eqLogic->getCmd());
		$this->assertSame(array('Borne 2', 'A B', 'A B 2'), array_map(function ($name) use ($settings) {
			return EVcharger::add($name, $settings)->getName();
		}, array('Borne', 'A / B', 'A / B')));
	}

	public function testWidgetTextsAreThoseOfTheCatalog() {
		$widgets = EVcharger::templateWidget();
		$this->assertSame('Recharge', $widgets['info']['numeric']['state']['replace']['#text_3#']);
		$this->assertSame('Câble déverouillé, Verrouillage permanent activé', $widgets['action']['other']['Cable_lock']['replace']['#text_2#']);
		foreach (array('dashboard', 'mobile') as $version) {
			foreach (array('info.numeric.' . $widgets['info']['numeric']['state']['template'], 'action.other.' . $widgets['action']['other']['Cable_lock']['template']) as $file) {
				$this->assertFileExists(REPOSITORY . "/core/template/$version/cmd.$file.html");
			}
		}
	}

	public function testEveryTagOfOurWidgetsIsReplaced() {
		$widgets = EVcharger::templateWidget();
		$replaced = array_merge(array_keys($widgets['info']['numeric']['state']['replace']), array_keys($widgets['action']['other']['Cable_lock']['replace']));
		foreach (glob(REPOSITORY . '/core/template/*/cmd.*.html') as $path) {
			preg_match_all('/#(text_\d|description_\d|help_\w+|unknown)#/', file_get_contents($path), $tags);
			$this->assertSame(array(), array_diff($tags[0], $replaced), $path);
		}
	}

	public function testTheAssistancePostHoldsNoAddressOfTheUsersNetwork() {
		$this->charger(self::FULL, array('port' => 'socket://user:secret@192.168.1.50:4196'));
		$post = EVcharger::getConfigForCommunity();
		$this->assertStringContainsString('socket://…', $post);
		$this->assertStringNotContainsString('192.168', $post);
		$this->assertStringNotContainsString('secret', $post);
		$this->assertStringNotContainsString(jeedom::KEY, $post);
	}

	public function testHooksCanComeTwiceAndLoseNothing() {
		require_once PLUGIN . '/plugin_info/install.php';
		require_once PLUGIN . '/plugin_info/pre_install.php';
		$this->charger(self::FULL);
		$before = Store::fingerprint();
		EVcharger_install();
		EVcharger_pre_update();
		EVcharger_update();
		EVcharger_remove();
		EVcharger_remove();
		$this->assertSame($before, Store::fingerprint());
		$this->assertSame(array('startDaemonSoon', 'startDaemonSoon'), Store::$launched);
	}
}
