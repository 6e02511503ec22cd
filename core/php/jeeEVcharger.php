<?php
/* Where the daemon posts what its chargers say: {"apikey": K, "chargers": {"12": {"state": 3}}, "events": […]}, or
 * {"apikey": K, "test": 1}. Whatever else comes is refused, at the least cost. */

const MAX_BODY = 1048576; // bytes; all values of 1000 chargers take less

function refuse(int $code, string $reason): void {
	http_response_code($code);
	header('Content-Type: text/plain; charset=utf-8');
	exit($reason . "\n");
}

if ($_SERVER['REQUEST_METHOD'] !== 'POST') {
	header('Allow: POST');
	refuse(405, 'POST only');
}
$body = (int) ($_SERVER['CONTENT_LENGTH'] ?? 0) > MAX_BODY ? false : file_get_contents('php://input', false, null, 0, MAX_BODY + 1);
if ($body === false || strlen($body) > MAX_BODY) {
	refuse(413, 'At most ' . MAX_BODY . ' bytes');
}
$message = json_decode($body, true, 16);
if (!is_array($message)) {
	refuse(400, 'A JSON object is expected');
}
$key = $message['apikey'] ?? null;
if (!is_string($key) || $key === '') {
	refuse(401, 'The API key is missing');
}

require_once __DIR__ . '/EVcharger.inc.php';

// apiAccess() minds the mode that the user has set, but lets in every user's own key too.
if (!jeedom::apiAccess($key, 'EVcharger') || !hash_equals(jeedom::getApiKey('EVcharger'), $key)) {
	refuse(403, 'This API key is not allowed');
}
foreach (array('chargers', 'events') as $part) {
	if (isset($message[$part]) && !is_array($message[$part])) {
		refuse(400, $part . ': wrong type');
	}
}
EVcharger::receive($message);
