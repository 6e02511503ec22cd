<?php

/** The user's own files: profiles and captures. */
class FilesTest extends DaemonCase {
	const PROFILE = '{"id": "mine", "brand": "B", "commands": {}}';

	protected function setUp(): void {
		parent::setUp();
		EVcharger::deamon_start();
		$this->answer('{"ok": true, "id": "mine", "title": "B M", "commands": ["state"]}');
	}

	protected function tearDown(): void {
		parent::tearDown();
		exec('rm -rf ' . escapeshellarg(PLUGIN . '/data/captures') . ' ' . escapeshellarg(PLUGIN . '/data/chargers') . '/*');
	}

	private function file(string $name): string {
		return PLUGIN . '/data/' . $name;
	}

	private function refused(callable $call): string {
		try {
			$call();
		} catch (Exception $e) {
			return $e->getMessage();
		}
		$this->fail('it was not refused');
	}

	public function testAProfileIsCheckedByTheDaemonAsItStands() {
		$this->assertSame('B M', EVchargerProfiles::check(self::PROFILE)['title']);
		$asked = file_get_contents(jeedom::getTmpFolder('EVcharger') . '/asked.json');
		$this->assertStringContainsString('"profile":{"id":"mine","brand":"B","commands":{}}', $asked, 'an empty object stays one');
	}

	public function testAnErrorSaysWhereItIsAndWhatWasExpected() {
		$this->answer('{"ok": false, "error": "profil : $.points.a : un nombre", "file": "profil", "path": "$.points.a", "expected": "un nombre"}');
		$this->assertSame('$.points.a : un nombre', $this->refused(function () {
			EVchargerProfiles::check(self::PROFILE);
		}));
		$this->assertStringStartsWith('JSON invalide', $this->refused(function () {
			EVchargerProfiles::check('{"id": ');
		}));
		$this->assertStringContainsString('262144', $this->refused(function () {
			EVchargerProfiles::check('"' . str_repeat('x', 262144) . '"');
		}));
	}

	public function testAGoodProfileIsKeptAsItWasWrittenAndTheDaemonIsTold() {
		$this->assertSame('mine', EVchargerProfiles::save(self::PROFILE));
		$this->assertSame(self::PROFILE, file_get_contents($this->file('chargers/mine.json')));
		$this->assertSame(self::PROFILE, EVchargerProfiles::text('mine'));
		$this->assertSame('configure', $this->kept('asked.json')['action']);
		$this->assertSame(array('mine.json'), array_values(array_diff(scandir($this->file('chargers')), array('.', '..'))), 'and nothing else is left there');
	}

	public function testABadProfileIsNotKept() {
		$this->answer('{"ok": false, "error": "non"}');
		$this->assertSame('non', $this->refused(function () {
			EVchargerProfiles::save(self::PROFILE);
		}));
		$this->assertFileDoesNotExist($this->file('chargers/mine.json'));
	}

	public function testAFileThatIsWrongIsListedWithWhatIsWrong() {
		file_put_contents($this->file('chargers/mine.json'), self::PROFILE);
		file_put_contents($this->file('chargers/other.json'), self::PROFILE);
		file_put_contents($this->file('chargers/Ma Borne.json'), self::PROFILE);
		file_put_contents($this->file('chargers/broken.json'), '{');
		$listed = array_column(EVchargerProfiles::all(), null, 'id');
		$this->assertSame(array('Ma Borne', 'broken', 'mine', 'other'), array_keys($listed));
		$this->assertSame(array('B M', ''), array($listed['mine']['title'], $listed['mine']['error']));
		$this->assertSame('$.id : le nom du fichier, « other », est attendu', $listed['other']['error']);
		$this->assertStringContainsString('Nom de fichier invalide', $listed['Ma Borne']['error']);
		$this->assertStringStartsWith('JSON invalide', $listed['broken']['error']);
		EVchargerProfiles::remove('Ma Borne');
		$this->assertFileDoesNotExist($this->file('chargers/Ma Borne.json'));
	}

	public function testAProfileInUseIsNotRemoved() {
		EVchargerProfiles::save(self::PROFILE);
		$eqLogic = new EVcharger();
		$eqLogic->setEqType_name('EVcharger');
		$eqLogic->setName('Borne');
		$eqLogic->setConfiguration('model', 'mine');
		$eqLogic->save();
		$this->assertSame(array('[Borne]'), EVchargerProfiles::all()[0]['used']);
		$this->assertStringContainsString('[Borne]', $this->refused(function () {
			EVchargerProfiles::remove('mine');
		}));
		$this->assertFileExists($this->file('chargers/mine.json'));
		$eqLogic->remove();
		EVchargerProfiles::remove('mine');
		$this->assertSame(array(), EVchargerProfiles::all());
	}

	public function testOnlyTheUsersOwnProfilesCanBeTouched() {
		$shipped = array_keys(EVchargerCatalog::profiles())[0];
		$this->assertJson(EVchargerProfiles::text($shipped), 'one may start from it');
		foreach (array($shipped, '../../core/config/chargers/' . $shipped, '../README', '', '.', "a\0b") as $id) {
			$this->refused(function () use ($id) {
				EVchargerProfiles::remove($id);
			});
		}
		$this->assertNotNull(EVchargerCatalog::profile($shipped));
		foreach (array('../../core/config/commands', '../chargers/x', 'absent') as $id) {
			$this->refused(function () use ($id) {
				EVchargerProfiles::text($id);
			});
		}
	}

	public function testCapturesAreListedNewestFirstReadAndRemoved() {
		$this->assertSame(array(), EVchargerCaptures::all());
		mkdir($this->file('captures'));
		file_put_contents($this->file('captures/2026-01-01-100000-mine.json'), 'old');
		file_put_contents($this->file('captures/2026-01-02-100000-mine.json'), 'newer');
		$this->assertSame(array('2026-01-02-100000-mine.json', '2026-01-01-100000-mine.json'), array_column(EVchargerCaptures::all(), 'name'));
		$this->assertSame(5, EVchargerCaptures::all()[0]['bytes']);
		$this->assertSame('newer', EVchargerCaptures::text('2026-01-02-100000-mine.json'));
		EVchargerCaptures::remove('2026-01-02-100000-mine.json');
		$this->assertCount(1, EVchargerCaptures::all());
	}

	public function testNothingButACaptureIsGivenOut() {
		mkdir($this->file('captures'));
		file_put_contents($this->file('secret.json'), 'secret');
		foreach (array('../secret.json', '../../core/config/commands.json', 'absent.json', '', '.', "../secret.json\0", "a.json\n") as $name) {
			$this->assertSame('Capture introuvable', $this->refused(function () use ($name) {
				EVchargerCaptures::text($name);
			}));
		}
	}
}
