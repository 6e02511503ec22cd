"""Jeedom's way in: one JSON message per connection on 127.0.0.1, answered by one JSON line.

Whoever can open a socket on this machine can talk to this port, so nothing a client does may cost the others anything:
size, depth, time and number of connections are bounded, and a message reaches the daemon only with the right API key.

One thread serves every connection. It never waits for an action: an answer that takes time is a `Future`, and the
connection sleeps until that is done.
"""

import contextlib
import enum
import hmac
import json
import logging
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field

Answer = dict[str, object]
Handler = Callable[[Mapping[str, object]], "Answer | Future[Answer]"]

MAX_MESSAGE = 256 * 1024  # bytes; a configuration of 240 chargers takes about 60 KiB
MAX_RECEIVED = 16 * MAX_MESSAGE  # bytes of unfinished messages, all connections together
MAX_DEPTH = 16  # levels of JSON, scalars counted; a configuration has 5
MAX_CONNECTIONS = 512  # half of the 1024 descriptors that Linux grants a process by default
RECEIVE_SECONDS = 5.0  # for a client to send its whole message
ANSWER_SECONDS = 60.0  # for the daemon to know its answer
SEND_SECONDS = 5.0  # for a client to take its answer
LINGER_SECONDS = 2.0  # for a client to hang up once it has its answer
ACCEPT_PAUSE_SECONDS = 0.05  # when the process has no descriptor left
STOP_SECONDS = 1.0  # for the thread to end, which takes milliseconds unless the handler blocks
LOG_WINDOW_SECONDS = 60.0
LOG_LINES = 10  # refusals written per window
CHUNK = 65536  # bytes taken from a connection before its neighbours get their turn

INTERNAL_ERROR = "Erreur interne : voir le journal du démon."

log = logging.getLogger(__name__)


class _Refused(Exception):
    """A message that is not handed on. Its text, in French, is what the client is told."""


class _Phase(enum.Enum):
    RECEIVING = enum.auto()
    WAITING = enum.auto()  # for the daemon's answer; not watched by the selector
    SENDING = enum.auto()
    LINGERING = enum.auto()  # answered; to close with bytes unread would reset the connection and may lose the answer


@dataclass(eq=False, slots=True)
class _Connection:
    sock: socket.socket
    deadline: float  # of the present phase, on time.monotonic()
    phase: _Phase = _Phase.RECEIVING
    received: bytearray = field(default_factory=bytearray)
    unsent: bytes = b""
    ended: bool = False  # the client will send nothing more


class Listener:
    """Listens on 127.0.0.1 and gives each message whose key is right to `handle`.

    `port` 0 takes any free port. `handle` is called on the listener's thread with the message without its key; it must
    not block, and returns the answer, `{"ok": true, …}` or `{"ok": false, "error": "…"}`, or a `Future` of it. A future
    that takes longer than ANSWER_SECONDS is not cancelled: the client is told that the action may still happen.
    """

    def __init__(self, port: int, apikey: str, handle: Handler) -> None:
        if not apikey:
            raise ValueError("an empty API key would let everyone in")
        self._port = port
        self._apikey = _key_bytes(apikey)
        self._handle = handle
        self._selector = selectors.DefaultSelector()
        self._connections: set[_Connection] = set()
        self._finished: deque[tuple[_Connection, Future[Answer]]] = deque()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._log_window_began = float("-inf")
        self._logged = 0

    @property
    def port(self) -> int:
        """The port asked for; once started, the real one."""
        return self._port

    def start(self) -> None:
        """Open the port and serve it. Raises OSError when another process listens on it."""
        # create_server sets SO_REUSEADDR: the connections of a killed daemon do not bar the port, a living one does.
        self._server = socket.create_server(("127.0.0.1", self._port), backlog=MAX_CONNECTIONS)
        self._server.setblocking(False)
        self._port = self._server.getsockname()[1]
        self._wake_receiver, self._wake_sender = socket.socketpair()
        self._wake_receiver.setblocking(False)
        self._wake_sender.setblocking(False)
        self._selector.register(self._server, selectors.EVENT_READ)
        self._selector.register(self._wake_receiver, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name="listener", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close the port, tell those who wait for an answer, and end the thread."""
        if self._thread is None:
            return
        self._stopping.set()
        self._wake()
        self._thread.join(STOP_SECONDS)
        self._thread = None

    # The thread

    def _run(self) -> None:
        while not self._stopping.is_set():
            for key, _ in self._selector.select(self._seconds_to_next_deadline()):
                if key.fileobj is self._server:
                    self._accept()
                elif key.fileobj is self._wake_receiver:
                    self._wake_receiver.recv(CHUNK)
                else:
                    self._attend(key.data)
            self._answer_finished()
            self._end_overdue()
        self._close_all()

    def _seconds_to_next_deadline(self) -> float | None:
        if not self._connections:
            return None
        return max(0.0, min(connection.deadline for connection in self._connections) - time.monotonic())

    def _accept(self) -> None:
        try:
            sock, _ = self._server.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return  # the client left before we came
        except OSError as error:
            self._log_limited(logging.ERROR, f"Connexion impossible : {error}")
            self._stopping.wait(ACCEPT_PAUSE_SECONDS)
            return
        sock.setblocking(False)
        if len(self._connections) >= MAX_CONNECTIONS:
            self._turn_away(sock)
            return
        connection = _Connection(sock, time.monotonic() + RECEIVE_SECONDS)
        self._connections.add(connection)
        self._selector.register(sock, selectors.EVENT_READ, connection)

    def _turn_away(self, sock: socket.socket) -> None:
        reason = "Trop de connexions en même temps."
        self._log_refusal(reason)
        with sock, contextlib.suppress(OSError):
            sock.send(_line(_failure(reason)))
            sock.shutdown(socket.SHUT_WR)
            sock.recv(CHUNK)  # a message left unread would reset the connection, see _Phase.LINGERING

    def _attend(self, connection: _Connection) -> None:
        if connection not in self._connections:
            return  # closed since select() named it
        if connection.phase is _Phase.SENDING:
            self._send(connection)
            return
        try:
            data = connection.sock.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            self._close(connection)
            return
        if connection.phase is _Phase.RECEIVING:
            self._receive(connection, data)
        elif not data:
            self._close(connection)

    def _receive(self, connection: _Connection, data: bytes) -> None:
        """Add `data` (empty: end of stream) to the message, and treat the message once it is whole or too long."""
        connection.ended = not data
        newline = data.find(b"\n")
        whole = newline >= 0 or not data
        connection.received += data if newline < 0 else data[:newline]
        if len(connection.received) > MAX_MESSAGE:
            self._refuse(connection, f"Message trop long : plus de {MAX_MESSAGE} octets.")
        elif connection.ended and not connection.received:
            self._close(connection)  # someone looked whether the port is open
        elif whole:
            self._treat(connection, bytes(connection.received))
        elif sum(len(each.received) for each in self._connections) > MAX_RECEIVED:
            largest = max(self._connections, key=lambda each: len(each.received))
            self._refuse(largest, "Trop de données en même temps.")

    def _treat(self, connection: _Connection, message: bytes) -> None:
        connection.received.clear()
        try:
            request = self._authenticated(_parsed(message))
        except _Refused as refusal:
            self._refuse(connection, str(refusal))
            return
        try:
            outcome = self._handle(request)
        except Exception as error:  # a defect of one action must not make the daemon deaf
            self._fail(connection, error)
            return
        if isinstance(outcome, Future):
            connection.phase = _Phase.WAITING
            connection.deadline = time.monotonic() + ANSWER_SECONDS
            self._selector.unregister(connection.sock)
            outcome.add_done_callback(lambda future: self._note_finished(connection, future))
        else:
            self._reply(connection, outcome)

    def _authenticated(self, message: object) -> dict[str, object]:
        """The message without its key. Raises _Refused unless it is an object with the right key and an action."""
        if not isinstance(message, dict):
            raise _Refused("Le message n'est pas un objet JSON.")
        key = message.pop("apikey", None)
        if not isinstance(key, str) or not hmac.compare_digest(_key_bytes(key), self._apikey):
            raise _Refused("Clé API refusée.")
        action = message.get("action")
        if not isinstance(action, str) or not action:
            raise _Refused("Le message ne dit pas quelle action faire.")
        return message

    # Answers that take time

    def _note_finished(self, connection: _Connection, future: "Future[Answer]") -> None:
        """Called on whichever thread finished the action."""
        self._finished.append((connection, future))
        self._wake()

    def _wake(self) -> None:
        # A full pair already wakes the thread; a closed one has no thread left to wake.
        with contextlib.suppress(OSError):
            self._wake_sender.send(b"\0")

    def _answer_finished(self) -> None:
        while self._finished:
            connection, future = self._finished.popleft()
            if connection.phase is not _Phase.WAITING:
                continue  # it came too late
            try:
                answer = future.result(timeout=0)
            except Exception as error:  # whatever ended the action, CancelledError among them
                self._fail(connection, error)
            else:
                self._reply(connection, answer)

    def _end_overdue(self) -> None:
        now = time.monotonic()
        for connection in [each for each in self._connections if each.deadline <= now]:
            match connection.phase:
                case _Phase.RECEIVING:
                    self._refuse(connection, f"Message incomplet après {RECEIVE_SECONDS:g} s.")
                case _Phase.WAITING:
                    self._refuse(connection, f"Pas de réponse en {ANSWER_SECONDS:g} s ; l'action peut encore se faire.")
                case _Phase.SENDING | _Phase.LINGERING:
                    self._close(connection)

    # Answering

    def _refuse(self, connection: _Connection, reason: str) -> None:
        self._log_refusal(reason)
        self._reply(connection, _failure(reason))

    def _fail(self, connection: _Connection, error: BaseException) -> None:
        self._log_limited(logging.ERROR, "Erreur interne pendant une action", error)
        self._reply(connection, _failure(INTERNAL_ERROR))

    def _reply(self, connection: _Connection, answer: Answer) -> None:
        try:
            connection.unsent = _line(answer)
        except (TypeError, ValueError, RecursionError) as error:
            self._log_limited(logging.ERROR, "Réponse qui ne s'écrit pas en JSON", error)
            connection.unsent = _line(_failure(INTERNAL_ERROR))
        connection.received.clear()
        connection.phase = _Phase.SENDING
        connection.deadline = time.monotonic() + SEND_SECONDS
        self._watch(connection, selectors.EVENT_WRITE)
        self._send(connection)

    def _send(self, connection: _Connection) -> None:
        try:
            sent = connection.sock.send(connection.unsent)
            connection.unsent = connection.unsent[sent:]
            if connection.unsent:
                return
            connection.sock.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            return
        except OSError:  # the client has gone
            self._close(connection)
            return
        if connection.ended:
            self._close(connection)
            return
        connection.phase = _Phase.LINGERING
        connection.deadline = time.monotonic() + LINGER_SECONDS
        self._watch(connection, selectors.EVENT_READ)

    def _watch(self, connection: _Connection, events: int) -> None:
        if connection.sock in self._selector.get_map():
            self._selector.modify(connection.sock, events, connection)
        else:
            self._selector.register(connection.sock, events, connection)

    def _close(self, connection: _Connection) -> None:
        self._connections.discard(connection)
        if connection.sock in self._selector.get_map():
            self._selector.unregister(connection.sock)
        connection.sock.close()

    def _close_all(self) -> None:
        for connection in list(self._connections):
            if connection.phase in (_Phase.RECEIVING, _Phase.WAITING):
                with contextlib.suppress(OSError):
                    connection.sock.send(_line(_failure("Le démon s'arrête.")))
            self._close(connection)
        self._selector.close()
        self._server.close()
        self._wake_receiver.close()
        self._wake_sender.close()

    # The log, which a flood must not fill

    def _log_refusal(self, reason: str) -> None:
        self._log_limited(logging.WARNING, f"Message refusé : {reason}")

    def _log_limited(self, level: int, text: str, error: BaseException | None = None) -> None:
        now = time.monotonic()
        if now - self._log_window_began >= LOG_WINDOW_SECONDS:
            if self._logged > LOG_LINES:
                log.warning("%d autres refus ou erreurs n'ont pas été écrits", self._logged - LOG_LINES)
            self._log_window_began, self._logged = now, 0
        self._logged += 1
        if self._logged <= LOG_LINES:
            log.log(level, "%s", text, exc_info=error)
        if self._logged == LOG_LINES:
            log.warning("Les refus suivants ne sont plus écrits pendant %g s", LOG_WINDOW_SECONDS)


def _parsed(message: bytes) -> object:
    """The JSON value of `message`. Raises _Refused with what is wrong and where."""
    try:
        value = json.loads(message.decode())
    except UnicodeDecodeError as error:
        raise _Refused(f"Le message n'est pas en UTF-8 (octet {error.start}).") from None
    except json.JSONDecodeError as error:
        raise _Refused(f"JSON illisible, ligne {error.lineno}, colonne {error.colno}.") from None
    except ValueError:  # an integer of thousands of digits
        raise _Refused("JSON illisible : nombre trop long.") from None
    except RecursionError:
        raise _Refused("JSON trop imbriqué.") from None
    if _deeper_than(MAX_DEPTH, value):
        raise _Refused("JSON trop imbriqué.")
    return value


def _deeper_than(limit: int, value: object) -> bool:
    level = [value]
    for _ in range(limit):
        children: list[object] = []
        for each in level:
            if isinstance(each, dict):
                children += each.values()
            elif isinstance(each, list):
                children += each
        level = children
    return bool(level)


def _key_bytes(key: str) -> bytes:
    """compare_digest takes no text beyond ASCII; JSON can escape half a surrogate pair, which plain UTF-8 refuses."""
    return key.encode("utf-8", "surrogatepass")


def _failure(reason: str) -> Answer:
    return {"ok": False, "error": reason}


def _line(answer: Answer) -> bytes:
    return json.dumps(answer, allow_nan=False).encode() + b"\n"
