<?php
/* The little of Jeedom's core that the plugin calls, with the core's manners (names checked against 4.5.3): objects in
 * memory, hooks called as DB::save() does, a name cleaned as cleanComponanteName() does, each write counted. */

if (!defined('JEEDOM_ROOT')) {
	define('JEEDOM_ROOT', dirname(__DIR__, 2)); // under a web server: this file is core/php/core.inc.php there
}

function __($text, $file) {
	return translate::$language === 'fr_FR' ? $text : '[' . translate::$language . '] ' . $text;
}

class Store {
	public static array $eqLogics = array();
	public static array $cmds = array();
	public static array $config = array();
	public static array $log = array();
	public static array $events = array();
	public static array $cache = array();
	public static array $launched = array();
	public static array $withHistory = array();
	public static array $usedByScenario = array();
	public static int $writes = 0;

	/** Of all that the database would hold. */
	public static function fingerprint(): string {
		return md5(serialize(array_map(function ($stored) {
			return $stored->attributes();
		}, array_merge(self::$eqLogics, self::$cmds))));
	}

	public static function clear(): void {
		self::$eqLogics = self::$cmds = self::$config = self::$log = self::$events = self::$cache = array();
		self::$launched = self::$withHistory = self::$usedByScenario = array();
		self::$writes = 0;
		translate::$language = 'fr_FR';
	}
}

/** Getters and setters by name, attributes with keys, and the knowledge of having been changed. */
abstract class Stored {
	protected array $attributes = array();
	protected bool $changed = false;

	public function __call($name, $arguments) {
		$attribute = substr($name, 3);
		if (strpos($name, 'get') === 0) {
			return $this->get($attribute, ...$arguments);
		}
		if (strpos($name, 'set') === 0) {
			return count($arguments) === 1 ? $this->set($attribute, $arguments[0]) : $this->setKey($attribute, ...$arguments);
		}
		throw new BadMethodCallException($name);
	}

	private function get($attribute, $key = null, $default = '') {
		$value = $this->attributes[$attribute] ?? '';
		if ($key === null) {
			return $value;
		}
		return ($value[$key] ?? '') === '' ? $default : $value[$key];
	}

	protected function set($attribute, $value) {
		if (($this->attributes[$attribute] ?? null) !== $value) {
			$this->attributes[$attribute] = $value;
			$this->changed = true;
		}
		return $this;
	}

	private function setKey($attribute, $key, $value) {
		$values = $this->attributes[$attribute] ?? array();
		if ($value === null) {
			unset($values[$key]);
		} else {
			$values[$key] = $value;
		}
		return $this->set($attribute, $values);
	}

	public function attributes(): array {
		return $this->attributes;
	}

	public function setName($name) {
		return $this->set('Name', str_replace(array('&', '#', ']', '[', '%', '\\', '/', "'", '"', '*'), '', $name));
	}

	public function save() {
		$new = $this->getId() == '';
		$this->hook('preSave');
		$this->hook($new ? 'preInsert' : 'preUpdate');
		if ($new) {
			$this->setId(count(Store::$eqLogics) + count(Store::$cmds) + 1000);
		}
		if ($this->changed) {
			Store::$writes++;
			$this->changed = false;
			$this->keep();
		}
		$this->hook('postSave');
	}

	protected function hook($name): void {
		if (method_exists($this, $name)) {
			$this->$name();
		}
	}

	abstract protected function keep(): void;
}

class eqLogic extends Stored {
	public array $status = array();

	public static function byId($id) {
		return Store::$eqLogics[$id] ?? null;
	}

	public static function byType($type, $onlyEnabled = false) {
		return array_values(array_filter(Store::$eqLogics, function ($eqLogic) use ($type, $onlyEnabled) {
			return $eqLogic->getEqType_name() === $type && (!$onlyEnabled || $eqLogic->getIsEnable() == 1);
		}));
	}

	protected function keep(): void {
		Store::$eqLogics[$this->getId()] = $this;
	}

	public function remove() {
		unset(Store::$eqLogics[$this->getId()]);
		$this->hook('postRemove');
	}

	public function getCmd($type = null) {
		return array_values(array_filter(Store::$cmds, function ($cmd) use ($type) {
			return $cmd->getEqLogic_id() == $this->getId() && ($type === null || $cmd->getType() === $type);
		}));
	}

	public function checkAndUpdateCmd($cmd, $value) {
		if ($this->getIsEnable() == 1) {
			$cmd->value = $value;
			$this->status['lastCommunication'] = date('Y-m-d H:i:s');
		}
	}

	public function setStatus($key, $value) {
		$this->status[$key] = $value;
	}

	public function getHumanName() {
		return '[' . $this->getName() . ']';
	}
}

class cmd extends Stored {
	public $value = null;

	protected function keep(): void {
		foreach (Store::$cmds as $other) { // the database's unique key
			if ($other !== $this && $other->getEqLogic_id() == $this->getEqLogic_id() && mb_strtolower($other->getName()) === mb_strtolower($this->getName())) {
				throw new LogicException('two commands are named ' . $this->getName());
			}
		}
		Store::$cmds[$this->getId()] = $this;
	}

	public function remove() {
		unset(Store::$cmds[$this->getId()]);
	}

	public function getEqLogic() {
		return eqLogic::byId($this->getEqLogic_id());
	}

	public function getHumanName() {
		return $this->getEqLogic()->getHumanName() . '[' . $this->getName() . ']';
	}

	public function getUsedBy() {
		return array(
			'cmd' => array_filter(Store::$cmds, function ($cmd) {
				return $cmd->getValue() == $this->getId();
			}),
			'scenario' => in_array($this->getLogicalId(), Store::$usedByScenario) ? array('a scenario') : array(),
		);
	}
}

class DB {
	const FETCH_TYPE_ROW = 0;

	public static function Prepare($sql, $parameters, $fetch) {
		return in_array(Store::$cmds[$parameters['cmd_id']]->getLogicalId(), Store::$withHistory) ? array(1 => 1) : false;
	}
}

class config {
	public static function byKey($key, $plugin = 'core', $default = '', $fresh = false) {
		return Store::$config[$plugin . '::' . $key]
			?? parse_ini_file(JEEDOM_ROOT . '/plugins/EVcharger/core/config/EVcharger.config.ini')[$key]
			?? $default;
	}
}

class log {
	public static function add($log, $level, $message) {
		Store::$log[] = $level . ': ' . $message;
	}

	public static function getLogLevel($log) {
		return 200;
	}

	public static function convertLogLevel($level) {
		return 'info';
	}

	public static function getPathToLog($log) {
		return JEEDOM_ROOT . '/' . $log;
	}
}

class jeedom {
	const KEY = 'the-key-of-the-plugin-0123456789';
	const USER_KEY = 'the-key-of-some-user-0123456789';

	public static function getTmpFolder($plugin) {
		@mkdir(JEEDOM_ROOT . '/tmp');
		return JEEDOM_ROOT . '/tmp';
	}

	public static function getApiKey($plugin) {
		return self::KEY;
	}

	public static function apiAccess($key, $plugin) {
		return in_array($key, array(self::KEY, self::USER_KEY), true);
	}
}

class network {
	public static function getNetworkAccess($mode, $protocol) {
		return Store::$config['address'] ?? 'http://127.0.0.1:80';
	}
}

class translate {
	public static string $language = 'fr_FR';

	public static function getLanguage() {
		return self::$language;
	}
}

class system {
	public static function kill($pid) {
		posix_kill($pid, 15);
	}

	public static function getCmdSudo() {
		return '';
	}
}

class event {
	public static function add($name, $options) {
		Store::$events[] = array($name, $options);
	}
}

class cache {
	private $value = null;

	public static function set($key, $value, $lifetime = 0) {
		Store::$cache[$key] = new cache();
		Store::$cache[$key]->value = $value;
	}

	public static function byKey($key) {
		return Store::$cache[$key] ?? new cache();
	}

	public static function delete($key) {
		unset(Store::$cache[$key]);
	}

	public function getValue($default = '') {
		return $this->value ?? $default;
	}
}

class plugin {
	public static function byId($id) {
		return new plugin();
	}

	public function launch($function) {
		Store::$launched[] = $function;
	}
}
