"""The demo's web server: takes the daemon's callback as Jeedom would, and shows it with the plugin's own widgets.

For this machine only: bound to 127.0.0.1, no other name accepted in Host or Origin (a foreign page cannot reach it by
rebinding its name), and what acts needs the token that only the page itself knows.
"""

import hmac
import json
import mimetypes
import queue
import re
import secrets
import threading
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from . import widgets

HERE = Path(__file__).resolve().parent
IMAGES = widgets.PLUGIN_DIR / "desktop/img"
IMAGE_PATH = re.compile(r"/plugins/EVcharger/desktop/img/(\w+\.png)")
PAGE_FILES = ("demo.css", "demo.js")
VERSIONS = ("dashboard", "mobile")
LANGUAGES = ("fr_FR", "en_US")
PARAMETERS = ("vehicle", "picture", "text")  # display.parameters of EVcharger::state
PLAYS = ("plug", "charge", "finish", "fault", "unplug")
MAX_BODY = 1 << 20  # bytes; the daemon's largest POST is far below
HEARTBEAT_SECONDS = 15.0  # without any byte to send, a closed browser would not be noticed
# Widgets carry their script inside them, as the core wants it.
CONTENT_POLICY = "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'"

Value = bool | int | float | str | None
Values = dict[str, dict[str, Value]]  # by charger id (a string, as in the callback), by logicalId


class Limit(NamedTuple):
    """What set_current_limit takes, in A."""

    min: float
    max: float
    step: float


@dataclass(frozen=True, slots=True)
class Charger:
    """A charger to show. `commands`: the logicalIds that its model offers."""

    id: int
    name: str
    model: str
    commands: Sequence[str]
    limit: Limit


class DemoServer:
    """`with DemoServer(...) as demo:` serves `demo.url` until the end of the block.

    `act(charger id, logicalId, value)` executes an action and returns {"ok": True} or {"ok": False, "error": "..."};
    `play(charger id, what)` makes the car do one of PLAYS. Both are called from the threads of the requests.
    """

    def __init__(
        self,
        port: int,
        chargers: Sequence[Charger],
        act: Callable[[int, str, Value], Mapping[str, object]],
        play: Callable[[int, str], None],
        apikey: str,
    ) -> None:
        self.chargers = {charger.id: charger for charger in chargers}
        self.act = act
        self.play = play
        self.apikey = apikey
        self.token = secrets.token_urlsafe()
        self._lock = threading.Lock()  # guards the two that follow
        self._values: Values = {}
        self._browsers: list[queue.SimpleQueue[Values | None]] = []
        demo = self

        class Handler(_Handler):
            @property
            def demo(self) -> DemoServer:
                return demo

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="demo", daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def callback(self) -> str:
        """Where the daemon has to POST."""
        return f"{self.url}callback"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        with self._lock:
            for browser in self._browsers:
                browser.put(None)
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def __enter__(self) -> "DemoServer":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def receive(self, body: Mapping[str, Any]) -> None:
        """Take what the daemon POSTs: keep the values, tell the browsers. A scan's events have no place here."""
        chargers: Values = body.get("chargers", {})
        with self._lock:
            for charger, values in chargers.items():
                self._values.setdefault(charger, {}).update(values)
            for browser in self._browsers:
                browser.put(chargers)

    def values(self, charger: int) -> dict[str, Value]:
        with self._lock:
            return dict(self._values.get(str(charger), {}))

    def subscribe(self) -> queue.SimpleQueue[Values | None]:
        """A queue of what the browser has to show: first all values, then every change; None at the end."""
        browser: queue.SimpleQueue[Values | None] = queue.SimpleQueue()
        with self._lock:
            browser.put({charger: dict(values) for charger, values in self._values.items()})
            self._browsers.append(browser)
        return browser

    def unsubscribe(self, browser: queue.SimpleQueue[Values | None]) -> None:
        with self._lock:
            self._browsers.remove(browser)

    def tiles(self, version: str, language: str, parameters: Mapping[str, str]) -> dict[str, Any]:
        """What the page draws: the chargers and their commands, in the catalogue's order, in one language."""
        sections = widgets.catalogue()["sections"]
        return {
            "sections": {section: names[language] for section, names in sections.items()},
            "chargers": [
                {
                    "id": charger.id,
                    "name": charger.name,
                    "model": charger.model,
                    "commands": self._commands(charger, version, language, parameters),
                }
                for charger in self.chargers.values()
            ],
        }

    def _commands(
        self, charger: Charger, version: str, language: str, parameters: Mapping[str, str]
    ) -> list[dict[str, Any]]:
        entries = sorted(widgets.catalogue()["commands"], key=lambda entry: entry["order"])
        offered = [entry for entry in entries if entry["logicalId"] in charger.commands]
        infos = {entry["logicalId"]: entry for entry in offered if entry["type"] == "info"}
        return [self._command(charger, entry, infos, version, language, parameters) for entry in offered]

    def _command(
        self,
        charger: Charger,
        entry: Mapping[str, Any],
        infos: Mapping[str, Mapping[str, Any]],
        version: str,
        language: str,
        parameters: Mapping[str, str],
    ) -> dict[str, Any]:
        command = {
            "id": charger.id * 1000 + entry["order"],
            "logicalId": entry["logicalId"],
            "type": entry["type"],
            "subType": entry["subType"],
            "section": entry["section"],
            "name": entry["name"][language],
            "description": entry["description"][language],
            "unit": entry["unit"],
            "linkedInfo": entry.get("linkedInfo"),
            "values": [{"value": value["value"], "text": value["text"][language]} for value in entry.get("values", [])],
        }
        if entry["logicalId"] == "set_current_limit":
            command |= charger.limit._asdict()
        widget = entry["template"][version]
        if widget in widgets.TEMPLATE_FILES:
            shown = infos.get(entry.get("linkedInfo", entry["logicalId"]))
            tags = _tags(command, version, (shown or entry)["name"][language])
            if shown:
                tags["state"] = tags["value"] = self.values(charger.id).get(shown["logicalId"], 0)
            command["html"] = widgets.render(widget, version, language, {**tags, **parameters})
        return command


def _tags(command: Mapping[str, Any], version: str, value_name: str) -> dict[str, object]:
    """The tags that the core replaces in every widget and that ours use."""
    return {
        "id": command["id"],
        "uid": f"cmd{command['id']}__{secrets.randbelow(1 << 31)}__",
        "eqLogic_id": command["id"] // 1000,
        "logicalId": command["logicalId"],
        "name": command["name"],
        "name_display": command["name"],
        "valueName": value_name,
        "hide_name": "",
        "history": "",
        "version": version,
        "state": "",
        "unite": command["unit"],
        "raw_unite": command["unit"],
        "valueDate": "",
        "collectDate": "",
        "alertLevel": "none",
    }


class _Error(Exception):
    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status.phrase)
        self.status = status


class _Handler(BaseHTTPRequestHandler):
    """One request. Whatever is wrong with it is raised as _Error and answered in one place."""

    protocol_version = "HTTP/1.1"
    timeout = 60.0  # s that a client may take to send its request

    @property
    def demo(self) -> DemoServer:
        raise NotImplementedError

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the demo's terminal belongs to the daemon."""

    def _answer(self, handle: Callable[[urllib.parse.SplitResult], None]) -> None:
        try:
            self._check_names()
            handle(urllib.parse.urlsplit(self.path))
        except _Error as error:
            self.close_connection = True  # the body may not have been read
            self._send(str(error).encode(), "text/plain", error.status)
        except OSError:  # the browser has gone
            self.close_connection = True

    def _check_names(self) -> None:
        ours = {f"{name}:{self.demo.port}" for name in ("127.0.0.1", "localhost")}
        origin = self.headers.get("Origin")
        if self.headers.get("Host") not in ours or (origin and origin.removeprefix("http://") not in ours):
            raise _Error(HTTPStatus.FORBIDDEN)

    def _get(self, url: urllib.parse.SplitResult) -> None:
        image = IMAGE_PATH.fullmatch(url.path)
        if url.path == "/":
            page = (HERE / "index.html").read_text(encoding="utf-8").replace("#token#", self.demo.token)
            self._send(page.encode(), "text/html; charset=utf-8")
        elif url.path.removeprefix("/") in PAGE_FILES:
            self._send_file(HERE / url.path.removeprefix("/"))
        elif image:
            self._send_file(IMAGES / image[1])
        elif url.path == "/tiles":
            self._send_tiles(dict(urllib.parse.parse_qsl(url.query)))
        elif url.path == "/events":
            self._send_events()
        else:
            raise _Error(HTTPStatus.NOT_FOUND)

    def _post(self, url: urllib.parse.SplitResult) -> None:
        body = self._body()
        if url.path == "/callback":
            if not hmac.compare_digest(str(body.get("apikey")).encode(), self.demo.apikey.encode()):
                raise _Error(HTTPStatus.FORBIDDEN)
            self.demo.receive(body)
            self._send_json({"ok": True})
        elif url.path in ("/action", "/play"):
            if not hmac.compare_digest(self.headers.get("X-Token", "").encode(), self.demo.token.encode()):
                raise _Error(HTTPStatus.FORBIDDEN)
            self._send_json(self._act(body) if url.path == "/action" else self._play(body))
        else:
            raise _Error(HTTPStatus.NOT_FOUND)

    def _charger(self, body: Mapping[str, Any]) -> Charger:
        charger = body.get("charger")
        if not isinstance(charger, int) or charger not in self.demo.chargers:
            raise _Error(HTTPStatus.BAD_REQUEST)
        return self.demo.chargers[charger]

    def _act(self, body: Mapping[str, Any]) -> Mapping[str, object]:
        charger = self._charger(body)
        if body.get("logicalId") not in charger.commands:
            raise _Error(HTTPStatus.BAD_REQUEST)
        return self.demo.act(charger.id, body["logicalId"], body.get("value"))

    def _play(self, body: Mapping[str, Any]) -> Mapping[str, object]:
        charger = self._charger(body)
        if body.get("what") not in PLAYS:
            raise _Error(HTTPStatus.BAD_REQUEST)
        self.demo.play(charger.id, body["what"])
        return {"ok": True}

    def _body(self) -> dict[str, Any]:
        try:
            length = int(self.headers.get("Content-Length", ""))
            if not 0 <= length <= MAX_BODY:
                raise ValueError(length)
            body = json.loads(self.rfile.read(length))
        except ValueError:
            raise _Error(HTTPStatus.BAD_REQUEST) from None
        if not isinstance(body, dict):
            raise _Error(HTTPStatus.BAD_REQUEST)
        return body

    def _send_tiles(self, query: Mapping[str, str]) -> None:
        version, language = query.get("version", VERSIONS[0]), query.get("language", LANGUAGES[0])
        parameters = {name: query[name] for name in PARAMETERS if name in query}
        if version not in VERSIONS or language not in LANGUAGES or not all(map(str.isalnum, parameters.values())):
            raise _Error(HTTPStatus.BAD_REQUEST)
        self._send_json(self.demo.tiles(version, language, parameters))

    def _send_events(self) -> None:
        """Server-sent events until either side goes away."""
        self.close_connection = True
        self._send_headers("text/event-stream")
        browser = self.demo.subscribe()
        try:
            while True:
                try:
                    update = browser.get(timeout=HEARTBEAT_SECONDS)
                except queue.Empty:
                    self.wfile.write(b":\n\n")
                    continue
                if update is None:
                    return
                self.wfile.write(f"data: {json.dumps(update)}\n\n".encode())
        finally:
            self.demo.unsubscribe(browser)

    def _send_file(self, path: Path) -> None:
        if not path.is_file():
            raise _Error(HTTPStatus.NOT_FOUND)
        self._send(path.read_bytes(), mimetypes.guess_type(path.name)[0] or "application/octet-stream")

    def _send_json(self, document: Mapping[str, object]) -> None:
        self._send(json.dumps(document).encode(), "application/json")

    def _send(self, body: bytes, kind: str, status: HTTPStatus = HTTPStatus.OK) -> None:
        self._send_headers(kind, status, len(body))
        self.wfile.write(body)

    def _send_headers(self, kind: str, status: HTTPStatus = HTTPStatus.OK, length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Security-Policy", CONTENT_POLICY)
        if length is not None:
            self.send_header("Content-Length", str(length))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
