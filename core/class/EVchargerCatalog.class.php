<?php
/* What is known of commands and charger models: core/config/commands.json, core/config/chargers/*.json and the user's
 * own data/chargers/*.json. Reads files and nothing else: no Jeedom in here, and no knowledge of any model. */

class EVchargerCatalog {
	const CONFIG_DIR = __DIR__ . '/../config';
	const USER_DIR = __DIR__ . '/../../data/chargers';
	const MAX_PROFILE_BYTES = 262144; // the daemon refuses longer ones (profile.py, MAX_BYTES)
	const MODEL_ID = '/^[a-z0-9][a-z0-9-]{1,48}\z/'; // charger.schema.json; a file of another name is no profile

	/** Entries of commands.json by logicalId, in display order. */
	public static function commands(): array {
		static $commands = null;
		if ($commands === null) {
			$commands = array_column(self::read(self::CONFIG_DIR . '/commands.json')['commands'], null, 'logicalId');
			uasort($commands, function ($a, $b) {
				return $a['order'] <=> $b['order'];
			});
		}
		return $commands;
	}

	/** All profiles by id: the shipped ones, then the user's own that do not bear a shipped name. */
	public static function profiles(): array {
		$profiles = array();
		foreach (array(self::CONFIG_DIR . '/chargers', self::USER_DIR) as $directory) {
			foreach (glob($directory . '/*.json') ?: array() as $path) {
				$id = basename($path, '.json');
				$profile = isset($profiles[$id]) || !preg_match(self::MODEL_ID, $id) ? null : self::readProfile($path);
				if ($profile !== null) {
					$profiles[$id] = $profile;
				}
			}
		}
		return $profiles;
	}

	/** The profile of this model, null where there is none that can be read. */
	public static function profile(string $model): ?array {
		$path = self::path($model);
		return $path === null ? null : self::readProfile($path);
	}

	/** The file of this model, which need not be a good one; null where there is none. */
	public static function path(string $model): ?string {
		foreach (array(self::CONFIG_DIR . '/chargers', self::USER_DIR) as $directory) {
			$path = $directory . '/' . $model . '.json';
			if (preg_match(self::MODEL_ID, $model) && is_file($path)) {
				return $path;
			}
		}
		return null;
	}

	/** logicalIds of the commands that a model offers, in display order (catalog.py, offered). */
	public static function offered(array $profile, bool $withUnverified): array {
		$served = array_merge(array_keys($profile['commands']), array_keys($profile['actions'] ?? array()));
		if (!$withUnverified) {
			$served = array_diff($served, self::unverified($profile));
		}
		$offered = array_filter(self::commands(), function ($command) use ($served) {
			$with = $command['offeredWith'] ?? null;
			return in_array($command['logicalId'], $served)
				|| $with === 'always'
				|| (is_array($with) && array_diff($with, $served) === array());
		});
		return array_keys($offered);
	}

	/** logicalIds of the commands that nobody has confirmed: marked so, or made of a point that is. */
	public static function unverified(array $profile): array {
		$points = array_keys(array_filter($profile['points'], function ($point) {
			return $point['unverified'] ?? false;
		}));
		$unverified = array();
		foreach ($profile['commands'] as $logicalId => $expression) {
			if (($expression['unverified'] ?? false) || array_intersect(self::words($expression), $points)) {
				$unverified[] = $logicalId;
			}
		}
		foreach ($profile['actions'] ?? array() as $logicalId => $action) {
			if (($action['unverified'] ?? false) || array_intersect(array_column($action['write'], 'point'), $points)) {
				$unverified[] = $logicalId;
			}
		}
		return $unverified;
	}

	/** What the equipment page shows of each model, in this language. */
	public static function models(string $language): array {
		$models = array();
		foreach (self::profiles() as $profile) {
			try {
				$models[] = self::model($profile, $language);
			} catch (TypeError $e) {
				continue; // a file that someone put there unchecked: « Mes profils » says what is wrong with it
			}
		}
		usort($models, function ($a, $b) {
			return strcasecmp($a['brand'] . ' ' . $a['model'], $b['brand'] . ' ' . $b['model']);
		});
		return $models;
	}

	private static function model(array $profile, string $language): array {
		return array(
			'id' => $profile['id'],
			'brand' => $profile['brand'],
			'model' => $profile['model'],
			'rebrands' => $profile['rebrands'] ?? array(),
			'picture' => self::picture($profile),
			'confidence' => $profile['confidence'],
			'sources' => array_values($profile['sources']),
			'notes' => array_map(function ($note) use ($language) {
				return self::text($note, $language);
			}, $profile['notes']),
			'line' => $profile['line'],
			'unverified' => self::names(self::unverified($profile), $language),
		);
	}

	/** What these commands are called, in this language. */
	public static function names(array $logicalIds, string $language): array {
		return array_map(function ($logicalId) use ($language) {
			return self::text(self::commands()[$logicalId]['name'], $language);
		}, $logicalIds);
	}

	/** Values by logicalId as someone reads them: name, value with the words that a value may have, unit; in display order. */
	public static function describe(array $values, string $language): array {
		$rows = array();
		foreach (self::commands() as $logicalId => $command) {
			if (array_key_exists($logicalId, $values)) {
				$words = array_column($command['values'] ?? array(), 'text', 'value')[(string) $values[$logicalId]] ?? null;
				$rows[] = array(
					'logicalId' => $logicalId,
					'name' => self::text($command['name'], $language),
					'value' => $values[$logicalId] . ($words === null ? '' : ' (' . self::text($words, $language) . ')'),
					'unit' => $command['unit'],
				);
			}
		}
		return $rows;
	}

	/** Path of the picture of this kind of charger, from Jeedom's root. */
	public static function picture(?array $profile): string {
		return 'plugins/EVcharger/desktop/img/charger_' . ($profile['picture'] ?? 'socket') . '.png';
	}

	/** A text of {"fr_FR": …, "en_US": …} in this language, else in English, which every text has. */
	public static function text(array $texts, string $language): string {
		return $texts[$language] ?? $texts['en_US'];
	}

	/** All strings and keys in an expression of a profile: the points that it looks at are among them. */
	private static function words($expression): array {
		if (!is_array($expression)) {
			return array($expression);
		}
		$words = array_keys($expression);
		foreach ($expression as $part) {
			$words = array_merge($words, self::words($part));
		}
		return $words;
	}

	private static function readProfile(string $path): ?array {
		if (!is_file($path) || filesize($path) > self::MAX_PROFILE_BYTES) {
			return null;
		}
		$profile = self::read($path);
		foreach (array('brand' => 'string', 'model' => 'string', 'confidence' => 'string', 'sources' => 'array', 'notes' => 'array', 'line' => 'array', 'points' => 'array', 'commands' => 'array') as $key => $type) {
			if (gettype($profile[$key] ?? null) !== $type) {
				return null;
			}
		}
		return ($profile['id'] ?? '') === basename($path, '.json') ? $profile : null;
	}

	private static function read(string $path): ?array {
		$document = json_decode((string) file_get_contents($path), true);
		return is_array($document) ? $document : null;
	}
}
