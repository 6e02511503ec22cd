"""A capture of a daemon's charger, and the same charger out of the file."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from callback import Callback
from running import KEY, LAUNCHER, RunningDaemon, evcharger
from slaves import ImageSlave

from evchargerd import profile
from evchargerd.modbus.line import LineSettings
from evchargerd.simulator.wire import Wire


class Bench:
    """A daemon that polls a Heidelberg whose label is a secret."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.callback = stack.enter_context(Callback())
        example = profile.load("heidelberg-ec").example
        assert example is not None
        label = {102 + i: int.from_bytes(b"S3CRET-LABEL-0042"[2 * i : 2 * i + 2].ljust(2), "little") for i in range(32)}
        self.slave = ImageSlave.of(example)
        self.slave.image["input"] |= label
        self.slave.image["input"][203] = 199
        wire = stack.enter_context(Wire({1: self.slave}, LineSettings("", 19200)))
        port = wire.open_pty(folder / "ttyUSB-of-my-house")
        charger = {"id": 7, "model": "heidelberg-ec", "unit": 1, "poll": 1, "port": port, "parity": "N"}
        self.daemon = stack.enter_context(RunningDaemon(folder, self.callback.url, [charger]))
        self.callback.wait_for(lambda: self.callback.values(7).get("state") == 3)

    def end(self) -> dict[str, Any]:
        def ends() -> list[dict[str, Any]]:
            events = [event for post in self.callback.posts for event in post.body.get("events", [])]
            return [event for event in events if event["type"] == "capture"]

        self.callback.wait_for(ends)
        return ends()[-1]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with ExitStack() as stack:
        yield Bench(tmp_path, stack)


def test_a_capture_becomes_the_charger_that_it_recorded(bench: Bench, tmp_path: Path) -> None:
    answer = bench.daemon.say("capture", charger=7, seconds=2)
    assert (answer["ok"], answer["seconds"]) == (True, 2)
    assert "déjà en cours" in bench.daemon.say("capture", charger=7, seconds=2)["error"]
    end = bench.end()
    assert (end["charger"], end["file"], end["truncated"], end["done"]) == (7, answer["file"], False, True)
    file = bench.folder / "captures" / answer["file"]
    assert file.stat().st_mode & 0o777 == 0o600
    text = file.read_text()
    document = json.loads(text)
    assert len(document["frames"]) == end["frames"] > 6
    assert document["profile"]["id"] == "heidelberg-ec"
    assert set(document["versions"]) == {"evcharger", "python", "pyserial", "system"}
    assert "label" in document["masked"]
    for secret in (KEY, "my-house", b"3SRC".hex(), b"S3CR".hex()):
        assert secret not in text

    link = tmp_path / "replayed"
    replayed = subprocess.Popen([str(LAUNCHER), "replay", str(file), "--link", str(link)], stdout=subprocess.PIPE)
    try:
        assert replayed.stdout is not None
        assert replayed.stdout.readline().decode().strip() == str(link)
        options = ("--model", "heidelberg-ec", "--port", str(link), "--parity", "N", "--json")
        for _ in range(2):  # from the frames, then from the registers
            done = evcharger("read", *options)
            assert done.returncode == 0, done.stderr
            values = json.loads(done.stdout)
            assert (values["state"], values["power"], values["current_limit"]) == (3, 11040, 16)
            assert values["serial"].strip("X") == ""
    finally:
        replayed.terminate()
        replayed.communicate(timeout=10)
    assert replayed.returncode == 0


def test_a_capture_is_ended_early_and_by_the_end_of_the_daemon(bench: Bench) -> None:
    assert bench.daemon.say("capture", charger=7, stop=True) == {"ok": True, "file": None}
    first = bench.daemon.say("capture", charger=7)
    assert first["seconds"] == 120
    assert bench.daemon.say("capture", charger=7, stop=True) == {"ok": True, "file": first["file"]}
    assert bench.end()["file"] == first["file"]
    time.sleep(1.1 - time.time() % 1)  # files are named by the second
    second = bench.daemon.say("capture", charger=7, seconds=600)
    code, seconds = bench.daemon.stop()
    assert (code, seconds < 2) == (0, True)
    assert json.loads((bench.folder / "captures" / second["file"]).read_text())["seconds"] < 10


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ({"charger": 8}, "chargeur inconnu : 8"),
        ({"charger": 7, "seconds": 601}, "seconds : un nombre entier de 1 à 600 est attendu"),
        ({"charger": 7, "seconds": 0}, "seconds"),
        ({}, "charger : l'identifiant d'un chargeur est attendu"),
    ],
)
def test_a_wrong_capture_is_refused_with_its_reason(bench: Bench, message: dict[str, Any], reason: str) -> None:
    answer = bench.daemon.say("capture", **message)
    assert answer["ok"] is False
    assert reason in answer["error"]


def test_a_file_that_is_no_capture_is_not_replayed(tmp_path: Path) -> None:
    done = evcharger("replay", str(tmp_path / "none.json"))
    assert done.returncode == 1
    assert "none.json" in done.stderr
