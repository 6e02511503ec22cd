"""`make demo` as a user sees it: two simulated chargers, the real daemon, the page and the terminal."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from running import LAUNCHER

DEADLINE_S = 40.0


class RunningDemo:
    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process, self.url = process, url
        page = self.get("/").decode()
        found = re.search(r"name=\"token\" content=\"([\w-]+)\"", page)
        assert found, page
        self.token = found.group(1)

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(self.url.rstrip("/") + path, timeout=10) as answer:
            return answer.read()

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        headers = {"Content-Type": "application/json", "X-Token": self.token}
        request = urllib.request.Request(self.url.rstrip("/") + path, json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or b"{}")

    def until_printed(self, pattern: str) -> None:
        assert self.process.stdout is not None
        deadline = time.monotonic() + DEADLINE_S
        for line in self.process.stdout:
            if re.search(pattern, line):
                return
            assert time.monotonic() < deadline, f"{pattern} never printed"
        raise AssertionError(f"the demo ended before it printed {pattern}")


@pytest.fixture
def demo() -> Iterator[RunningDemo]:
    command = [str(LAUNCHER), "demo", "--seconds", "120"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"http://127\.0\.0\.1:\d+/", process.stdout.readline())
            assert found
            yield RunningDemo(process, found.group(0))
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(DEADLINE_S) == 0


def test_the_car_is_played_and_the_values_follow(demo: RunningDemo) -> None:
    demo.until_printed(r"Garage : .*state 6")
    demo.post("/play", {"charger": 1, "what": "charge"})
    demo.until_printed(r"Garage : .*state 3")
    demo.post("/play", {"charger": 1, "what": "unplug"})
    demo.until_printed(r"Garage : .*state 1")


def test_an_action_goes_through_the_daemon_and_a_refusal_says_why(demo: RunningDemo) -> None:
    demo.until_printed(r"Allée : .*online 1")
    assert demo.post("/action", {"charger": 2, "logicalId": "set_current_limit", "value": 8}) == {"ok": True}
    demo.until_printed(r"Allée : .*current_limit 8")
    answer = demo.post("/action", {"charger": 2, "logicalId": "set_current_limit", "value": 99})
    assert answer["ok"] is False
    assert "hors des bornes 6 à 16 A" in answer["error"]


def test_in_a_terminal_a_table_shows_the_values_and_keys_act() -> None:
    child, terminal = pty.fork()
    if child == 0:
        os.environ["TERM"] = "xterm"
        os.execv(str(LAUNCHER), [str(LAUNCHER), "demo", "--seconds", "120"])
    screen = b""

    def until(text: str) -> None:
        nonlocal screen
        deadline = time.monotonic() + DEADLINE_S
        while text.encode() not in screen:
            assert time.monotonic() < deadline, screen[-3000:].decode(errors="replace")
            screen += os.read(terminal, 65536)

    until("Numéro de série")
    until("Limite de courant")
    screen = b""
    os.write(terminal, b"l")
    until("cable_lock : fait")
    os.write(terminal, b"q")
    try:
        while os.read(terminal, 65536):
            pass
    except OSError:  # EIO: the other side has ended
        pass
    _, status = os.waitpid(child, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0
