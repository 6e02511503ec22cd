"""The daemon's way out: values and events, POSTed as JSON to the plugin's callback in Jeedom.

A bus thread hands its values over and goes on at once; one thread of our own sends what changed, merged, at most once
per cycle. While Jeedom is away the latest value of each command is kept. One POST is in flight at a time, so no older
value can overtake a newer one.
"""

import ipaddress
import json
import logging
import math
import threading
import time
import urllib.parse
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import requests.adapters

Values = Mapping[str, bool | int | float | str]  # by logicalId

CONNECT_SECONDS = 3.05  # a little more than the 3 s after which TCP sends a lost SYN again
# A callback slowed down to 30 s must still succeed: given up earlier, it would go on inside Jeedom and its old values
# could overtake those of the next POST.
READ_SECONDS = 60.0
FIRST_RETRY_SECONDS = 1.0  # doubled by each further failure
LAST_RETRY_SECONDS = 30.0
MAX_EVENTS = 1000  # kept while Jeedom is away
MAX_VALUES = 500  # per POST, rounded up to whole chargers: Jeedom takes milliseconds for each
MAX_RESPONSE = 65536  # bytes read of the callback's answer, of which only the status counts

log = logging.getLogger(__name__)


class Publisher:
    """Sends to the callback URL what changed since the last POST that got HTTP 200.

    Every method may be called from any thread; `publish`, `event` and `forget` never wait for Jeedom. A POST whose fate
    is unknown is sent again, so Jeedom may get an event twice. The key travels in the body only.
    """

    def __init__(self, callback: str, apikey: str, cycle: float = 0.5) -> None:
        if urllib.parse.urlsplit(callback).scheme not in ("http", "https"):
            raise ValueError("the callback must be an http or https URL")
        self._callback = callback
        self._apikey = apikey
        self._cycle = cycle
        self._adapter: requests.adapters.HTTPAdapter | None = None
        self._thread: threading.Thread | None = None
        self._away_since: float | None = None  # on time.monotonic(); written by the sending thread only
        self._changed = threading.Condition()  # guards all that follows
        self._latest: dict[str, dict[str, int | float | str]] = {}
        self._sent: dict[str, dict[str, int | float | str]] = {}  # what Jeedom is known to have
        self._renewed: set[str] = set()  # chargers to send whole, whatever the POST in flight brings
        self._dirty: dict[str, None] = {}  # chargers whose latest values may differ from the sent ones, in order
        self._events: list[str] = []  # as JSON
        self._events_lost = False
        self._stopping = False

    def start(self) -> None:
        """Begin to send: first the test that shows whether Jeedom is there."""
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
        self._thread.start()

    def stop(self, timeout: float = 1.0) -> None:
        """Send what is left, without retrying, and end the thread.

        After `timeout` seconds a POST still in flight is left to its fate: it does not keep the process alive.
        """
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(timeout)

    def publish(self, charger_id: int | str, values: Values, *, whole: bool = False) -> None:
        """Note values of a charger; those that Jeedom lacks will be sent. `whole`: all that are known of it."""
        charger = str(charger_id)
        fresh = _sendable(values)
        with self._changed:
            latest = self._latest.setdefault(charger, {})
            if whole:
                self._sent.pop(charger, None)
                self._renewed.add(charger)
            elif all(latest.get(name) == value for name, value in fresh.items()):
                return
            latest.update(fresh)
            self._dirty[charger] = None
            self._changed.notify()

    def event(self, event: Mapping[str, object]) -> None:
        """Queue an event; events arrive in order. Raises TypeError or ValueError when it does not go into JSON."""
        text = _json(event)
        with self._changed:
            self._events.append(text)
            self._drop_oldest_events()
            self._changed.notify()

    def forget(self, charger_id: int | str) -> None:
        """Send nothing more of this charger."""
        charger = str(charger_id)
        with self._changed:
            self._latest.pop(charger, None)
            self._sent.pop(charger, None)
            self._renewed.discard(charger)
            self._dirty.pop(charger, None)

    def test(self) -> bool:
        """Whether Jeedom answers and takes our key. Waits for the answer; `start` does it by itself."""
        return self._deliver(_json({"apikey": self._apikey, "test": 1}))

    # The thread

    def _run(self) -> None:
        failures = 0 if self.test() else 1
        while self._wait_for_work(_retry_seconds(failures) if failures else self._cycle):
            failures = 0 if self._send_changes() else failures + 1
        while (self._dirty or self._events) and self._send_changes():
            pass

    def _wait_for_work(self, pause: float) -> bool:
        """Sleep for `pause` and then until there is something to send. False: stop."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopping, pause)
            self._changed.wait_for(lambda: self._stopping or self._dirty or self._events or self._away_since)
            return not self._stopping

    def _send_changes(self) -> bool:
        """One POST of what changed; False when Jeedom did not take it. With nothing to send: is Jeedom back?"""
        values, events = self._take()
        if not values and not events:
            return self._away_since is None or self.test()
        # Events are JSON already, and the rest is written here, so that nothing can change while it is sent.
        body = f'{{"apikey": {_json(self._apikey)}, "chargers": {_json(values)}, "events": [{", ".join(events)}]}}'
        delivered = self._deliver(body)
        with self._changed:
            if delivered:
                for charger in values.keys() & (self._latest.keys() - self._renewed):
                    self._sent.setdefault(charger, {}).update(values[charger])
                self._events_lost = False
            else:
                # Jeedom may have taken these values or not, or restart and forget others: it gets all of them again.
                self._sent.clear()
                self._dirty = dict.fromkeys(self._latest)
                self._events = events + self._events
                self._drop_oldest_events()
        return delivered

    def _take(self) -> tuple[dict[str, dict[str, int | float | str]], list[str]]:
        """What Jeedom does not have: values by charger, and events."""
        values: dict[str, dict[str, int | float | str]] = {}
        count = 0
        with self._changed:
            while self._dirty and count < MAX_VALUES:
                charger = next(iter(self._dirty))
                del self._dirty[charger]
                self._renewed.discard(charger)
                sent = self._sent.get(charger, {})
                changes = {name: value for name, value in self._latest[charger].items() if sent.get(name) != value}
                if changes:
                    values[charger] = changes
                    count += len(changes)
            events, self._events = self._events, []
        return values, events

    def _drop_oldest_events(self) -> None:
        if len(self._events) <= MAX_EVENTS:
            return
        del self._events[:-MAX_EVENTS]
        if not self._events_lost:
            log.warning("Plus de %d événements attendent Jeedom : les plus anciens sont perdus", MAX_EVENTS)
        self._events_lost = True

    # Delivery

    def _deliver(self, body: str) -> bool:
        """POST `body`; one log line when Jeedom goes away and one when it is back."""
        # A charger may send half a surrogate pair as text; PHP would refuse the whole body for it.
        failure = self._post(body.encode("utf-8", "replace"))
        if failure is None:
            if self._away_since is not None:
                log.warning("Envoi vers Jeedom rétabli après %.0f s", time.monotonic() - self._away_since)
            self._away_since = None
        elif self._away_since is None:
            log.warning("Envoi vers Jeedom impossible (%s) : les dernières valeurs partiront dès que possible", failure)
            self._away_since = time.monotonic()
        else:
            log.debug("Envoi vers Jeedom toujours impossible (%s)", failure)
        return failure is None

    def _post(self, body: bytes) -> str | None:
        """None when Jeedom took `body`, else the reason why not, in French."""
        # Imported here, on the sending thread: it takes 100 ms of the daemon's start, and more on a Raspberry Pi.
        import requests.adapters
        import urllib3

        if self._adapter is None:
            logging.getLogger("urllib3").setLevel(logging.WARNING)  # Jeedom's own debug level would log every request
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
            self._adapter = requests.adapters.HTTPAdapter()
        try:
            # The adapter sends this request and nothing else: it follows no redirect, it uses no proxy and no netrc.
            # Each POST opens a connection: one kept would be closed by Apache after 5 s, maybe while we write to it.
            headers = {"Content-Type": "application/json", "Connection": "close"}
            request = requests.Request("POST", self._callback, data=body, headers=headers).prepare()
            response = self._adapter.send(
                request,
                stream=True,
                timeout=(CONNECT_SECONDS, READ_SECONDS),
                verify=not _is_loopback(self._callback),
            )
            with response:
                response.raw.read(MAX_RESPONSE)  # hanging up early would abort a PHP script that prints
        except requests.exceptions.SSLError:
            return "certificat refusé"
        except requests.Timeout:
            return "pas de réponse à temps"
        except (OSError, urllib3.exceptions.HTTPError, ValueError) as error:
            log.debug("POST vers Jeedom : %s", type(error).__name__)
            return "connexion refusée ou coupée"
        return None if response.status_code == requests.codes.ok else f"HTTP {response.status_code}"


def _retry_seconds(failures: int) -> float:
    """1, 2, 4… up to 30 s after the first, second, third… failure in a row."""
    return min(FIRST_RETRY_SECONDS * 2.0 ** min(failures - 1, 10), LAST_RETRY_SECONDS)


def _is_loopback(url: str) -> bool:
    """Whether `url` stays on this machine: nobody sits in between, and no certificate is valid for 127.0.0.1.

    So https is not verified there. Elsewhere (Jeedom in Docker gives its internal address) a certificate that does not
    verify is refused, for the key would go to anyone.
    """
    host = urllib.parse.urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _sendable(values: Values) -> dict[str, int | float | str]:
    """Booleans as 0 and 1, as Jeedom's binary commands want them; NaN and infinity, which JSON lacks, left out."""
    result: dict[str, int | float | str] = {}
    for name, value in values.items():
        if isinstance(value, float) and not math.isfinite(value):
            log.debug("%s n'est pas envoyé : %s", name, value)
        else:
            result[name] = int(value) if isinstance(value, bool) else value
    return result


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
