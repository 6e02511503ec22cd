"""Hostile input by the ten thousand: does the daemon still serve, is it no larger, is its log small and clean?

`python -m bench.fuzz [INPUTS] [SEED]`: three in five go to the socket of a running daemon, half of them with the right
key; the others are answers of a callback that has gone mad, to a publisher. The short forms are in
tests/unit/test_listener.py and test_publisher.py.
"""

from __future__ import annotations

import json
import logging
import os
import random
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from callback import Callback
from running import KEY, RunningDaemon

from evchargerd.jeedom.publisher import Publisher

SOCKET_PART = 0.6
ACTIONS = ("execute", "refresh", "configure", "read", "registers", "check", "status", "ping", "scan", "", "é", None, 7)
PORTS = ("/dev/null", "/dev/none", "socket://127.0.0.1:9", "spy://x", "../x", "", 5, None)
SETTLED_S = 3.0
MEGABYTES_ALLOWED = 16.0


def _value(dice: random.Random, depth: int = 0) -> Any:
    """Any JSON value, and some that are not easy to hold."""
    plain: list[Any] = [None, True, -1, 0, 7, 2**31, 10**400, 1e308, "", "x", "é\0", "9" * 400, "\ud800", "NaN"]
    if depth > 3 or dice.random() < 0.6:
        return dice.choice(plain)
    if dice.random() < 0.5:
        return [_value(dice, depth + 1) for _ in range(dice.randrange(5))]
    return {str(dice.choice(plain)): _value(dice, depth + 1) for _ in range(dice.randrange(5))}


def _message(dice: random.Random) -> dict[str, Any]:
    """With the right key and a sensible outline; all else is by chance."""
    action = dice.choice(ACTIONS)
    message: dict[str, Any] = {"apikey": KEY, "action": action, "charger": dice.choice([1, 1, "1", 99, _value(dice)])}
    if action == "scan":
        message["stop"] = True  # or it would look at the ports of this machine
    if action == "configure":
        entry = {"id": 1, "model": "heidelberg-ec", "port": dice.choice(PORTS), "unit": _value(dice)}
        message["config"] = dice.choice([{"chargers": [entry]}, {"chargers": _value(dice)}, _value(dice)])
    if action in ("read", "registers") and dice.random() < 0.02:  # each opens a port and waits for it
        message["config"] = {"model": "heidelberg-ec", "port": dice.choice(PORTS)}
    for name in dice.sample(["logicalId", "value", "profile", "address", "count", "table"], 3):
        message[name] = _value(dice)
    return message


def _input(dice: random.Random) -> bytes:
    kind = dice.randrange(6)
    if kind == 0:
        return dice.randbytes(dice.randrange(200))
    if kind == 1:
        return b"[" * dice.choice([10, 1000, 50_000])
    text = bytearray(json.dumps(_message(dice)).encode())
    if kind == 2:
        for _ in range(dice.randrange(1, 4)):
            text[dice.randrange(len(text))] = dice.randrange(256)
    if kind == 3:
        del text[dice.randrange(len(text)) :]
    return bytes(text)


def _say(port: int, data: bytes, dice: random.Random) -> None:
    with socket.create_connection(("127.0.0.1", port), 20) as client:
        client.settimeout(20)
        try:
            client.sendall(data)
            manner = dice.randrange(3)
            if manner == 0:
                client.sendall(b"\n")
                client.recv(65536)
            elif manner == 1:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # close by reset
        except OSError:
            return  # it hung up on us, as it may


def _resident_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/status").read_text().split("VmRSS:")[1].split()[0]) / 1024


def fuzz_socket(inputs: int, seed: int) -> None:
    dice = random.Random(seed)
    good = {"id": 1, "model": "heidelberg-ec", "port": "/dev/none", "unit": 1}
    with tempfile.TemporaryDirectory() as folder, Callback() as callback:
        with RunningDaemon(Path(folder), callback.url, [good], loglevel="info") as daemon:
            pid = daemon.process.pid
            for _ in range(inputs // 10):
                _say(daemon.socket_port, _input(dice), dice)
            settled = _resident_mb(pid)
            for _ in range(inputs - inputs // 10):
                _say(daemon.socket_port, _input(dice), dice)
            time.sleep(SETTLED_S)
            assert daemon.say("configure", config={"chargers": [good]})["ok"] is True
            assert daemon.say("ping")["ok"] is True
            grown = _resident_mb(pid) - settled
            descriptors = len(os.listdir(f"/proc/{pid}/fd"))
            daemon.stop()
        text = "\n".join(daemon.log)
        print(
            f"socket: {inputs} inputs; it serves, {grown:+.1f} MB, {descriptors} descriptors, {len(daemon.log)} lines"
        )
        assert KEY not in text
        assert "Traceback" not in text, text[text.index("Traceback") - 500 :][:3000]
        assert grown < MEGABYTES_ALLOWED


def _http_answer(dice: random.Random) -> bytes:
    head = dice.choice([b"HTTP/1.1 200 OK", b"HTTP/1.1 999 ?", b"HTTP/9.9", b"", b"\0", b"HTTP/1.1 302 Found"])
    headers = [
        b"Content-Length: 5",
        b"Content-Length: -1",
        b"Content-Length: 99999999999",
        b"Transfer-Encoding: chunked",
        b"Location: http://127.0.0.1:1/",
        b"Content-Encoding: gzip",
        b"X: " + b"y" * 70_000,
        dice.randbytes(20),
    ]
    chosen = dice.sample(headers, dice.randrange(4))
    body = dice.choice([b"", b"<html>", dice.randbytes(300), b"ffffffff\r\n", b"\x1f\x8b" + dice.randbytes(40)])
    answer = b"\r\n".join([head, *chosen, b"", body])
    return answer[: dice.randrange(len(answer))] if answer and dice.random() < 0.2 else answer


def fuzz_callback(answers: int, seed: int) -> None:
    dice = random.Random(seed)
    with Callback() as callback:
        publisher = Publisher(callback.url, KEY)
        taken = 0
        for _ in range(answers):
            callback.raw = _http_answer(dice)
            taken += publisher.test()
            callback.posts.clear()
        callback.raw = None
        assert publisher.test()
    print(f"callback: {answers} answers, {taken} of them a 200; it still delivers")


def main(inputs: int, seed: int) -> None:
    logging.disable(logging.CRITICAL)
    began = time.monotonic()
    fuzz_socket(round(inputs * SOCKET_PART), seed)
    fuzz_callback(inputs - round(inputs * SOCKET_PART), seed)
    print(f"{inputs} inputs, seed {seed}, {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main(*(int(argument) for argument in (sys.argv[1:] + ["100000", "20261122"][len(sys.argv) - 1 :])))
