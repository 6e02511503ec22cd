"""`make soak MINUTES=60`: 8 lines of 30 chargers at full rate, while everything goes wrong that can.

Half of the lines are pseudo terminals, half TCP gateways. One answer in twenty is spoilt; lines vanish and come back,
gateways drop their connection, Jeedom goes away, answers 500 or not at all, configurations change, actions pour in.
Every value says which charger and which command it is, so that a wrong one is recognised when it reaches Jeedom, and
an action that was answered "done" is looked for in the charger. Before that: what 30, 60, 120, 240 chargers cost.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from callback import Callback
from running import RunningDaemon
from slaves import ImageSlave
from truth import random_faults

from evchargerd import profile
from evchargerd.modbus.port import LineSettings
from evchargerd.simulator.wire import Wire

LINES, UNITS = 8, 30
MODEL = "heidelberg-ec"
BAUDRATE = 19200
SETTINGS = LineSettings("", BAUDRATE)
SPOILT = 0.05
#: Input registers that tell, and the factor from the register to the published value.
TELLING = {"temperature": (9, 0.1), "voltage_1": (10, 1), "voltage_2": (11, 1), "voltage_3": (12, 1), "power": (14, 1)}
GENERATIONS = 16
GENERATION_S = 2.0  # how often all values move
EVENT_EVERY_S = 7.0
EVENT_LASTS_S = 5.0
SAMPLE_EVERY_S = 10.0
WARM_UP_S = 60.0
PEACE_S = 20.0
HEALED_WITHIN_S = 90.0
HELD = 261  # the holding register of the current limit, in tenths of an ampere


def told(charger: int, command: str, generation: int) -> int:
    """The register behind a command of a charger."""
    place = len(TELLING) * charger + list(TELLING).index(command)
    return GENERATIONS * place + generation % GENERATIONS


def is_told(charger: int, command: str, value: float) -> bool:
    return any(value == round(told(charger, command, g) * TELLING[command][1], 3) for g in range(GENERATIONS))


# The chargers, in processes of their own


@dataclass
class _Line:
    """One wire with its chargers, numbered from `first` on."""

    first: int
    link: Path | None
    wire: Wire
    slaves: dict[int, ImageSlave]
    address: tuple[str, int] = ("", 0)

    def plug(self) -> str:
        if self.link is not None:
            return self.wire.open_pty(self.link)
        self.address = self.wire.serve_tcp(*(self.address if self.address[1] else ("127.0.0.1", 0)))
        return "socket://{}:{}".format(*self.address)

    def move(self, generation: int) -> None:
        for unit, slave in self.slaves.items():
            for command, (address, _) in TELLING.items():
                slave.image["input"][address] = told(self.first + unit - 1, command, generation)


def _chargers(orders: Connection, lines: list[int], folder: str, spoilt: float) -> None:
    """A process with some of the lines: obeys (line, what, argument) until "end"."""
    example = profile.load(MODEL).example
    assert example is not None
    dice = random.Random(lines[0])
    made = {}
    for line in lines:
        slaves = {unit: ImageSlave.of(example) for unit in range(1, UNITS + 1)}
        # Late answers come sooner than the line's shortest memory of a question (1 s).
        fault = random_faults(dice, spoilt, SETTINGS, (0.1, 0.8), time.monotonic)
        wire = Wire(dict(slaves), SETTINGS, fault=fault, burst=16)
        made[line] = _Line(line * UNITS, None if line % 2 else Path(folder) / f"line{line}", wire, slaves)
        made[line].move(0)
    orders.send({line: made[line].plug() for line in lines})
    while True:
        line, what, argument = orders.recv()
        if what == "end":
            break
        here = made[line]
        answer: Any = None
        if what == "move":
            here.move(argument)
        elif what == "unplug":
            here.wire.unplug()
        elif what == "plug":
            here.plug()
        elif what == "drop":
            here.wire.disconnect()
        elif what == "held":
            answer = here.slaves[argument].image["holding"][HELD]
        for slave in here.slaves.values():
            slave.reads.clear()
            slave.writes.clear()
        orders.send(answer)
    for here in made.values():
        here.wire.close()


class Field:
    """All lines, wherever they run."""

    def __init__(self, lines: int, folder: Path, spoilt: float) -> None:
        self.ports: dict[int, str] = {}
        self._orders: dict[int, Connection] = {}
        self._processes = []
        context = multiprocessing.get_context("spawn")
        for part in range(2):
            mine = list(range(part, lines, 2))
            if not mine:
                continue
            ours, theirs = context.Pipe()
            process = context.Process(target=_chargers, args=(theirs, mine, str(folder), spoilt), daemon=True)
            process.start()
            self._processes.append((process, ours, mine[0]))
            self.ports |= ours.recv()
            self._orders |= dict.fromkeys(mine, ours)

    def tell(self, line: int, what: str, argument: Any = None) -> Any:
        self._orders[line].send((line, what, argument))
        return self._orders[line].recv()

    def move(self, generation: int) -> None:
        for line in self.ports:
            self.tell(line, "move", generation)

    def close(self) -> None:
        for process, orders, line in self._processes:
            orders.send((line, "end", None))
            process.join(10)

    def entries(self, poll: float = 1.0) -> list[dict[str, Any]]:
        speed = {"baudrate": BAUDRATE, "parity": "N", "stopbits": 1, "poll": poll}
        return [
            {"id": line * UNITS + unit - 1, "model": MODEL, "port": port, "unit": unit, **speed}
            for line, port in sorted(self.ports.items())
            for unit in range(1, UNITS + 1)
        ]


# What is measured of the daemon


@dataclass(frozen=True)
class Sample:
    at: float
    cpu_s: float
    resident_mb: float
    descriptors: int
    threads: int

    @classmethod
    def of(cls, pid: int) -> Sample:
        process = Path(f"/proc/{pid}")
        fields = process.joinpath("stat").read_text().rsplit(")", 1)[1].split()
        status = process.joinpath("status").read_text()
        ticks = int(fields[11]) + int(fields[12])
        return cls(
            time.monotonic(),
            ticks / os.sysconf("SC_CLK_TCK"),
            int(status.split("VmRSS:")[1].split()[0]) / 1024,
            len(os.listdir(process / "fd")),
            int(status.split("Threads:")[1].split()[0]),
        )


def _cpu_share(first: Sample, last: Sample) -> float:
    return (last.cpu_s - first.cpu_s) / (last.at - first.at)


def _requests(daemon: RunningDaemon) -> int:
    return sum(charger["requests"] for charger in daemon.say("status")["chargers"].values())


# In peace: what the number of chargers costs


def growth(folder: Path) -> None:
    print("In peace, at full rate (19200 baud, poll 1 s):")
    print("| chargers | transactions/s | CPU share of a core | CPU ms a transaction | resident MB |")
    print("| ---: | ---: | ---: | ---: | ---: |")
    for lines in (1, 2, 4, 8):
        place = folder / f"peace{lines}"
        place.mkdir()
        field_of = Field(lines, place, 0.0)
        with (
            Callback() as callback,
            RunningDaemon(place, callback.url, field_of.entries(), loglevel="info", cycle="0.5") as daemon,
        ):
            _until_online(callback, Counter(), lines * UNITS)
            first, before = Sample.of(daemon.process.pid), _requests(daemon)
            time.sleep(PEACE_S)
            last, after = Sample.of(daemon.process.pid), _requests(daemon)
            callback.posts.clear()
        field_of.close()
        rate = (after - before) / (last.at - first.at)
        share = _cpu_share(first, last)
        print(
            f"| {lines * UNITS} | {rate:.0f} | {share:.1%} | {1000 * share / rate:.2f} | {last.resident_mb:.1f} |",
            flush=True,
        )
    print()


# At war


@dataclass
class War:
    """The callback's side: what has arrived, judged, and the trouble that is made."""

    field_of: Field
    daemon: RunningDaemon
    callback: Callback
    dice: random.Random
    latest: dict[int, dict[str, Any]] = field(default_factory=dict)
    judged: int = 0
    wrong: list[str] = field(default_factory=list)
    orders: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    heal: list[tuple[float, Callable[[], Any]]] = field(default_factory=list)
    away: set[int] = field(default_factory=set)

    def judge(self) -> None:
        with self.callback._changed:
            posts, self.callback.posts = self.callback.posts, []
        for post in posts:
            for charger, values in post.body.get("chargers", {}).items():
                if post.taken:
                    self.latest.setdefault(int(charger), {}).update(values)
                for command in values.keys() & TELLING.keys():
                    self.judged += 1
                    if not is_told(int(charger), command, values[command]):
                        self.wrong.append(f"{charger} {command} = {values[command]}")

    def event(self) -> None:
        """One trouble, which ends by itself a little later."""
        line = self.dice.randrange(LINES)
        what = self.dice.choice(["away", "500", "mute", "reset", "unplug", "unplug", "drop", "configure", "orders"])
        self.events[what] += 1
        callback = self.callback

        def calm() -> None:
            callback.status, callback.reset = 200, False
            callback.hold.set()
            if callback._server is None:
                callback.up()

        calm()
        if what == "away":
            callback.down()
        elif what == "500":
            callback.status, callback.page = 500, b"<html>"
        elif what == "mute":
            callback.hold.clear()
        elif what == "reset":
            callback.reset = True
        elif what == "unplug" and line not in self.away:
            self.away.add(line)
            self.field_of.tell(line, "unplug")
            self.heal.append((time.monotonic() + EVENT_LASTS_S, lambda: self._plug(line)))
        elif what == "drop":
            self.field_of.tell(line, "drop")
        elif what == "configure":
            self._configure()
        elif what == "orders":
            self._order(line)
        self.heal.append((time.monotonic() + EVENT_LASTS_S, calm))

    def _plug(self, line: int) -> None:
        self.field_of.tell(line, "plug")
        self.away.discard(line)

    def _configure(self) -> None:
        """Without some chargers, then with all again, at another pace."""
        entries = self.field_of.entries(self.dice.choice([1.0, 2.0]))
        some = [entry for entry in entries if self.dice.random() > 0.1]
        for chargers in (some, entries):
            answer = self.daemon.say("configure", config={"chargers": chargers, "language": "fr_FR"})
            assert answer["ok"] is True, answer

    def _order(self, line: int) -> None:
        for unit in self.dice.sample(range(1, UNITS + 1), 5):
            tenths = self.dice.randrange(60, 161)
            charger = line * UNITS + unit - 1
            message = {"charger": charger, "logicalId": "set_current_limit", "value": tenths / 10}
            answer = self.daemon.say("execute", **message)
            self.orders["done" if answer["ok"] else "refused"] += 1
            if answer["ok"] and (held := self.field_of.tell(line, "held", unit)) != tenths:
                self.wrong.append(f"{charger}: told {tenths}, done, holds {held}")

    def step(self) -> None:
        now = time.monotonic()
        due = [cure for at, cure in self.heal if at <= now]
        self.heal = [(at, cure) for at, cure in self.heal if at > now]
        for cure in due:
            cure()
        self.judge()

    def heal_all(self) -> None:
        for _, cure in self.heal:
            cure()
        self.heal.clear()


def _until_online(callback: Callback, seen: Counter[str], chargers: int) -> None:
    deadline = time.monotonic() + HEALED_WITHIN_S
    while sum(1 for number in range(chargers) if callback.values(number).get("online") == 1) < chargers:
        assert time.monotonic() < deadline, "not all chargers came online"
        time.sleep(1.0)


def war(folder: Path, minutes: float, seed: int) -> int:
    field_of = Field(LINES, folder, SPOILT)
    with (
        Callback() as callback,
        RunningDaemon(folder, callback.url, field_of.entries(), loglevel="info", cycle="0.5") as daemon,
    ):
        made = War(field_of, daemon, callback, random.Random(seed))
        pid = daemon.process.pid
        began = time.monotonic()
        samples = []
        generation, next_move, next_event, next_sample = 0, began, began + WARM_UP_S / 2, began + WARM_UP_S
        print(f"At war: {LINES * UNITS} chargers, {SPOILT:.0%} of the answers spoilt, seed {seed}")
        while (now := time.monotonic()) < began + 60 * minutes:
            if now >= next_move:
                generation, next_move = generation + 1, now + GENERATION_S
                field_of.move(generation)
            if now >= next_event:
                made.event()
                next_event = time.monotonic() + EVENT_EVERY_S
            if now >= next_sample:
                samples.append(Sample.of(pid))
                next_sample = now + SAMPLE_EVERY_S
                if len(samples) % 6 == 1:
                    _print_sample(samples, made, began)
            made.step()
            time.sleep(0.1)
        made.heal_all()
        healed = time.monotonic()
        wanted = {
            charger: {command: round(told(charger, command, generation) * factor, 3)
                      for command, (_, factor) in TELLING.items()}
            for charger in range(LINES * UNITS)
        }  # fmt: skip

        def behind() -> list[int]:
            return [
                charger for charger, values in wanted.items()
                if (made.latest.get(charger, {}) | values) != made.latest.get(charger)
            ]  # fmt: skip

        while behind() and time.monotonic() < healed + HEALED_WITHIN_S:
            made.judge()
            time.sleep(0.2)
        last_behind, recovery = behind(), time.monotonic() - healed
        status = daemon.say("status")
        asked = sum(charger["requests"] for charger in status["chargers"].values())
        load = statistics.mean(line["load"] for line in status["lines"].values())
        code, seconds = daemon.stop()
        lines = len(daemon.log)
    field_of.close()
    _print_verdict(samples, made)
    print(
        f"Requests to the chargers that are now configured since the last configuration: {asked}; lines busy {load:.0%}"
    )
    print(f"Events: {dict(made.events)}; orders: {dict(made.orders)}; log lines: {lines}")
    print(f"All values right {recovery:.1f} s after everything was well again; still behind: {last_behind[:10]}")
    print(f"SIGTERM: exit {code} after {seconds:.2f} s")
    print(f"Values that reached Jeedom and tell whose they are: {made.judged}, WRONG: {len(made.wrong)}")
    print("\n".join(made.wrong[:20]))
    return int(bool(made.wrong or last_behind or code))


def _print_sample(samples: list[Sample], made: War, began: float) -> None:
    last = samples[-1]
    share = _cpu_share(samples[-7], last) if len(samples) > 6 else 0.0
    print(
        f"{(last.at - began) / 60:6.1f} min  CPU {share:6.1%}  {last.resident_mb:6.1f} MB  "
        f"{last.descriptors:3} descriptors  {last.threads:3} threads  "
        f"{made.judged:8} values judged, {len(made.wrong)} wrong",
        flush=True,
    )


def _print_verdict(samples: list[Sample], made: War) -> None:
    share = _cpu_share(samples[0], samples[-1])
    half = samples[len(samples) // 2 :]
    slope = statistics.linear_regression([s.at for s in half], [s.resident_mb for s in half]).slope * 3600
    print(f"CPU {share:.1%} of a core; resident {samples[0].resident_mb:.1f} MB after {WARM_UP_S:.0f} s, "
          f"{samples[-1].resident_mb:.1f} MB at the end, {slope:+.2f} MB/h over the second half; "
          f"descriptors {min(s.descriptors for s in samples)} to {max(s.descriptors for s in samples)}, "
          f"{samples[-1].descriptors} at the end; threads at most {max(s.threads for s in samples)}")  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=20261122)
    parser.add_argument("--no-growth", action="store_true", help="without the part in peace")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(KeyboardInterrupt):
        print(json.dumps({"python": sys.version.split()[0], "cores": os.cpu_count(), "load": os.getloadavg()[0]}))
        if not options.no_growth:
            growth(Path(folder))
        return war(Path(folder), options.minutes, options.seed)
    return 1


if __name__ == "__main__":
    sys.exit(main())
