<?php

use PHPUnit\Framework\TestCase;

class CatalogTest extends TestCase {
	/** A model of which some is unverified: a point, what is made of it, a command and an action of their own. */
	const PROFILE = array(
		'id' => 'mine', 'brand' => 'B', 'model' => 'M', 'picture' => 'cable', 'confidence' => 'low', 'sources' => array('M' => 'a manual'),
		'notes' => array(array('fr_FR' => 'bornier', 'en_US' => 'terminal block')),
		'line' => array('baudrate' => 9600, 'parity' => 'N', 'stopbits' => 1, 'unit' => 1),
		'points' => array('sure' => array(), 'guess' => array('unverified' => true)),
		'commands' => array(
			'state' => array('rules' => array(array('when' => array('sure' => 1), 'is' => 3))),
			'cable_locked' => array('rules' => array(array('when' => array('guess' => 1), 'is' => 1))),
			'power' => array('sum' => array(array('product' => array('sure', 'guess')))),
			'voltage_1' => 'sure',
			'voltage_2' => array('first' => array('sure'), 'unverified' => true),
		),
		'actions' => array(
			'charge_stop' => array('write' => array(array('point' => 'guess', 'to' => 0))),
			'charge_start' => array('write' => array(array('point' => 'sure', 'to' => 1))),
		),
	);

	protected function tearDown(): void {
		array_map('unlink', glob(PLUGIN . '/data/chargers/*'));
	}

	private function keep(string $name, $content): void {
		file_put_contents(PLUGIN . '/data/chargers/' . $name, is_string($content) ? $content : json_encode($content));
	}

	public function testCommandsComeInDisplayOrder() {
		$orders = array_column(EVchargerCatalog::commands(), 'order');
		$sorted = $orders;
		sort($sorted);
		$this->assertSame($sorted, $orders);
	}

	public function testAModelOffersWhatItServesWhatAllHaveAndWhatFollows() {
		$offered = EVchargerCatalog::offered(self::PROFILE, false);
		$this->assertSame(array('refresh', 'connected', 'state', 'voltage_1', 'charge_start', 'session_duration', 'online'), $offered);
	}

	public function testUnverifiedCommandsComeOnlyWhenAskedForWithWhatFollowsFromThem() {
		$this->assertEqualsCanonicalizing(array('cable_locked', 'power', 'voltage_2', 'charge_stop'), EVchargerCatalog::unverified(self::PROFILE));
		$more = array_diff(EVchargerCatalog::offered(self::PROFILE, true), EVchargerCatalog::offered(self::PROFILE, false));
		$this->assertEqualsCanonicalizing(array('cable_locked', 'cable_state', 'power', 'voltage_2', 'charge_stop'), $more);
	}

	public function testTheUsersOwnProfilesAreRead() {
		$this->keep('mine.json', self::PROFILE);
		$this->assertSame('M', EVchargerCatalog::profile('mine')['model']);
		$this->assertContains('mine', array_keys(EVchargerCatalog::profiles()));
	}

	public function testAUsersProfileDoesNotReplaceAShippedOne() {
		$shipped = array_keys(EVchargerCatalog::profiles())[0];
		$this->keep($shipped . '.json', array('id' => $shipped, 'brand' => 'usurper') + self::PROFILE);
		$this->assertNotSame('usurper', EVchargerCatalog::profile($shipped)['brand']);
		$this->assertNotSame('usurper', EVchargerCatalog::profiles()[$shipped]['brand']);
	}

	public function testWhatIsNoProfileIsLeftOut() {
		$this->keep('broken.json', '{"id": "broken",');
		$this->keep('list.json', '[1, 2]');
		$this->keep('poor.json', array('id' => 'poor'));
		$this->keep('renamed.json', self::PROFILE);
		$this->keep('huge.json', array('id' => 'huge', 'notes' => array(str_repeat('x', 300000))) + self::PROFILE);
		foreach (array('broken', 'list', 'poor', 'renamed', 'huge', 'absent', '', '../commands', 'a/../b') as $id) {
			$this->assertNull(EVchargerCatalog::profile($id), $id);
			$this->assertArrayNotHasKey($id, EVchargerCatalog::profiles());
		}
	}

	public function testAProfileOfAnotherShapeDoesNotKeepThePageFromItsModels() {
		$this->keep('mine.json', array('notes' => array(3)) + self::PROFILE);
		$this->assertCount(count(glob(REPOSITORY . '/core/config/chargers/*.json')), EVchargerCatalog::models('fr_FR'));
		$this->keep('mine.json', array('brand' => array()) + self::PROFILE);
		$this->assertNull(EVchargerCatalog::profile('mine'));
	}

	public function testEveryShippedModelIsShownInBothLanguages() {
		$french = EVchargerCatalog::models('fr_FR');
		$this->assertCount(count(glob(REPOSITORY . '/core/config/chargers/*.json')), $french);
		$this->assertNotEquals(array_column($french, 'notes'), array_column(EVchargerCatalog::models('en_US'), 'notes'));
		foreach ($french as $model) {
			$this->assertFileExists(REPOSITORY . '/' . str_replace('plugins/EVcharger/', '', $model['picture']));
		}
	}

	public function testALanguageWithoutATextGetsTheEnglishOne() {
		$this->assertSame('e', EVchargerCatalog::text(array('fr_FR' => 'f', 'en_US' => 'e'), 'de_DE'));
		$this->assertSame('f', EVchargerCatalog::text(array('fr_FR' => 'f', 'en_US' => 'e'), 'fr_FR'));
	}

	public function testValuesAreDescribedInWordsAndInOrder() {
		$rows = EVchargerCatalog::describe(array('power' => 7360.5, 'state' => 3.0, 'unknown' => 1), 'fr_FR');
		$this->assertSame(array('state', 'power'), array_column($rows, 'logicalId'));
		$this->assertSame(array('3 (Recharge)', '7360.5'), array_column($rows, 'value'));
		$this->assertSame(array('', 'W'), array_column($rows, 'unit'));
	}
}
