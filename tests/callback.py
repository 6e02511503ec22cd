"""A Jeedom callback that records what the daemon POSTs, and misbehaves on demand."""

import json
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Post:
    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    taken: bool  # answered with HTTP 200
    at: float  # time.monotonic()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is what some tests are about."""


class Callback:
    """`with Callback() as jeedom:` listens on a free port of 127.0.0.1.

    `status`, `page`, `reset` and `hold` say how the next POSTs are answered; `down()` and `up()` are a Jeedom that goes
    and comes back on the same port.
    """

    def __init__(self) -> None:
        self.posts: list[Post] = []
        self.status = 200
        self.page = b""
        self.location: str | None = None
        self.reset = False  # cut the connection instead of answering
        self.raw: bytes | None = None  # these bytes instead of an HTTP answer
        self.hold = threading.Event()  # cleared: a POST is recorded, but answered only once it is set
        self.hold.set()
        self._changed = threading.Condition()
        self._server: ThreadingHTTPServer | None = None
        self.port = 0
        self.up()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/plugins/EVcharger/core/php/jeeEVcharger.php"

    def up(self) -> None:
        callback = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                callback._receive(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = _Server(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def down(self) -> None:
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def __enter__(self) -> "Callback":
        return self

    def __exit__(self, *_: object) -> None:
        self.hold.set()
        self.down()

    def _receive(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers["Content-Length"]))
        status, page, reset, raw = self.status, self.page, self.reset, self.raw
        taken = status == 200 and not reset and raw is None
        with self._changed:
            self.posts.append(Post(request.path, dict(request.headers), json.loads(body), taken, time.monotonic()))
            self._changed.notify_all()
        self.hold.wait()
        if reset:
            request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            request.connection.close()
        elif raw is not None:
            request.wfile.write(raw)
        else:
            request.send_response(status)
            if self.location:
                request.send_header("Location", self.location)
            request.send_header("Content-Length", str(len(page)))
            request.end_headers()
            request.wfile.write(page)

    # What arrived

    @property
    def taken(self) -> list[Post]:
        """The POSTs with data that got HTTP 200."""
        return [post for post in list(self.posts) if post.taken and "chargers" in post.body]

    def values(self, charger: int | str) -> dict[str, Any]:
        """What Jeedom shows of a charger: the last value of each command."""
        shown: dict[str, Any] = {}
        for post in self.taken:
            shown.update(post.body["chargers"].get(str(charger), {}))
        return shown

    def history(self, charger: int | str, command: str) -> list[Any]:
        """The values of one command in the order in which they arrived."""
        chargers = (post.body["chargers"].get(str(charger), {}) for post in self.taken)
        return [values[command] for values in chargers if command in values]

    def events(self) -> list[Any]:
        return [event for post in self.taken for event in post.body["events"]]

    def wait_for(self, condition: Callable[[], object], seconds: float = 10.0) -> None:
        """Wait until `condition` holds of what arrived; AssertionError after `seconds`."""
        with self._changed:
            if not self._changed.wait_for(condition, seconds):
                last = [post.body for post in self.posts[-10:]]
                raise AssertionError(f"not seen within {seconds} s; the last that arrived: {last}")
