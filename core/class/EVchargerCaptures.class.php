<?php
/* Captures that the daemon has written, data/captures/*.json: listed, read for a download, removed. */

class EVchargerCaptures {
	const DIR = __DIR__ . '/../../data/captures';

	/** Newest first: name, bytes, written (as the user writes a date). */
	public static function all(): array {
		$captures = array();
		foreach (array_reverse(glob(self::DIR . '/*.json') ?: array()) as $path) { // their names begin with the date
			$captures[] = array('name' => basename($path), 'bytes' => filesize($path), 'written' => date('d/m/Y H:i', filemtime($path)));
		}
		return $captures;
	}

	public static function text(string $name): string {
		return (string) file_get_contents(self::path($name));
	}

	public static function remove(string $name): void {
		if (!@unlink(self::path($name))) {
			throw new Exception(sprintf(__('%s : suppression impossible', __FILE__), $name));
		}
	}

	private static function path(string $name): string {
		$path = self::DIR . '/' . $name;
		if (!preg_match('/^[0-9A-Za-z_-]+\.json\z/', $name) || !is_file($path)) {
			throw new Exception(__('Capture introuvable', __FILE__));
		}
		return $path;
	}
}
