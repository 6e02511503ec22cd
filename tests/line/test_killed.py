"""kill -9 at random moments, also while Jeedom is away: the next daemon starts at once and knows the rest."""

from __future__ import annotations

import contextlib
import json
import random
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from line.bench import wait_for
from line.test_daemon import Bench, latest
from running import RunningDaemon

KILLS = 6
STARTED_WITHIN_S = 10.0


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with ExitStack() as stack:
        yield Bench(tmp_path, stack)


def order(daemon: RunningDaemon, name: str) -> None:
    """An action whose answer may never come, for the daemon is about to be killed."""
    with contextlib.suppress(OSError, ValueError):
        daemon.say("execute", charger=12, logicalId=name)


def test_whenever_it_is_killed_the_next_daemon_starts_and_remembers(bench: Bench) -> None:
    dice = random.Random(20261122)
    bench.abb.image["holding"][0x400D] = 0x0200  # B2: not charging, so that the cable may be unlocked
    port = "0"
    locked = False
    for turn in range(KILLS):
        daemon = bench.run(bench.charger(), bench.second(), socketport=port)
        port = str(daemon.socket_port)
        if turn == 1:
            bench.callback.down()
        if turn == 3:
            bench.callback.up()
        if not locked:
            locked = daemon.say("execute", charger=12, logicalId="cable_lock")["ok"] is True
        time.sleep(dice.uniform(0.0, 0.5))
        daemon.process.kill()
        daemon.process.wait()
    began = time.monotonic()
    daemon = bench.run(bench.charger(), bench.second(), socketport=port)
    assert time.monotonic() - began < STARTED_WITHIN_S
    assert daemon.socket_port == int(port)
    bench.callback.wait_for(lambda: latest(bench).get("cable_state") == 3 and latest(bench, 7).get("online") == 1)
    assert daemon.say("read", charger=12)["values"]["cable_locked_permanently"] == 1
    assert "ERROR" not in "\n".join(daemon.log)


def test_killed_in_the_middle_of_writing_its_memory_it_leaves_a_whole_one(bench: Bench) -> None:
    """Locking and unlocking write the memory each time; the kill comes somewhere between."""
    dice = random.Random(5)
    bench.abb.image["holding"][0x400D] = 0x0200
    memory = bench.folder / "run" / "memory" / "12.json"
    for _ in range(4):
        daemon = bench.run(bench.charger())
        until = time.monotonic() + dice.uniform(0.1, 0.6)
        while time.monotonic() < until:
            order(daemon, "cable_lock")
            order(daemon, "cable_unlock")
        daemon.process.kill()
        daemon.process.wait()
        assert isinstance(json.loads(memory.read_text()), dict)


@pytest.mark.parametrize("trouble", ["mute", "500", "reset", "away"])
def test_a_jeedom_in_trouble_holds_up_no_line_and_has_the_last_values_afterwards(bench: Bench, trouble: str) -> None:
    daemon = bench.run(bench.charger(), bench.second())
    bench.callback.wait_for(lambda: latest(bench, 7).get("online") == latest(bench).get("online") == 1)
    if trouble == "mute":
        bench.callback.hold.clear()
    elif trouble == "500":
        bench.callback.status = 500
    elif trouble == "reset":
        bench.callback.reset = True
    else:
        bench.callback.down()
    bench.heidelberg.image["input"][14] = 1111
    wait_for(lambda: daemon.say("read", charger=7)["values"]["power"] == 1111)
    bench.heidelberg.image["input"][14] = 2222
    began = time.monotonic()
    assert daemon.say("execute", charger=7, logicalId="set_current_limit", value=9) == {"ok": True}
    assert time.monotonic() - began < 5.0
    asked = len(bench.heidelberg.reads)
    wait_for(lambda: len(bench.heidelberg.reads) > asked + 4)  # polling goes on
    bench.callback.status, bench.callback.reset = 200, False
    bench.callback.hold.set()
    if trouble == "away":
        bench.callback.up()
    bench.callback.wait_for(
        lambda: latest(bench, 7).get("power") == 2222 and latest(bench, 7)["current_limit"] == 9, 40
    )
    arrived = [power for power in bench.callback.history(7, "power") if power in (1111, 2222)]
    assert arrived == sorted(arrived)


def test_what_the_daemon_writes_is_for_its_owner_only(bench: Bench) -> None:
    daemon = bench.run()
    before = {daemon.config_file}  # the tests wrote that one
    bench.callback.wait_for(lambda: latest(bench).get("state") == 3)
    memory = bench.folder / "run" / "memory" / "12.json"
    wait_for(memory.exists)
    written = [path for path in (bench.folder / "run").rglob("*") if path.is_file() and path not in before]
    assert memory in written
    assert daemon.pid_file in written
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in written} == dict.fromkeys(
        (path.name for path in written), "0o600"
    )
