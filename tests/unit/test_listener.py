"""Jeedom's way in: what a client gets for its message, and what it can not do to the others."""

import json
import logging
import random
import resource
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from typing import Any

import pytest

from evchargerd.jeedom import listener as module
from evchargerd.jeedom.listener import Listener

KEY = "k" * 40 + "0123456789abcdefghijklmn"

Handle = Callable[[Mapping[str, object]], Any]


def echo(message: Mapping[str, object]) -> dict[str, object]:
    return {"ok": True, "got": dict(message)}


@pytest.fixture
def listening() -> Iterator[Callable[..., Listener]]:
    started: list[Listener] = []

    def start(handle: Handle = echo, port: int = 0, apikey: str = KEY) -> Listener:
        listener = Listener(port, apikey, handle)
        listener.start()
        started.append(listener)
        return listener

    yield start
    for listener in started:
        listener.stop()


def connect(listener: Listener) -> socket.socket:
    return socket.create_connection(("127.0.0.1", listener.port), timeout=10)


def answer_on(client: socket.socket) -> dict[str, Any]:
    """The answer, which must be exactly one line followed by the end of the stream."""
    received = b""
    while data := client.recv(65536):
        received += data
    assert received.count(b"\n") == 1, received[:200]
    assert received.endswith(b"\n"), received[:200]
    answer = json.loads(received)
    assert isinstance(answer, dict)
    return answer


def ask(listener: Listener, message: bytes | Mapping[str, object], end: bytes = b"\n") -> dict[str, Any]:
    data = message if isinstance(message, bytes) else json.dumps(message).encode()
    with connect(listener) as client:
        client.sendall(data + end)
        if not end:
            client.shutdown(socket.SHUT_WR)
        return answer_on(client)


def connections(listener: Listener) -> list[module._Connection]:
    return list(listener._connections)  # a copy: the listener's thread goes on meanwhile


def ping(listener: Listener) -> dict[str, Any]:
    return ask(listener, {"apikey": KEY, "action": "ping"})


def still_serves(listener: Listener) -> bool:
    return ping(listener)["ok"] is True


def wait_until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


# What a well-behaved client gets


def test_a_message_reaches_the_handler_without_its_key(listening: Callable[..., Listener]) -> None:
    message = {"apikey": KEY, "action": "execute", "charger": 12, "logicalId": "cable_lock", "value": "é"}
    answer = ask(listening(), message)
    assert answer == {
        "ok": True,
        "got": {"action": "execute", "charger": 12, "logicalId": "cable_lock", "value": "é"},
    }


def test_the_end_of_the_stream_ends_a_message_as_well(listening: Callable[..., Listener]) -> None:
    assert ask(listening(), {"apikey": KEY, "action": "ping"}, end=b"")["ok"] is True


def test_a_message_may_come_byte_by_byte(listening: Callable[..., Listener]) -> None:
    with connect(listening()) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in json.dumps({"apikey": KEY, "action": "ping"}).encode() + b"\n":
            client.send(bytes([byte]))
        assert answer_on(client)["ok"] is True


def test_what_follows_the_line_is_ignored(listening: Callable[..., Listener]) -> None:
    line = json.dumps({"apikey": KEY, "action": "ping"}).encode() + b"\n"
    assert ask(listening(), line + line + b"\0rubbish")["got"] == {"action": "ping"}


def test_the_answer_of_a_future_comes_when_it_is_done(listening: Callable[..., Listener]) -> None:
    futures: list[Future[dict[str, object]]] = []

    def later(message: Mapping[str, object]) -> Future[dict[str, object]] | dict[str, object]:
        if message["action"] == "ping":
            return {"ok": True}
        futures.append(Future())
        return futures[-1]

    listener = listening(later)
    with connect(listener) as client:
        client.sendall(json.dumps({"apikey": KEY, "action": "execute"}).encode() + b"\n")
        wait_until(lambda: futures)
        assert still_serves(listener), "an action in progress must not block the others"
        client.settimeout(0.05)
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.settimeout(10)
        futures[0].set_result({"ok": False, "error": "La borne ne répond pas."})
        assert answer_on(client) == {"ok": False, "error": "La borne ne répond pas."}


def test_a_future_that_is_already_done_is_answered(listening: Callable[..., Listener]) -> None:
    done: Future[dict[str, object]] = Future()
    done.set_result({"ok": True})
    assert ping(listening(lambda _: done)) == {"ok": True}


def test_the_answer_for_a_client_that_has_gone_is_dropped(listening: Callable[..., Listener]) -> None:
    futures: list[Future[dict[str, object]]] = []

    def later(message: Mapping[str, object]) -> Future[dict[str, object]] | dict[str, object]:
        if message["action"] == "ping":
            return {"ok": True}
        futures.append(Future())
        return futures[-1]

    listener = listening(later)
    with connect(listener) as client:
        client.sendall(json.dumps({"apikey": KEY, "action": "execute"}).encode() + b"\n")
        wait_until(lambda: futures)
    futures[0].set_result({"ok": True, "much": "x" * 1_000_000})
    assert still_serves(listener)
    wait_until(lambda: not listener._connections)


def test_a_configuration_of_240_chargers_fits(listening: Callable[..., Listener]) -> None:
    charger = {
        "id": 1234,
        "model": "phoenix-ev-cc-ser",
        "port": "/dev/serial/by-id/usb-FTDI_FT232R_USB_UART_A10KXYZ-if00-port0",
        "unit": 247,
        "poll": 5,
        "baudrate": 115200,
        "parity": "N",
        "stopbits": 1,
        "name": "Borne du parking souterrain, niveau -2, place 117",
        "options": {"max_current": 32, "phases": 3, "lock": "permanent"},
    }
    message = {"apikey": KEY, "action": "configure", "config": {"chargers": [charger] * 240, "language": "fr_FR"}}
    assert len(ask(listening(), message)["got"]["config"]["chargers"]) == 240


def test_an_answer_larger_than_the_socket_buffers_arrives_whole(listening: Callable[..., Listener]) -> None:
    text = "é" * 3_000_000
    assert ping(listening(lambda _: {"ok": True, "text": text}))["text"] == text


# Whom it refuses


@pytest.mark.parametrize(
    "key",
    ["", "wrong", KEY[:-1], KEY + "x", "clé", "\ud800", "\0", None, 1, True, [KEY], {"apikey": KEY}, "x" * 100_000],
)
def test_a_wrong_key_is_refused_before_anything_else(listening: Callable[..., Listener], key: object) -> None:
    seen: list[object] = []
    listener = listening(lambda message: seen.append(message) or {"ok": True})
    assert ask(listener, {"apikey": key, "action": "ping"}) == {"ok": False, "error": "Clé API refusée."}
    assert ask(listener, {"apikey": key})["error"] == "Clé API refusée."
    assert ask(listener, {"action": "ping"})["error"] == "Clé API refusée."
    assert not seen


def test_a_key_beyond_ascii_works(listening: Callable[..., Listener]) -> None:
    listener = listening(apikey="clé-secrète-☃")
    assert ask(listener, {"apikey": "clé-secrète-☃", "action": "ping"})["ok"] is True
    assert ask(listener, {"apikey": "cle-secrete-☃", "action": "ping"})["ok"] is False


def test_an_empty_key_would_let_everyone_in() -> None:
    with pytest.raises(ValueError, match="API key"):
        Listener(0, "", echo)


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (b'{"apikey": ', "JSON illisible, ligne 1, colonne 12."),
        (b"GET / HTTP/1.1\r", "JSON illisible, ligne 1, colonne 1."),
        (b"\0\0\0\0", "JSON illisible, ligne 1, colonne 1."),
        (b"", "JSON illisible, ligne 1, colonne 1."),
        (b'{"a": "\xff"}', "Le message n'est pas en UTF-8 (octet 7)."),
        (b"9" * 5000, "JSON illisible : nombre trop long."),
        (b"[1, 2]", "Le message n'est pas un objet JSON."),
        (b'"text"', "Le message n'est pas un objet JSON."),
        (b"null", "Le message n'est pas un objet JSON."),
        (b"[" * 100_000 + b"]" * 100_000, "JSON trop imbriqué."),
        (b'{"a":' * 40_000 + b"1" + b"}" * 40_000, "JSON trop imbriqué."),
        (b"[" * 17 + b"]" * 17, "JSON trop imbriqué."),
        (b"[" * 16 + b"]" * 16, "Le message n'est pas un objet JSON."),
    ],
)
def test_what_is_not_a_message_is_refused_with_the_reason(
    listening: Callable[..., Listener], message: bytes, error: str
) -> None:
    listener = listening()
    assert ask(listener, message) == {"ok": False, "error": error}
    assert still_serves(listener)


@pytest.mark.parametrize("rest", [{}, {"action": ""}, {"action": None}, {"action": 3}, {"action": ["ping"]}])
def test_a_message_without_an_action_is_refused(listening: Callable[..., Listener], rest: dict[str, object]) -> None:
    assert ask(listening(), {"apikey": KEY, **rest})["error"] == "Le message ne dit pas quelle action faire."


# Handlers that fail


def test_a_handler_that_raises_is_an_internal_error_and_the_log_says_which(
    listening: Callable[..., Listener], caplog: pytest.LogCaptureFixture
) -> None:
    def broken(message: Mapping[str, object]) -> dict[str, object]:
        raise KeyError("no such thing")

    listener = listening(broken)
    assert ping(listener) == {"ok": False, "error": module.INTERNAL_ERROR}
    assert ping(listener) == {"ok": False, "error": module.INTERNAL_ERROR}
    assert "no such thing" in caplog.text


def test_a_future_that_raises_or_is_cancelled_is_an_internal_error(listening: Callable[..., Listener]) -> None:
    raised: Future[dict[str, object]] = Future()
    raised.set_exception(OSError("port lost"))
    cancelled: Future[dict[str, object]] = Future()
    cancelled.cancel()
    outcomes = [raised, cancelled]
    listener = listening(lambda _: outcomes.pop(0))
    assert ping(listener)["error"] == module.INTERNAL_ERROR
    assert ping(listener)["error"] == module.INTERNAL_ERROR


@pytest.mark.parametrize("answer", [{"ok": float("nan")}, {"ok": object()}, {"ok": {1, 2}}])
def test_an_answer_that_json_can_not_hold_is_an_internal_error(
    listening: Callable[..., Listener], answer: dict[str, object]
) -> None:
    assert ping(listening(lambda _: answer))["error"] == module.INTERNAL_ERROR


# Abuse


def test_a_message_without_end_is_refused_and_read_no_further(listening: Callable[..., Listener]) -> None:
    listener = listening()
    with connect(listener) as client:
        client.sendall(b"x" * 1024 * 1024)
        assert answer_on(client)["error"] == f"Message trop long : plus de {module.MAX_MESSAGE} octets."
    assert still_serves(listener)


def test_a_message_just_too_long_is_refused_although_it_is_whole(listening: Callable[..., Listener]) -> None:
    listener = listening()
    room = module.MAX_MESSAGE - len(json.dumps({"apikey": KEY, "action": "ping", "pad": ""}))
    assert ask(listener, {"apikey": KEY, "action": "ping", "pad": "x" * room})["ok"] is True
    assert ask(listener, {"apikey": KEY, "action": "ping", "pad": "x" * (room + 1)})["ok"] is False


@pytest.mark.parametrize("sent", [b"", b'{"apikey": "half', b" "])
def test_half_a_message_and_silence_is_ended_and_costs_nobody(
    listening: Callable[..., Listener], monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(module, "RECEIVE_SECONDS", 0.2)
    listener = listening()
    with connect(listener) as client:
        client.sendall(sent)
        assert still_serves(listener)
        assert answer_on(client) == {"ok": False, "error": "Message incomplet après 0.2 s."}


def test_a_client_that_sends_a_byte_now_and_then_gains_no_time(
    listening: Callable[..., Listener], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RECEIVE_SECONDS", 0.2)
    with connect(listening()) as client:
        client.settimeout(0.02)
        answer = b""
        started = time.monotonic()
        while not answer:
            assert time.monotonic() - started < 5, "the trickle was never ended"
            client.send(b" ")
            try:
                answer = client.recv(65536)
            except TimeoutError:
                continue
        assert "Message incomplet" in json.loads(answer)["error"]


def test_a_client_that_does_not_take_its_answer_is_dropped(
    listening: Callable[..., Listener], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SEND_SECONDS", 0.2)
    listener = listening(lambda message: {"ok": True, "text": "x" * 20_000_000 if message["action"] == "read" else ""})
    with connect(listener) as client:
        client.sendall(json.dumps({"apikey": KEY, "action": "read"}).encode() + b"\n")
        wait_until(lambda: any(each.unsent for each in connections(listener)))
        assert still_serves(listener)
        wait_until(lambda: not listener._connections)


def test_a_client_that_does_not_hang_up_is_hung_up(
    listening: Callable[..., Listener], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LINGER_SECONDS", 0.2)
    listener = listening()
    with connect(listener) as client:
        client.sendall(json.dumps({"apikey": KEY, "action": "ping"}).encode() + b"\n")
        assert answer_on(client)["ok"] is True
        wait_until(lambda: not listener._connections)


def test_an_action_that_never_ends_is_answered_in_the_end(
    listening: Callable[..., Listener], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.2)
    pending: Future[dict[str, object]] = Future()
    listener = listening(lambda message: pending if message["action"] == "execute" else {"ok": True})
    answer = ask(listener, {"apikey": KEY, "action": "execute"})
    assert answer == {"ok": False, "error": "Pas de réponse en 0.2 s ; l'action peut encore se faire."}
    pending.set_result({"ok": True})
    assert still_serves(listener)


def test_200_clients_at_once_are_all_served(listening: Callable[..., Listener]) -> None:
    gate: Future[dict[str, object]] = Future()
    listener = listening(lambda _: gate)
    clients = [connect(listener) for _ in range(200)]
    for client in clients:
        client.sendall(json.dumps({"apikey": KEY, "action": "ping"}).encode() + b"\n")
    wait_until(lambda: len(listener._connections) == 200)
    gate.set_result({"ok": True})
    for client in clients:
        assert answer_on(client) == {"ok": True}
        client.close()


def test_many_huge_messages_at_once_cost_the_largest_their_place_and_nobody_else(
    listening: Callable[..., Listener], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RECEIVE_SECONDS", 60.0)
    listener = listening()
    with connect(listener) as small:
        small.sendall(b'{"apikey": ')
        huge = [connect(listener) for _ in range(100)]

        def all_were_read() -> bool:
            answered = select.select(huge, [], [], 0)[0]
            kept = [each for each in connections(listener) if len(each.received) == module.MAX_MESSAGE]
            return len(answered) + len(kept) == len(huge)

        for client in huge:
            client.sendall(b" " * module.MAX_MESSAGE)
            assert sum(len(each.received) for each in connections(listener)) <= module.MAX_RECEIVED + module.CHUNK
        small.sendall(json.dumps(KEY).encode() + b', "action": "ping"}\n')
        assert answer_on(small)["ok"] is True
        wait_until(all_were_read)
        refusals = []
        for client in huge:
            client.shutdown(socket.SHUT_WR)
            refusals.append(answer_on(client)["error"])
            client.close()
        assert refusals.count("Trop de données en même temps.") >= 100 - 16, "16 of them fit"
    wait_until(lambda: not listener._connections)


def test_one_client_too_many_is_told_so(listening: Callable[..., Listener], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CONNECTIONS", 2)
    listener = listening()
    with connect(listener), connect(listener):
        wait_until(lambda: len(listener._connections) == 2)
        with connect(listener) as third:
            assert answer_on(third) == {"ok": False, "error": "Trop de connexions en même temps."}
    wait_until(lambda: not listener._connections)
    assert still_serves(listener)


def test_it_serves_again_when_descriptors_ran_out(listening: Callable[..., Listener]) -> None:
    listener = listening()
    with connect(listener) as client:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wait_until(lambda: listener._connections)
        late = socket.socket()
        resource.setrlimit(resource.RLIMIT_NOFILE, (late.fileno() + 1, hard))  # no descriptor above `late`
        try:
            late.settimeout(10)
            late.connect(("127.0.0.1", listener.port))
            client.sendall(json.dumps({"apikey": KEY, "action": "ping"}).encode() + b"\n")
            assert answer_on(client)["ok"] is True
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        with late:
            late.sendall(json.dumps({"apikey": KEY, "action": "ping"}).encode() + b"\n")
            assert answer_on(late)["ok"] is True


def test_thousands_of_random_messages_leave_it_serving(
    listening: Callable[..., Listener], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "RECEIVE_SECONDS", 0.5)
    chance = random.Random(20240607)
    listener = listening()
    good = json.dumps({"apikey": KEY, "action": "execute", "charger": 1, "value": [1.5, "é", None]}).encode()

    def some_message() -> bytes:
        match chance.randrange(4):
            case 0:
                return chance.randbytes(chance.randrange(60))
            case 1:  # a good one with a few bytes changed
                changed = bytearray(good)
                for _ in range(chance.randrange(1, 4)):
                    changed[chance.randrange(len(changed))] = chance.randrange(256)
                return bytes(changed)
            case 2:  # cut
                return good[: chance.randrange(len(good))]
            case _:  # JSON's own alphabet
                return bytes(chance.choice(b'[]{}",:\\u0 1e-+.tfn\n\0\xff') for _ in range(chance.randrange(40)))

    for _ in range(3000):
        with connect(listener) as client:
            client.sendall(some_message())
            match chance.randrange(4):
                case 0:
                    client.sendall(b"\n")
                    assert answer_on(client)["ok"] in (True, False)
                case 1:
                    client.shutdown(socket.SHUT_WR)
                    client.recv(65536)
                case 2:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # close by reset
                case _:
                    pass
    assert still_serves(listener)
    wait_until(lambda: not listener._connections)
    assert KEY not in caplog.text
    assert len(caplog.records) <= 2 * (module.LOG_LINES + 2), "a flood must not fill the log"


# The log


def test_each_refusal_is_logged_once_without_key_or_payload(
    listening: Callable[..., Listener], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    listener = listening()
    ask(listener, {"apikey": "not-the-key", "action": "ping", "note": "payload"})
    ask(listener, b'{"apikey": "' + KEY.encode() + b'", payload')
    ask(listener, {"apikey": KEY, "note": "payload"})
    assert [record.getMessage() for record in caplog.records] == [
        "Message refusé : Clé API refusée.",
        "Message refusé : JSON illisible, ligne 1, colonne 80.",
        "Message refusé : Le message ne dit pas quelle action faire.",
    ]
    assert all(record.levelno == logging.WARNING for record in caplog.records)


def test_a_flood_of_refusals_is_counted_not_written(
    listening: Callable[..., Listener], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    listener = listening()
    for _ in range(module.LOG_LINES + 7):
        ask(listener, b"rubbish")
    assert len(caplog.records) == module.LOG_LINES + 1
    assert caplog.records[-1].getMessage() == "Les refus suivants ne sont plus écrits pendant 60 s"
    monkeypatch.setattr(module, "LOG_WINDOW_SECONDS", 0.0)
    ask(listener, b"rubbish")
    assert caplog.records[-2].getMessage() == "7 autres refus ou erreurs n'ont pas été écrits"


# Its life


def test_it_listens_on_the_loopback_only(listening: Callable[..., Listener]) -> None:
    assert listening()._server.getsockname()[0] == "127.0.0.1"


def test_a_second_one_on_the_same_port_fails_clearly(listening: Callable[..., Listener]) -> None:
    first = listening()
    with pytest.raises(OSError, match="in use"):
        listening(port=first.port)
    assert still_serves(first)


def test_it_can_start_again_at_once_on_a_port_with_old_connections(listening: Callable[..., Listener]) -> None:
    first = listening()
    with connect(first) as client:  # the server's side closes first, which leaves TIME_WAIT on the port
        wait_until(lambda: first._connections)
        first.stop()
        assert answer_on(client)["error"] == "Le démon s'arrête."
        assert still_serves(listening(port=first.port))


def test_stopping_answers_those_who_wait_and_is_quick(listening: Callable[..., Listener]) -> None:
    pending: Future[dict[str, object]] = Future()
    listener = listening(lambda _: pending)
    with connect(listener) as client:
        client.sendall(json.dumps({"apikey": KEY, "action": "execute"}).encode() + b"\n")
        wait_until(lambda: any(each.phase is module._Phase.WAITING for each in connections(listener)))
        started = time.monotonic()
        listener.stop()
        listener.stop()
        assert time.monotonic() - started < 1
        assert answer_on(client) == {"ok": False, "error": "Le démon s'arrête."}
    pending.set_result({"ok": True})  # nobody is left to tell, and nothing breaks


def test_an_idle_listener_costs_no_cpu(listening: Callable[..., Listener]) -> None:
    listening()
    before = time.process_time()
    threading.Event().wait(0.3)
    assert time.process_time() - before < 0.05
