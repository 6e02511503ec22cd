"""The daemon as a process against slaves that others wrote: pymodbus's server and libmodbus play the chargers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from callback import Callback
from line.test_foreign_peers import LIBMODBUS, cable, libmodbus_server, pymodbus_server
from pymodbus.simulator import DataType, SimData, SimDevice
from running import RunningDaemon

from evchargerd import profile

MODELS = {
    1: "abb-terra-ac",
    2: "mennekes-compact",
    3: "heidelberg-ec",
    4: "evse-din",
    5: "phoenix-ev-cc-ser",
    6: "schrack-cion",
}
# What the chargers take but do not show: the example images lack it.
WRITE_ONLY = {
    "abb-terra-ac": {"holding": {0x4100: 0, 0x4101: 0, 0x4103: 0}},
    "mennekes-compact": {"holding": {0x0D00: 0}},
}
SPEED = {"baudrate": 38400, "parity": "N", "stopbits": 1}


def _ranges(words: Mapping[int, int]) -> list[tuple[int, list[int]]]:
    """(first address, values) of each run of neighbouring addresses."""
    runs: list[tuple[int, list[int]]] = []
    for address in sorted(words):
        if runs and address == runs[-1][0] + len(runs[-1][1]):
            runs[-1][1].append(words[address])
        else:
            runs.append((address, [words[address]]))
    return runs


def _device(unit: int, model: str) -> SimDevice:
    """The example image of a model as a pymodbus device: an address that it lacks is refused."""
    example = profile.load(model).example
    assert example is not None
    tables = []
    for table in ("coil", "discrete", "holding", "input"):
        words = dict(example.image.get(table, {})) | WRITE_ONLY.get(model, {}).get(table, {})
        kind = DataType.BITS if table in ("coil", "discrete") else DataType.REGISTERS
        if kind is DataType.BITS:  # pymodbus packs bits by sixteen
            first = min(words, default=0) // 16 * 16
            bits = [bool(words.get(address, 0)) for address in range(first, first + 32)]
            tables.append([SimData(first, values=bits, datatype=kind)])
        else:
            runs = _ranges(words) or [(0, [0])]
            tables.append([SimData(start, values=values, datatype=kind) for start, values in runs])
    return SimDevice(unit, simdata=tuple(tables))


def test_six_models_on_one_line_played_by_pymodbus_show_their_examples(tmp_path: Path) -> None:
    devices = [_device(unit, model) for unit, model in MODELS.items()]
    with cable() as (ours, theirs), pymodbus_server(theirs, devices), Callback() as jeedom:
        chargers = [
            {"id": unit, "model": model, "port": ours, "unit": unit, "poll": 1, **SPEED}
            for unit, model in MODELS.items()
        ]
        with RunningDaemon(tmp_path, jeedom.url, chargers) as daemon:
            for unit, model in MODELS.items():
                example = profile.load(model).example
                assert example is not None
                expected = {name: pytest.approx(value, rel=1e-6) for name, value in example.values.items()}
                jeedom.wait_for(
                    lambda unit=unit, expected=expected: (
                        {name: value for name, value in jeedom.values(unit).items() if name in expected} == expected
                    ),
                    30,
                )
            answer = daemon.say("execute", charger=3, logicalId="set_current_limit", value=12)
            assert answer == {"ok": True}
            jeedom.wait_for(lambda: jeedom.values(3)["current_limit"] == 12)
            assert daemon.say("execute", charger=1, logicalId="cable_lock") == {"ok": True}
            jeedom.wait_for(lambda: jeedom.values(1)["cable_state"] == 3)


@pytest.mark.skipif(LIBMODBUS is None, reason="libmodbus is not installed (Debian: libmodbus5)")
def test_a_heidelberg_played_by_libmodbus_is_read_and_takes_its_limit(tmp_path: Path) -> None:
    example = profile.load("heidelberg-ec").example
    assert example is not None
    images = {table: dict(words) for table, words in example.image.items()}
    with (
        cable() as (ours, theirs),
        libmodbus_server(theirs, images["holding"], images["input"]),
        Callback() as jeedom,
    ):
        charger = {"id": 5, "model": "heidelberg-ec", "port": ours, "unit": 1, "poll": 1, **SPEED}
        with RunningDaemon(tmp_path, jeedom.url, [charger]) as daemon:
            jeedom.wait_for(lambda: jeedom.values(5).get("power") == 11040, 30)
            assert jeedom.values(5)["temperature"] == 32.5
            assert daemon.say("execute", charger=5, logicalId="set_current_limit", value=10) == {"ok": True}
            jeedom.wait_for(lambda: jeedom.values(5)["current_limit"] == 10)
