<?php
/* Chargers as Jeedom's equipments. What a command is and what a model offers comes from EVchargerCatalog; what a charger
 * says and does, from the daemon. Nothing in here knows a register or a model. */

require_once __DIR__ . '/../../../../core/php/core.inc.php';
require_once __DIR__ . '/EVchargerCatalog.class.php';
require_once __DIR__ . '/EVchargerDaemon.class.php';
require_once __DIR__ . '/EVchargerProfiles.class.php';
require_once __DIR__ . '/EVchargerCaptures.class.php';

class EVcharger extends eqLogic {
	const STATUS_SECONDS = 5;
	const SCAN = 'EVcharger::scan'; // key in the core's cache: an event of the core holds 8192 characters, a scan more
	const SCAN_SECONDS = 600; // without news of it, after which a scan is forgotten
	const AUTO_MODE_SECONDS = 60; // the core gives auto mode back within seconds
	const LINE_SETTINGS = array('model', 'port', 'unit', 'baudrate', 'parity', 'stopbits', 'poll', 'unverified');

	private $_byPage = false;

	/*     * ************************ The daemon, as the core wants it ************************ */

	public static function deamon_info() {
		$running = EVchargerDaemon::isRunning();
		$obstacle = $running ? '' : EVchargerDaemon::obstacle();
		return array(
			'log' => __CLASS__ . '_daemon',
			'state' => $running ? 'ok' : 'nok',
			'launchable' => $obstacle === '' ? 'ok' : 'nok',
			'launchable_message' => $obstacle,
		);
	}

	public static function deamon_start() {
		EVchargerDaemon::stop();
		$obstacle = EVchargerDaemon::obstacle();
		if ($obstacle !== '') {
			throw new Exception($obstacle);
		}
		EVchargerDaemon::start(self::daemonConfiguration());
	}

	public static function deamon_stop() {
		EVchargerDaemon::stop();
	}

	/** The core calls this as root, which may not own a daemon, its log or its files. */
	public static function dependancy_end() {
		$call = realpath(__DIR__ . '/../../../../core/php/jeePlugin.php') . ' plugin_id=' . __CLASS__ . ' function=startDaemonSoon';
		$user = posix_getuid() === 0 ? 'sudo -u ' . escapeshellarg(system::get('www-uid')) . ' ' : '';
		exec($user . 'php ' . $call . ' > /dev/null 2>&1 &');
	}

	/**
	 * Starts the daemon, unless the user starts it by hand. Runs in a process of its own, after an enable, an update or an
	 * install of the dependencies: the core itself would do so only at the next multiple of five minutes, and while it
	 * enables a plugin it holds auto mode at 0.
	 */
	public static function startDaemonSoon() {
		$deadline = time() + self::AUTO_MODE_SECONDS;
		while (config::byKey('deamonAutoMode', __CLASS__, 1, true) != 1) {
			if (time() > $deadline) {
				return;
			}
			sleep(1);
		}
		plugin::byId(__CLASS__)->deamon_start();
	}

	/** What the daemon has to run: the enabled chargers. */
	public static function daemonConfiguration(): array {
		$chargers = array();
		foreach (eqLogic::byType(__CLASS__, true) as $eqLogic) {
			if ($eqLogic->getConfiguration('model') != '' && $eqLogic->getConfiguration('port') != '') {
				$chargers[(int) $eqLogic->getId()] = array('id' => (int) $eqLogic->getId()) + $eqLogic->lineSettings();
			}
		}
		ksort($chargers); // of two that exclude each other, the daemon keeps the first: the one that was there
		return array('chargers' => array_values($chargers), 'language' => translate::getLanguage());
	}

	/** Tells the running daemon what to run. Throws when it does not want it; one that is not running reads it at its start. */
	public static function pushConfiguration(): void {
		if (!EVchargerDaemon::isRunning()) {
			return;
		}
		$configuration = self::daemonConfiguration();
		try {
			EVchargerDaemon::ask(array('action' => 'configure', 'config' => $configuration));
		} catch (Exception $e) {
			// The daemon says $.chargers[2].port and « chargeur 12 », the user knows [Garage][Borne].
			throw new Exception(preg_replace_callback('/\$\.chargers\[(\d+)\]\.?|(?<=chargeur )(\d+)/', function ($match) use ($configuration) {
				$eqLogic = eqLogic::byId($match[2] ?? $configuration['chargers'][$match[1]]['id']);
				return is_object($eqLogic) ? $eqLogic->getHumanName() . (isset($match[2]) ? '' : ' ') : $match[0];
			}, $e->getMessage()));
		}
	}

	/** Serial ports of this machine: path => what to show of it. A name by id stays the same whatever is plugged in beside. */
	public static function ports(): array {
		$ports = array();
		foreach (glob('/dev/serial/by-id/*') ?: array() as $path) {
			$ports[$path] = basename((string) realpath($path)) . ' : ' . basename($path);
		}
		$named = array_map('realpath', array_keys($ports));
		foreach (glob('/dev/tty{USB,ACM,AMA}*', GLOB_BRACE) ?: array() as $path) {
			if (!in_array($path, $named)) {
				$ports[$path] = $path;
			}
		}
		return $ports;
	}

	/*     * ************************ What comes from the daemon ************************ */

	/** Values of chargers and events, as posted to core/php/jeeEVcharger.php. */
	public static function receive(array $message): void {
		foreach ($message['chargers'] ?? array() as $id => $values) {
			$eqLogic = eqLogic::byId($id);
			if (is_object($eqLogic) && $eqLogic->getEqType_name() === __CLASS__ && is_array($values)) {
				$eqLogic->receiveValues($values);
			} else {
				log::add(__CLASS__, 'debug', 'Values for an unknown equipment: ' . $id);
			}
		}
		foreach ($message['events'] ?? array() as $event) {
			$type = is_array($event) ? $event['type'] ?? '' : '';
			if ($type === 'scan') {
				$event['found'] = array_map(array(__CLASS__, 'describeFound'), array_filter((array) ($event['found'] ?? array()), 'is_array'));
				cache::set(self::SCAN, $event, self::SCAN_SECONDS);
			} elseif ($type === 'capture') {
				event::add('EVcharger::capture', $event);
			}
		}
	}

	/** Begins the search of a port, or of all; its number. What the daemon posts of it is kept for the page that asks. */
	public static function scan(string $port, string $depth): int {
		cache::delete(self::SCAN);
		return EVchargerDaemon::ask(array('action' => 'scan', 'port' => $port, 'depth' => $depth))['scan'];
	}

	/** How far the search is and what it has found; null when there is none. */
	public static function scanState(): ?array {
		return cache::byKey(self::SCAN)->getValue(null);
	}

	/** What a scan has found, with its values in words, and the equipment that already stands for it. */
	private static function describeFound(array $found): array {
		$found['shown'] = EVchargerCatalog::describe($found['values'] ?? array(), translate::getLanguage());
		unset($found['values']);
		foreach (eqLogic::byType(__CLASS__) as $eqLogic) {
			$settings = $eqLogic->lineSettings();
			$isThere = isset($found['charger']) ? $eqLogic->getId() == $found['charger']
				: array($settings['port'] ?? '', $settings['unit'] ?? '') === array($found['port'] ?? null, $found['unit'] ?? null);
			if ($isThere) {
				$found['equipment'] = array('id' => $eqLogic->getId(), 'name' => $eqLogic->getHumanName());
			}
		}
		return $found;
	}

	private function receiveValues(array $values): void {
		foreach ($this->getCmd('info') as $cmd) {
			$value = $values[$cmd->getLogicalId()] ?? null;
			if (is_scalar($value)) {
				$this->checkAndUpdateCmd($cmd, $value);
			}
		}
	}

	/** The daemon posts changes only: a charger at rest has to be marked as heard from by other means. */
	public static function cron5() {
		foreach (self::status()['chargers'] ?? array() as $id => $charger) {
			$eqLogic = eqLogic::byId($id);
			if (is_object($eqLogic) && !empty($charger['online'])) {
				$heard = time() - (int) ($charger['last_answer_s'] ?? 0);
				$eqLogic->setStatus('lastCommunication', date('Y-m-d H:i:s', $heard));
			}
		}
	}

	/** The daemon's account of its chargers and lines; empty when it is not there. */
	public static function status(): array {
		try {
			return EVchargerDaemon::isRunning() ? EVchargerDaemon::ask(array('action' => 'status'), self::STATUS_SECONDS) : array();
		} catch (Exception $e) {
			log::add(__CLASS__, 'debug', 'status: ' . $e->getMessage());
			return array();
		}
	}

	/*     * ************************ Health, Assistance, widgets ************************ */

	public static function health() {
		$status = self::status();
		$tests = array();
		foreach (eqLogic::byType(__CLASS__, true) as $eqLogic) {
			$charger = $status['chargers'][$eqLogic->getId()] ?? array();
			$online = !empty($charger['online']);
			$result = $online ? __('En ligne', __FILE__) : __('Ne répond pas', __FILE__);
			if (isset($charger['last_answer_s'])) {
				$result .= ', ' . sprintf(__('dernière réponse il y a %s s', __FILE__), round($charger['last_answer_s'], 1));
			}
			$tests[] = array(
				'test' => htmlspecialchars($eqLogic->getName()),
				'result' => $result,
				'advice' => $online ? '' : __('Vérifiez le câblage, l\'adresse et la vitesse avec le bouton Tester de l\'équipement', __FILE__),
				'state' => $online,
			);
		}
		return $tests;
	}

	/** For the Assistance post: nothing that opens a door, and no address of the user's network. */
	public static function getConfigForCommunity() {
		$status = self::status();
		$lines = array('Daemon: ' . ($status['version'] ?? 'not running'), EVchargerDaemon::python());
		foreach (eqLogic::byType(__CLASS__) as $eqLogic) {
			$settings = $eqLogic->lineSettings();
			$settings['port'] = preg_replace('#^(\w+://).*#', '$1…', $settings['port'] ?? '');
			$settings['enabled'] = (int) $eqLogic->getIsEnable();
			$charger = $status['chargers'][$eqLogic->getId()] ?? array();
			$lines[] = json_encode($settings + array_filter($charger, 'is_scalar'), JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE);
		}
		return "```\n" . htmlspecialchars(implode("\n", $lines), ENT_NOQUOTES) . "\n```";
	}

	/** The texts of our widgets: the core does not translate those of a plugin's command templates (cmd.class.php, 1854). */
	public static function templateWidget() {
		$commands = EVchargerCatalog::commands();
		$state = array(
			'#unknown#' => __('État inconnu', __FILE__),
			'#help_vehicle#' => __('Forme du véhicule', __FILE__),
			'#help_picture#' => __('Afficher l\'image', __FILE__),
			'#help_text#' => __('Afficher le texte', __FILE__),
		);
		foreach ($commands['state']['values'] as $value) {
			$state['#text_' . $value['value'] . '#'] = __($value['text']['fr_FR'], __FILE__);
			$state['#description_' . $value['value'] . '#'] = __($value['description']['fr_FR'], __FILE__);
		}
		$lock = array();
		foreach ($commands['cable_state']['values'] as $value) {
			$lock['#text_' . $value['value'] . '#'] = __($value['text']['fr_FR'], __FILE__);
		}
		return array(
			'info' => array('numeric' => array('state' => array('template' => 'tmplEVcharger_state', 'replace' => $state))),
			'action' => array('other' => array('Cable_lock' => array('template' => 'tmplEVcharger_Cable_lock', 'replace' => $lock))),
		);
	}

	/*     * ************************ An equipment ************************ */

	/** A new equipment with these settings of a line, as the page would make it. */
	public static function add(string $name, array $settings): EVcharger {
		$eqLogic = new EVcharger();
		$eqLogic->setEqType_name(__CLASS__);
		$names = array_map(function ($other) {
			return $other->getName();
		}, eqLogic::byType(__CLASS__));
		$eqLogic->setName(preg_replace('/\s*\/\s*/', ' ', $name)); // the core drops some characters, slashes among them
		$eqLogic->setName(self::unusedName($eqLogic->getName(), $names));
		foreach (array_intersect_key(array_filter($settings, 'is_scalar'), array_flip(self::LINE_SETTINGS)) as $key => $value) {
			$eqLogic->setConfiguration($key, $value);
		}
		$eqLogic->preAjax();
		$eqLogic->save();
		$eqLogic->postAjax();
		return $eqLogic;
	}

	/** This equipment's entry in the daemon's configuration; what the user left empty is left to the model's profile. */
	public function lineSettings(): array {
		$settings = array();
		foreach (self::LINE_SETTINGS as $key) {
			$value = $this->getConfiguration($key);
			if ($value !== '') {
				$settings[$key] = is_numeric($value) ? $value + 0 : $value;
			}
		}
		$settings['unverified'] = (bool) ($settings['unverified'] ?? false);
		return $settings;
	}

	/** One that the user adds is wanted on the dashboard. */
	public function preInsert() {
		if ($this->_byPage) {
			$this->setIsEnable(1);
			$this->setIsVisible(1);
			$this->setCategory('energy', '1');
		}
	}

	public function preSave() {
		$this->setConfiguration('port', trim($this->getConfiguration('port')));
	}

	/** The page saves the equipment, then its commands as it shows them: whatever we do to commands comes after that. */
	public function preAjax() {
		$this->_byPage = true;
	}

	public function postAjax() {
		$this->syncCommands();
		self::pushConfiguration();
	}

	public function postSave() {
		if ($this->_byPage) {
			return;
		}
		$this->syncCommands();
		try {
			self::pushConfiguration();
		} catch (Exception $e) {
			log::add(__CLASS__, 'error', $e->getMessage());
		}
	}

	public function postRemove() {
		try {
			self::pushConfiguration();
		} catch (Exception $e) {
			log::add(__CLASS__, 'error', $e->getMessage());
		}
	}

	/** The user's own picture of the equipment, else that of its kind of charger. */
	public function getImage() {
		$own = method_exists($this, 'getCustomImage') ? $this->getCustomImage() : null;
		return $own ?? EVchargerCatalog::picture(EVchargerCatalog::profile($this->getConfiguration('model')));
	}

	/** Creates the commands that the model offers, and retires those that it does not. Without a model, changes nothing. */
	public function syncCommands(): void {
		$profile = EVchargerCatalog::profile($this->getConfiguration('model'));
		if ($profile === null) {
			return;
		}
		$catalog = EVchargerCatalog::commands();
		$offered = EVchargerCatalog::offered($profile, $this->getConfiguration('unverified') == 1);
		$cmds = array();
		foreach ($this->getCmd() as $cmd) {
			$cmds[$cmd->getLogicalId()] = $cmds[$cmd->getLogicalId()] ?? $cmd;
		}
		foreach (array_diff(array_keys($catalog), $offered) as $logicalId) {
			if (isset($cmds[$logicalId])) {
				$cmds[$logicalId]->retire();
				unset($cmds[$logicalId]);
			}
		}
		foreach ($offered as $logicalId) {
			if (!isset($cmds[$logicalId])) {
				$cmds[$logicalId] = EVchargerCmd::fromCatalog($catalog[$logicalId], $this);
			}
			$cmds[$logicalId]->bringBack();
			if ($logicalId === 'set_current_limit') {
				$cmds[$logicalId]->setBounds($profile['limit']);
			}
			$cmds[$logicalId]->save();
		}
		foreach ($offered as $logicalId) { // once all have an id
			$info = $cmds[$catalog[$logicalId]['linkedInfo'] ?? ''] ?? null;
			if ($info !== null && $cmds[$logicalId]->getValue() == '') {
				$cmds[$logicalId]->setValue($info->getId());
				$cmds[$logicalId]->save();
			}
		}
	}

	/** A name that no other command of this equipment has, as the database demands. */
	public function freeName(string $name): string {
		return self::unusedName($name, array_map(function ($cmd) {
			return $cmd->getName();
		}, $this->getCmd()));
	}

	private static function unusedName(string $name, array $names): string {
		$taken = array_map('mb_strtolower', $names);
		for ($free = $name, $i = 2; in_array(mb_strtolower($free), $taken); $i++) {
			$free = $name . ' ' . $i;
		}
		return $free;
	}
}

class EVchargerCmd extends cmd {
	/** A new command of this equipment, not yet saved. What is set here is the user's from then on. */
	public static function fromCatalog(array $entry, EVcharger $eqLogic): EVchargerCmd {
		$language = translate::getLanguage();
		$name = str_replace("'", '’', EVchargerCatalog::text($entry['name'], $language)); // the core drops the straight one
		$cmd = new EVchargerCmd();
		$cmd->setEqLogic_id($eqLogic->getId());
		$cmd->setLogicalId($entry['logicalId']);
		$cmd->setType($entry['type']);
		$cmd->setSubType($entry['subType']);
		$cmd->setName($eqLogic->freeName($name));
		$cmd->setOrder($entry['order']);
		$cmd->setUnite($entry['unit']);
		$cmd->setGeneric_type($entry['genericType']);
		$cmd->setIsVisible((int) $entry['visible']);
		$cmd->setIsHistorized((int) $entry['historized']);
		$cmd->setTemplate('dashboard', $entry['template']['dashboard']);
		$cmd->setTemplate('mobile', $entry['template']['mobile']);
		if ($entry['subType'] === 'other') {
			$cmd->setDisplay('icon', '<i class="' . $entry['icon'] . '"></i>'); // on a button; all else shows its name
		}
		if ($entry['type'] === 'info' && $entry['unit'] !== '') { // a measure: on a line of its own, to the mA and the Wh
			$cmd->setConfiguration('historizeRound', '3');
			$cmd->setDisplay('forceReturnLineBefore', '1');
			$cmd->setDisplay('forceReturnLineAfter', '1');
		}
		$cmd->setConfiguration('minValue', $entry['min'] ?? '');
		$cmd->setConfiguration('maxValue', $entry['max'] ?? '');
		if ($entry['subType'] === 'select') {
			$cmd->setConfiguration('listValue', implode(';', array_map(function ($value) use ($language) {
				return $value['value'] . '|' . EVchargerCatalog::text($value['text'], $language);
			}, $entry['values'])));
		}
		return $cmd;
	}

	/** Bounds of the slider, from the model. Those that the user has tightened stay until the model's own change. */
	public function setBounds(array $limit): void {
		$bounds = $limit['min'] . '-' . $limit['max'] . '-' . $limit['step'];
		if ($this->getConfiguration('modelBounds') === $bounds) {
			return;
		}
		$this->setConfiguration('modelBounds', $bounds);
		$this->setConfiguration('minValue', $limit['min']);
		$this->setConfiguration('maxValue', $limit['max']);
		$parameters = $this->getDisplay('parameters');
		$step = max(1, $limit['step']); // a slider of tenths of an ampere cannot be aimed with; a scenario may send them
		$this->setDisplay('parameters', array('step' => (string) $step) + (is_array($parameters) ? $parameters : array()));
	}

	/**
	 * The model does not offer this command (any more). Gone when nothing is lost by it; kept, hidden and out of order,
	 * when it has a history or something outside of the equipment uses it, so that no scenario breaks without a word and
	 * all is as before when the user comes back to the first model.
	 */
	public function retire(): void {
		if (!$this->isMissed()) {
			$this->remove();
		} elseif (!$this->isRetired()) {
			$this->setConfiguration('retired', $this->getIsVisible() ? 'visible' : 'hidden');
			$this->setIsVisible(0);
			$this->save();
		}
	}

	public function bringBack(): void {
		if ($this->isRetired()) {
			$this->setIsVisible($this->getConfiguration('retired') === 'visible' ? 1 : 0);
			$this->setConfiguration('retired', null);
		}
	}

	public function isRetired(): bool {
		return $this->getConfiguration('retired') !== '';
	}

	/** Commands that the model offers cannot be removed: they would be back at the next save. They can be hidden. */
	public function dontRemoveCmd() {
		return isset(EVchargerCatalog::commands()[$this->getLogicalId()]) && !$this->isRetired();
	}

	public function execute($_options = array()) {
		if ($this->getType() !== 'action') {
			return;
		}
		$eqLogic = $this->getEqLogic();
		if ($this->isRetired()) {
			throw new Exception(sprintf(__('%s : ce modèle de chargeur n\'a pas cette commande', __FILE__), $this->getHumanName()));
		}
		$message = array('action' => 'execute', 'charger' => (int) $eqLogic->getId(), 'logicalId' => $this->getLogicalId());
		if ($this->getLogicalId() === 'refresh') {
			$message = array('action' => 'refresh', 'charger' => (int) $eqLogic->getId());
		} elseif (in_array($this->getSubType(), array('slider', 'select'))) {
			$value = $_options[$this->getSubType()] ?? '';
			if (!is_numeric($value)) {
				throw new Exception(sprintf(__('%s : il manque une valeur numérique', __FILE__), $this->getHumanName()));
			}
			$message['value'] = $value + 0;
		}
		EVchargerDaemon::ask($message);
	}

	/** Whether something would be lost with this command: a history, or a use outside of its equipment. */
	private function isMissed(): bool {
		$sql = 'SELECT 1 FROM `%s` WHERE cmd_id=:cmd_id LIMIT 1';
		foreach (array('history', 'historyArch') as $table) {
			if (DB::Prepare(sprintf($sql, $table), array('cmd_id' => $this->getId()), DB::FETCH_TYPE_ROW)) {
				return true;
			}
		}
		$uses = $this->getUsedBy();
		$uses['cmd'] = array_filter($uses['cmd'], function ($cmd) {
			return $cmd->getEqLogic_id() != $this->getEqLogic_id();
		});
		return array_filter($uses) !== array();
	}
}
