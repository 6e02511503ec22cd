"""Complaints of users of such chargers that no other test answers; docs/*/complaints.md names these."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from register_image import RegisterImage
from slaves import ImageSlave

from evchargerd import profile
from evchargerd.bus import Bus
from evchargerd.charger import Charger
from evchargerd.config import ChargerConfig
from evchargerd.modbus.line import LineSettings
from evchargerd.rules import Value
from evchargerd.simulator.wire import Slave, Wire

ABL_CURRENT_L1 = 0x30
MENNEKES_EVSE_STATE, MENNEKES_HEARTBEAT = 0x0100, 0x0D00
DEADLINE_S = 10.0
ANSWER_S = 0.1  # that an answer may take, instead of the profile's second
ASLEEP_AFTER_S = 0.3  # of silence: more than ANSWER_S, so that the repeated request is heard; less than the next poll


def image_of(model: str) -> ImageSlave:
    example = profile.load(model).example
    assert example is not None
    return ImageSlave.of(example)


class Sleepy:
    """Loses the first request after a silence."""

    def __init__(self, slave: ImageSlave) -> None:
        self.slave, self.lost = slave, 0
        self._heard_at = float("-inf")

    def __call__(self, pdu: bytes) -> bytes | None:
        asleep = time.monotonic() - self._heard_at > ASLEEP_AFTER_S
        self._heard_at = time.monotonic()
        self.lost += asleep
        return None if asleep else self.slave(pdu)


class Values:
    """What the bus hands over of one charger."""

    def __init__(self) -> None:
        self.latest: dict[str, Value] = {}
        self.online: list[Value] = []
        self._changed = threading.Condition()

    def __call__(self, _: int, values: Mapping[str, Value], whole: bool) -> None:
        with self._changed:
            self.latest |= values
            self.online += [values["online"]] if "online" in values else []
            self._changed.notify_all()

    def wait_for(self, name: str, value: Value) -> None:
        with self._changed:
            seen = self._changed.wait_for(lambda: self.latest.get(name) == value, DEADLINE_S)
        assert seen, f"{name} is {self.latest.get(name)}, not {value}"


@contextmanager
def polled(model: str, slave: Slave, folder: Path) -> Iterator[Values]:
    """A bus that polls this slave as a charger of this model, on a line at the charger's own speed."""
    known = replace(profile.load(model), timeout=ANSWER_S)
    settings = LineSettings("", known.line.baudrate, known.line.parity, known.line.stopbits, known.line.framing)
    values = Values()
    with Wire({known.line.unit: slave}, settings) as wire:
        settings = replace(settings, port=wire.open_pty(folder / "tty"))
        bus = Bus(settings, values)
        bus.put(ChargerConfig(1, known, settings, known.line.unit, poll=0.5), "fr_FR")
        bus.start()
        try:
            yield values
        finally:
            bus.stop()
            bus.join(DEADLINE_S)


def test_an_abl_that_loses_the_first_request_after_silence_is_always_online(tmp_path: Path) -> None:
    sleepy = Sleepy(image_of("abl-emh1"))
    with polled("abl-emh1", sleepy, tmp_path) as values:
        values.wait_for("online", 1)
        lost = sleepy.lost
        for tenths in (81, 82):
            sleepy.slave.image["holding"][ABL_CURRENT_L1] = tenths
            values.wait_for("current_1", tenths / 10)
    assert sleepy.lost >= lost + 2
    assert values.online == [1]


def test_a_mennekes_whose_sign_of_life_is_refused_is_read_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    slave = image_of("mennekes-compact")
    slave.image["holding"].pop(MENNEKES_HEARTBEAT, None)  # as behind a meter that does not pass it on
    with polled("mennekes-compact", slave, tmp_path) as values:
        values.wait_for("state", 3)
        slave.image["holding"][MENNEKES_EVSE_STATE] = 1  # no vehicle
        values.wait_for("state", 1)
    assert values.online == [1]
    assert any("maintien de la liaison refusé" in message for message in caplog.messages)


@pytest.mark.parametrize("model", ["delta-ac-max", "delta-ac-max-1p"])
@pytest.mark.parametrize(("connector", "state"), [(1, 1), (3, 2), (4, 3), (5, 4), (6, 6), (7, 2), (8, 5)])
def test_a_delta_whose_firmware_lacks_the_native_state_takes_it_from_the_other_register(
    model: str, connector: int, state: int
) -> None:
    loaded = profile.load(model)
    image = RegisterImage.of_example(loaded)
    del image.tables["input"][1001]
    image.tables["input"][1000] = connector
    charger = Charger(loaded, loaded.line.unit)
    assert image.run(charger.connect())["state"] == state
    assert image.run(charger.poll())["state"] == state
