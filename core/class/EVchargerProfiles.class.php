<?php
/* The user's own profiles, data/chargers/<id>.json: listed, checked by the daemon, written and removed. A file that is
 * wrong is listed too, with what is wrong; only one that the daemon accepts is written. */

class EVchargerProfiles {
	/** The user's files in order of their names: id, title, bytes, error (empty when it is good), used (names of equipments). */
	public static function all(): array {
		$profiles = array();
		foreach (glob(EVchargerCatalog::USER_DIR . '/*.json') ?: array() as $path) {
			$id = basename($path, '.json');
			$listed = array('id' => $id, 'title' => '', 'bytes' => filesize($path), 'error' => '', 'used' => self::users($id));
			try {
				$listed['title'] = self::check(self::read($path), $id)['title'];
			} catch (Exception $e) {
				$listed['error'] = $e->getMessage();
			}
			$profiles[] = $listed;
		}
		return $profiles;
	}

	/** The text of a profile, a shipped one (to start from) or the user's own. */
	public static function text(string $id): string {
		return self::read(EVchargerCatalog::path($id) ?? self::path($id));
	}

	/** What the daemon says of this profile: id, title, commands. Throws, with what is wrong and where. */
	public static function check(string $text, ?string $fileId = null): array {
		if (strlen($text) > EVchargerCatalog::MAX_PROFILE_BYTES) {
			throw new Exception(sprintf(__('Profil de plus de %s octets', __FILE__), EVchargerCatalog::MAX_PROFILE_BYTES));
		}
		if ($fileId !== null && !preg_match(EVchargerCatalog::MODEL_ID, $fileId)) {
			throw new Exception(__('Nom de fichier invalide : des minuscules, des chiffres et des tirets, 49 au plus', __FILE__));
		}
		$profile = json_decode($text); // as objects: an empty one must not become a list
		if ($profile === null) {
			throw new Exception(__('JSON invalide :', __FILE__) . ' ' . json_last_error_msg());
		}
		$id = $profile->id ?? null;
		if ($fileId !== null && is_string($id) && $id !== $fileId) {
			throw new Exception('$.id : ' . sprintf(__('le nom du fichier, « %s », est attendu', __FILE__), $fileId));
		}
		$answer = EVchargerDaemon::answer(array('action' => 'check', 'profile' => $profile));
		if (!$answer['ok']) {
			throw new Exception(isset($answer['path']) ? $answer['path'] . ' : ' . $answer['expected'] : $answer['error']);
		}
		return $answer;
	}

	/** Checks a profile and keeps it under its own id, which it returns. */
	public static function save(string $text): string {
		$id = self::check($text)['id'];
		self::writeAtomically(self::path($id), $text);
		EVcharger::pushConfiguration(); // the chargers of this model
		return $id;
	}

	public static function remove(string $id): void {
		$path = self::path($id);
		$users = self::users($id);
		if ($users !== array()) {
			throw new Exception(__('Ce profil est utilisé : donnez d\'abord un autre modèle à', __FILE__) . ' ' . implode(', ', $users));
		}
		if (!@unlink($path)) {
			throw new Exception(sprintf(__('%s : suppression impossible', __FILE__), basename($path)));
		}
	}

	/** Names of the equipments of this model. */
	private static function users(string $id): array {
		$users = array();
		foreach (eqLogic::byType('EVcharger') as $eqLogic) {
			if ($eqLogic->getConfiguration('model') === $id) {
				$users[] = $eqLogic->getHumanName();
			}
		}
		return $users;
	}

	/** Path of the user's profile of this id, there or not yet. A file that someone put there may have any name. */
	private static function path(string $id): string {
		if ($id === '' || $id[0] === '.' || strpbrk($id, "/\\\0") !== false) {
			throw new Exception(__('Identifiant de profil invalide', __FILE__));
		}
		return EVchargerCatalog::USER_DIR . '/' . $id . '.json';
	}

	private static function read(string $path): string {
		$text = is_file($path) ? @file_get_contents($path, false, null, 0, EVchargerCatalog::MAX_PROFILE_BYTES + 1) : false;
		if ($text === false) {
			throw new Exception(sprintf(__('%s : fichier illisible', __FILE__), basename($path)));
		}
		return $text;
	}

	private static function writeAtomically(string $path, string $text): void {
		if (!is_dir(dirname($path))) {
			@mkdir(dirname($path), 0775, true);
		}
		$temporary = @tempnam(dirname($path), '.new');
		// tempnam() falls back to another directory, from where a rename would not be atomic.
		$written = $temporary !== false && dirname($temporary) === realpath(dirname($path))
			&& file_put_contents($temporary, $text) === strlen($text)
			&& chmod($temporary, 0664) && rename($temporary, $path);
		if (!$written) {
			@unlink((string) $temporary);
			throw new Exception(sprintf(__('%s : écriture impossible', __FILE__), basename($path)));
		}
	}
}
