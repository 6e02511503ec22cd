"""How near to the wire ours and the libraries are, whether they keep the silence, and what they cost.

One master at a time, in a process of its own, reads from a simulated line that runs in another: nothing but the master
counts for its CPU and context switches. A cycle lasts from the end of one read to the end of the next, with the silence
between. The limit is the time of the question and the answer on the wire, 5 ms until the slave answers, 3.5 characters.
"""

from __future__ import annotations

import itertools
import json
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass

from bench.rivals import IMPORTS, MASTERS, available, versions
from bench.wires import remote_wire
from evchargerd.modbus.frame import Request, Rtu
from evchargerd.modbus.port import LineSettings
from evchargerd.simulator.wire import TURNAROUND

LINES = (LineSettings("", 9600), LineSettings("", 19200, "E"), LineSettings("", 38400))
COUNTS = (1, 10, 20, 60)
CYCLES = 24
STRICT_READS = 10
TIMEOUT_S = 0.3
IMPORTS_TIMED = 5
#: What issue and page promise of ours.
RATIO_PROMISED, SWITCHES_PROMISED = 1.05, 10


def limit_s(settings: LineSettings, count: int) -> float:
    request = Request.read(1, "holding", 0, count)
    framing = Rtu()
    characters = len(framing.encode(request)) + framing.answer_length(request)
    return characters * settings.character_time + TURNAROUND + settings.silence


@dataclass(frozen=True)
class Measured:
    """What one master did: the median cycle, CPU and voluntary switches a cycle, and right answers."""

    cycle_s: float
    cpu_ms: float
    switches: float
    answered: int


@dataclass(frozen=True)
class Row:
    """`cycle` is of a line that does not insist on the silence; `kept` of the ten reads on one that does."""

    master: str
    settings: LineSettings
    count: int
    measured: Measured
    kept: int
    early: int

    @property
    def ratio(self) -> float:
        return self.measured.cycle_s / limit_s(self.settings, self.count)

    @property
    def keeps_silence(self) -> bool:
        return self.kept == STRICT_READS and not self.early


def master_process(name: str, port: str, baudrate: str, parity: str, count: str, reads: str) -> None:
    """Runs in the master's process: reads, and prints what it measured."""
    words, wanted = int(count), tuple(range(int(count)))
    master = MASTERS[name](LineSettings(port, int(baudrate), parity), TIMEOUT_S)
    ends, right = [], 0
    for turn in range(int(reads) + 1):
        if turn == 1:  # the first one opens the port and imports what is imported late
            before = resource.getrusage(resource.RUSAGE_SELF)
        try:
            right += tuple(master.read(1, 0, words)) == wanted
        except Exception:
            if name == "EVcharger":
                raise
        ends.append(time.monotonic())
    after = resource.getrusage(resource.RUSAGE_SELF)
    master.close()
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    cycle_s = statistics.median(later - earlier for earlier, later in itertools.pairwise(ends))
    switches = (after.ru_nvcsw - before.ru_nvcsw) / int(reads)
    print(json.dumps(asdict(Measured(cycle_s, 1000 * cpu_s / int(reads), switches, right - 1))))


def _measure(name: str, settings: LineSettings, count: int, lenient: bool) -> tuple[Measured, int]:
    """One master on a fresh line; how often it spoke too early, besides."""
    reads = CYCLES if lenient else STRICT_READS
    with remote_wire(settings, lenient) as wire:
        arguments = [name, wire.port, str(settings.baudrate), settings.parity, str(count), str(reads)]
        done = subprocess.run(
            [sys.executable, "-m", "bench.speed", *arguments], stdout=subprocess.PIPE, text=True, check=True
        )
        return Measured(**json.loads(done.stdout)), wire.counters().too_early


def rows(settings: LineSettings, count: int, masters: tuple[str, ...]) -> list[Row]:
    result = []
    for name in masters:
        measured, early = _measure(name, settings, count, lenient=True)
        kept, early_again = _measure(name, settings, count, lenient=False)
        result.append(Row(name, settings, count, measured, kept.answered, early + early_again))
    return result


def import_cost(name: str) -> tuple[float, float]:
    """Milliseconds to import what this master needs, and resident MB of a process that has; medians."""
    code = (
        "import time; began = time.perf_counter(); "
        f"{IMPORTS[name]}; took = time.perf_counter() - began; "
        "print(took, open('/proc/self/status').read().split('VmRSS:')[1].split()[0])"
    )
    measured = []
    for _ in range(IMPORTS_TIMED):
        done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
        measured.append([float(part) for part in done.stdout.split()])
    return 1000 * statistics.median(took for took, _ in measured), statistics.median(kb for _, kb in measured) / 1024


def _print_table(title: str, masters: tuple[str, ...], lines: list[tuple[str, list[str]]]) -> None:
    print(title)
    print("| | " + " | ".join(masters) + " |")
    print("| --- |" + " ---: |" * len(masters))
    for head, cells in lines:
        print(f"| {head} | " + " | ".join(cells) + " |")
    print()


def _verdict(table: list[Row]) -> None:
    """What ours promises, checked against this very run.

    A library keeps the silence at a speed when it does in every row of that speed: once in a while is luck.
    """
    broken = {(row.master, row.settings) for row in table if not row.keeps_silence}
    ours = [row for row in table if row.master == "EVcharger"]
    worst = max(ours, key=lambda row: row.ratio)
    switches = max(row.measured.switches for row in ours)
    print(f"Ours: worst ratio {worst.ratio:.3f} (promised: {RATIO_PROMISED}), silence kept in "
          f"{sum(row.keeps_silence for row in ours)} of {len(ours)} rows, at most {switches:.1f} voluntary switches a "
          f"cycle (promised: {SWITCHES_PROMISED})")  # fmt: skip
    for row in ours:
        rivals = [
            other for other in table
            if other.master not in ("EVcharger", "libmodbus") and (other.master, other.settings) not in broken
            and (other.settings, other.count) == (row.settings, row.count)
        ]  # fmt: skip
        if rivals:
            leanest = min(rivals, key=lambda other: other.measured.cpu_ms)
            part = row.measured.cpu_ms / leanest.measured.cpu_ms
            promised = 1 / 3 if row.count == max(COUNTS) else 1.0
            lost = "" if part <= promised else f"   MORE THAN PROMISED ({promised:.2f})"
            print(f"  {_line(row)}: CPU {part:.2f} of the leanest Python library that keeps the silence "
                  f"({leanest.master}){lost}")  # fmt: skip
    print()


def _line(row: Row) -> str:
    return f"{row.settings.baudrate} 8{row.settings.parity}1, {row.count} registers"


def report() -> None:
    masters = tuple(available())
    print("Speed. " + versions())
    print()
    table = [row for settings in LINES for count in COUNTS for row in rows(settings, count, masters)]
    groups = [table[start : start + len(masters)] for start in range(0, len(table), len(masters))]
    show = [
        ("Cycle / wire limit (* = skips the mandatory silence)",
         lambda row: f"{row.ratio:.3f}" + ("" if row.keeps_silence else " *")),
        (f"Answers of a slave that insists on the silence, of {STRICT_READS} reads back to back",
         lambda row: str(row.kept)),
        ("CPU ms a cycle", lambda row: f"{row.measured.cpu_ms:.2f}"),
        ("Voluntary context switches a cycle", lambda row: f"{row.measured.switches:.0f}"),
    ]  # fmt: skip
    for title, cell in show:
        _print_table(title, masters, [(_line(group[0]), [cell(row) for row in group]) for group in groups])
    costs = {name: import_cost(name) for name in IMPORTS if name in masters}
    _print_table("Import time in ms; resident MB of a process that has imported it", tuple(costs),
                 [("import / resident", [f"{ms:.0f} / {mb:.1f}" for ms, mb in costs.values()])])  # fmt: skip
    _verdict(table)


if __name__ == "__main__":
    master_process(*sys.argv[1:])
