"""What each action sends and what each code means, written out by hand from the makers' numbers, not from the profiles.

Frames are unit, function, address, data, in hex, without the checksum.
"""

from collections.abc import Mapping
from typing import NamedTuple

import pytest
from register_image import RegisterImage

from evchargerd import profile
from evchargerd.charger import ActionError, Charger

Changes = Mapping[tuple[str, int], int]
H, I, C = "holding", "input", "coil"  # noqa: E741  the tables, short as the rows below


def connected(model: str, changes: Changes, unverified: bool = False) -> tuple[Charger, RegisterImage]:
    """A charger of this model, read once; its registers are the profile's example, changed."""
    loaded = profile.load(model)
    image = RegisterImage.of_example(loaded)
    for (table, address), word in changes.items():
        image.tables.setdefault(table, {})[address] = word
    charger = Charger(loaded, loaded.line.unit, unverified=unverified)
    image.run(charger.connect())
    return charger, image


def frames(image: RegisterImage) -> list[str]:
    return [(bytes((asked.unit,)) + asked.pdu).hex(" ") for asked in image.requests if asked.is_write]


class Row(NamedTuple):
    model: str
    action: str
    value: float | None
    changes: Changes
    sent: list[str]


ACTIONS = [
    # Mennekes: unit 50; float at 0302h, release at 0D05h, heartbeat 55AAh at 0D00h, phases at 0D04h (0 all, 1 one).
    Row("mennekes-compact", "set_current_limit", 16, {}, ["32 10 03 02 00 02 04 41 80 00 00"]),
    Row("mennekes-compact", "set_current_limit", 10.25, {}, ["32 10 03 02 00 02 04 41 23 33 33"]),
    Row("mennekes-compact", "charge_stop", None, {}, ["32 06 0d 05 00 00"]),
    Row("mennekes-compact", "charge_start", None, {(H, 0x0D05): 0}, ["32 06 0d 00 55 aa", "32 06 0d 05 00 01"]),
    Row("mennekes-compact", "set_phases", 1, {(H, 0x0D05): 0}, ["32 06 0d 04 00 01"]),
    Row("mennekes-compact", "set_phases", 3, {(H, 0x0D05): 0}, ["32 06 0d 04 00 00"]),
    # Heidelberg: 261 = 0105h in 0.1 A, 0 pauses; 259 = 0103h frees a locked station.
    Row("heidelberg-ec", "set_current_limit", 10.25, {}, ["01 06 01 05 00 66"]),
    Row("heidelberg-ec", "charge_stop", None, {}, ["01 06 01 05 00 00"]),
    Row("heidelberg-ec", "charge_start", None, {}, ["01 06 01 05 00 a0"]),
    Row("heidelberg-ec", "charge_start", None, {(I, 5): 10}, ["01 06 01 03 00 01", "01 06 01 05 00 a0"]),
    # EVSE DIN: 1000 = 03E8h by function 16, in 0.01 A with bit 7 of 2005 and firmware 17, else in A.
    Row("evse-din", "set_current_limit", 10.25, {}, ["01 10 03 e8 00 01 02 03 fc"]),
    Row("evse-din", "set_current_limit", 10.25, {(H, 1005): 15, (H, 1000): 16}, ["01 10 03 e8 00 01 02 00 0a"]),
    Row("evse-din", "charge_stop", None, {}, ["01 10 03 e8 00 01 02 00 00"]),
    Row("evse-din", "charge_start", None, {}, ["01 10 03 e8 00 01 02 06 40"]),
    Row("openwb-native", "set_current_limit", 16, {}, ["01 10 03 e8 00 01 02 06 40"]),
    # Phoenix: coils 20000 = 4E20h (enable) and 20002 = 4E22h (lock), 22000 = 55F0h in A, 4002 = 0FA2h lock mode.
    Row("phoenix-ev-cc-ser", "set_current_limit", 10, {}, ["01 06 55 f0 00 0a"]),
    Row("phoenix-ev-cc-ser", "charge_stop", None, {}, ["01 05 4e 20 00 00"]),
    Row("phoenix-ev-cc-ser", "charge_start", None, {(C, 20000): 0}, ["01 05 4e 20 ff 00"]),
    Row("phoenix-ev-cc-ser", "cable_lock", None, {(H, 4002): 0}, ["01 05 4e 22 ff 00", "01 06 0f a2 00 03"]),
    Row("phoenix-ev-cc-ser", "cable_unlock", None, {}, ["01 06 0f a2 00 00", "01 05 4e 22 00 00"]),
    # Schrack: 100 = 64h release, 101 = 65h in A, 118 = 76h: 1 locks, 2 unlocks.
    Row("schrack-cion", "set_current_limit", 10, {}, ["01 06 00 65 00 0a"]),
    Row("schrack-cion", "charge_stop", None, {}, ["01 06 00 65 00 00"]),
    Row("schrack-cion", "charge_start", None, {(H, 100): 0}, ["01 06 00 65 00 10", "01 06 00 64 00 01"]),
    Row("schrack-cion", "cable_lock", None, {}, ["01 06 00 76 00 01"]),
    Row("schrack-cion", "cable_unlock", None, {(H, 139): ord("B")}, ["01 06 00 76 00 02"]),
    # Alphatec: 5 in A by function 16.
    Row("alphatec", "set_current_limit", 10.9, {}, ["01 10 00 05 00 01 02 00 0a"]),
    Row("alphatec", "charge_stop", None, {}, ["01 10 00 05 00 01 02 00 00"]),
    # Pracht: 40003 total, 40004 connector 1, 40005 connector 2, in A.
    Row("pracht-alpha", "set_current_limit", 10, {}, ["01 06 00 03 00 0a", "01 06 00 02 00 0a"]),
    Row("pracht-alpha", "set_current_limit", 10, {(H, 4): 16}, ["01 06 00 03 00 0a"]),
    Row("pracht-alpha", "charge_stop", None, {}, ["01 06 00 03 00 00"]),
    Row("pracht-alpha", "charge_start", None, {(H, 2): 0}, ["01 06 00 03 00 10", "01 06 00 02 00 10"]),
    Row("pracht-alpha-2", "set_current_limit", 10, {(H, 3): 16}, ["01 06 00 04 00 0a"]),
    # Pulsares: 5Dh in mA and 8Bh (0 one phase, 2 three) by function 16.
    Row("pulsares-simplebox", "set_current_limit", 10.25, {}, ["01 10 00 5d 00 01 02 27 d8"]),
    Row("pulsares-simplebox", "charge_stop", None, {}, ["01 10 00 5d 00 01 02 00 00"]),
    Row("pulsares-simplebox", "set_phases", 1, {}, ["01 10 00 8b 00 01 02 00 00"]),
    Row("pulsares-simplebox", "set_phases", 3, {(H, 0x8B): 0}, ["01 10 00 8b 00 01 02 00 02"]),
    # OBO: unit 101; 40006 enable, 40007 in A.
    Row("obo-ion", "set_current_limit", 10, {}, ["65 06 00 06 00 0a"]),
    Row("obo-ion", "charge_stop", None, {}, ["65 06 00 05 00 00"]),
    Row("obo-ion", "charge_start", None, {(H, 5): 0}, ["65 06 00 05 00 01"]),
    # KSE: unit 100; 0003h in A, 0035h 0 three phases, 1 one.
    Row("kse-wbx16", "set_current_limit", 10, {}, ["64 06 00 03 00 0a"]),
    Row("kse-wbx16", "charge_stop", None, {}, ["64 06 00 03 00 00"]),
    Row("kse-wbx16", "set_phases", 1, {(I, 16): 4}, ["64 06 00 35 00 01"]),
    # Raedian: 8100h in mA by function 16, 8102h 1 one phase, 2 three; 8103h only once it is asked for.
    Row("raedian", "set_current_limit", 10.25, {}, ["01 10 81 00 00 02 04 00 00 27 d8"]),
    Row("raedian", "charge_stop", None, {(H, 0x800D): 0x0100}, ["01 10 81 00 00 02 04 00 00 00 00"]),
    Row("raedian", "set_phases", 3, {(H, 0x800D): 0x0100}, ["01 06 81 02 00 02"]),
    Row("raedian", "cable_lock", None, {(H, 0x800A): 0, (H, 0x800B): 0}, ["01 06 81 03 00 01"]),
    # ABL: 14h PWM duty in 0.1 % by function 16 (ampere / 0.6), 1000 = no current.
    Row("abl-emh1", "set_current_limit", 12, {(H, 0x12): 200}, ["01 10 00 14 00 01 02 00 c8"]),
    Row("abl-emh1", "charge_stop", None, {}, ["01 10 00 14 00 01 02 03 e8"]),
    # Delta: 1600 = 0640h in W for all phases, 230 V each.
    Row("delta-ac-max", "set_current_limit", 16, {}, ["01 10 06 40 00 02 04 00 00 2b 20"]),
    Row("delta-ac-max", "charge_stop", None, {}, ["01 10 06 40 00 02 04 00 00 00 00"]),
    Row("delta-ac-max-1p", "set_current_limit", 16, {}, ["01 10 06 40 00 02 04 00 00 0e 60"]),
    # Eaton: 40010 = 9 in 0.1 A; 40005 = 4 enables, by an ambiguous page.
    Row("eaton-xchargein", "set_current_limit", 10.25, {}, ["01 06 00 09 00 66"]),
    Row("eaton-xchargein", "charge_stop", None, {}, ["01 06 00 04 00 00"]),
    # Edgetech: 0201h with the ampere in both bytes; bit 0 of 0204h is three phases, its other bits are kept.
    Row("edgetech-smartevse", "set_current_limit", 10, {}, ["01 06 02 01 0a 0a"]),
    Row("edgetech-smartevse", "charge_stop", None, {}, ["01 06 02 01 00 00"]),
    Row("edgetech-smartevse", "set_phases", 1, {(H, 0x0201): 0, (H, 0x0204): 5}, ["01 06 02 04 00 04"]),
    # eProWallbox: 40406 = 9DD6h enables, 40407 = 9DD7h in mA, by function 16.
    Row("eprowallbox", "set_current_limit", 10.25, {}, ["01 10 9d d7 00 02 04 00 00 27 d8"]),
    Row("eprowallbox", "charge_stop", None, {}, ["01 10 9d d6 00 01 02 00 00"]),
    Row("eprowallbox", "charge_start", None, {}, ["01 10 9d d6 00 01 02 00 01"]),
    # esp32-evse: 103 = 67h enables, 106 = 6Ah in 0.1 A.
    Row("esp32-evse", "set_current_limit", 10.25, {}, ["01 06 00 6a 00 66"]),
    Row("esp32-evse", "charge_stop", None, {}, ["01 06 00 67 00 00"]),
    # ETEK: unit 255; 109 = 6Dh PWM duty in 0.01 % (ampere / 0.6), 89 = 59h: 1 starts, 2 stops.
    Row("etek-ekepc2", "set_current_limit", 12, {}, ["ff 06 00 6d 07 d0"]),
    Row("etek-ekepc2", "charge_stop", None, {}, ["ff 06 00 59 00 02"]),
    # SolaX: unit 70; 0628h in 0.01 A, 0627h: 4 starts, 3 stops, 0615h: 1 locks.
    Row("solax-x-evc", "set_current_limit", 10.25, {}, ["46 06 06 28 03 fc"]),
    Row("solax-x-evc", "charge_stop", None, {}, ["46 06 06 27 00 03"]),
    Row("solax-x-hac", "set_current_limit", 10, {}, ["46 06 06 28 03 e8"]),
    Row("solax-x-hac", "cable_lock", None, {(H, 0x0615): 0}, ["46 06 06 15 00 01"]),
    Row("solax-x-hac", "cable_lock", None, {(H, 0x0615): 1}, []),  # kept in EEPROM: never written unchanged
    # Stegen: 2 in 0.1 A, 5 gives access.
    Row("stegen-smartevse", "set_current_limit", 10.25, {}, ["01 06 00 02 00 66"]),
    Row("stegen-smartevse", "charge_stop", None, {}, ["01 06 00 05 00 00"]),
    # Sungrow: unit 248; 21202 = 52D2h in 0.1 A, 21210 = 52DAh available, 21211 = 52DBh: 0 starts, 1 stops.
    Row("sungrow-ac011e", "set_current_limit", 10.25, {}, ["f8 06 52 d2 00 66"]),
    Row("sungrow-ac011e", "charge_stop", None, {}, ["f8 06 52 db 00 01"]),
    Row("sungrow-ac011e", "charge_start", None, {}, ["f8 06 52 da 00 01", "f8 06 52 db 00 00", "f8 06 52 d2 00 a0"]),
    # ABB: 4100h in mA by function 16, 4103h lock.
    Row("abb-terra-ac", "set_current_limit", 16, {}, ["01 10 41 00 00 02 04 00 00 3e 80"]),
    Row("abb-terra-ac", "cable_lock", None, {}, ["01 06 41 03 00 01"]),
    Row("abb-terra-ac", "cable_unlock", None, {(H, 0x400D): 0x0200}, ["01 06 41 03 00 00"]),
    # cFos: 8093 = 1F9Dh in 0.1 A, 8094 = 1F9Eh enable, 8087 = 1F97h phases (0 three, 1 one).
    Row("cfos-power-brain", "set_current_limit", 10.25, {}, ["01 06 1f 9d 00 66"]),
    Row("cfos-power-brain", "charge_stop", None, {}, ["01 06 1f 9e 00 00"]),
    Row("cfos-power-brain", "charge_start", None, {(H, 8094): 0}, ["01 06 1f 9e 00 01"]),
    Row("cfos-power-brain", "set_phases", 1, {(H, 8094): 0}, ["01 06 1f 97 00 01"]),
    # Creasol: unit 227 = E3h, 3 mode (6 managed), 5 in A.
    Row("creasol-dombusevse", "set_current_limit", 10.9, {}, ["e3 06 00 05 00 0a"]),
    Row("creasol-dombusevse", "charge_stop", None, {}, ["e3 06 00 05 00 00"]),
    Row("creasol-dombusevse", "charge_start", None, {(H, 3): 1}, ["e3 06 00 03 00 06", "e3 06 00 05 00 10"]),
    # Modbus TCP. KEBA: 5004 = 138Ch in mA, 5014 = 1396h enable. Vestel and Webasto: 5004 in A.
    Row("keba-p30", "set_current_limit", 10, {}, ["ff 06 13 8c 27 10"]),
    Row("keba-p30", "charge_stop", None, {}, ["ff 06 13 96 00 00"]),
    Row("vestel-evc04", "set_current_limit", 10, {}, ["ff 06 13 8c 00 0a"]),
    Row("webasto-next", "charge_stop", None, {}, ["ff 06 13 8c 00 00"]),
    Row("webasto-live", "set_current_limit", 10, {}, ["ff 06 13 8c 00 0a"]),
    # Alfen: float at 1210 = 04BAh, phases at 1215 = 04BFh.
    Row("alfen-ng9xx", "set_current_limit", 10, {}, ["01 10 04 ba 00 02 04 41 20 00 00"]),
    Row("alfen-ng9xx", "set_phases", 1, {}, ["01 06 04 bf 00 01"]),
    # go-e, function 16 only: 299 = 012Bh in A, 337 = 0151h force (1 off), 332 = 014Ch phases (2 three), 204 = CCh lock.
    Row("go-e-charger", "set_current_limit", 10, {}, ["01 10 01 2b 00 01 02 00 0a"]),
    Row("go-e-charger", "charge_stop", None, {}, ["01 10 01 51 00 01 02 00 01"]),
    Row("go-e-charger", "set_phases", 3, {(H, 332): 1}, ["01 10 01 4c 00 01 02 00 02"]),
    Row("go-e-charger", "cable_lock", None, {}, ["01 10 00 cc 00 01 02 00 02"]),
    Row("go-e-charger", "cable_unlock", None, {(H, 204): 0}, []),
    # CHARX: 1300 = 0514h release, 1301 = 0515h in A. EVlink: 4001 = 0FA1h, 7 suspends, 8 resumes; 4004 = 0FA4h in A.
    Row("phoenix-charx-sec", "set_current_limit", 10, {}, ["ff 06 05 15 00 0a"]),
    Row("phoenix-charx-sec", "charge_stop", None, {}, ["ff 06 05 14 00 00"]),
    Row("schneider-evlink-pro-ac", "set_current_limit", 10, {}, ["ff 06 0f a4 00 0a"]),
    Row("schneider-evlink-pro-ac", "charge_stop", None, {}, ["ff 06 0f a1 00 07"]),
    # Bender: 1000 = 03E8h in A. HCC3: 1024 = 0400h in A, 1025 = 0401h: 1 pause, 2 resume, 4 start.
    Row("bender-cc612", "set_current_limit", 10, {}, ["ff 10 03 e8 00 01 02 00 0a"]),
    Row("mennekes-hcc3", "set_current_limit", 10, {}, ["ff 06 04 00 00 0a"]),
    Row("mennekes-hcc3", "charge_start", None, {(I, 773): 4}, ["ff 06 04 01 00 02"]),
    Row("mennekes-hcc3", "charge_start", None, {(I, 773): 1}, ["ff 06 04 01 00 04"]),
    # Victron: 5010 = 1392h, 5016 = 1398h in A. Wallbe: 528 = 0210h in 0.1 A, coil 468 = 01D4h pauses.
    Row("victron-evcs", "set_current_limit", 10, {}, ["01 06 13 98 00 0a"]),
    Row("victron-evcs", "charge_stop", None, {}, ["01 06 13 92 00 00"]),
    Row("wallbe-eco", "set_current_limit", 10, {}, ["ff 06 02 10 00 64"]),
    Row("wallbe-eco", "charge_stop", None, {}, ["ff 05 01 d4 ff 00"]),
    # FoxESS: 3001h in 0.1 A, 4000h lock (2 locks), 4001h (2 stops). EV11: 200 = C8h in mA, bit 15 = three phases.
    Row("foxess-evc", "set_current_limit", 10, {}, ["01 10 30 01 00 01 02 00 64"]),
    Row("foxess-evc", "charge_stop", None, {}, ["01 06 40 01 00 02"]),
    Row("foxess-evc", "cable_lock", None, {}, ["01 06 40 00 00 02"]),
    Row("pce-ev11", "set_current_limit", 10, {}, ["01 06 00 c8 a7 10"]),
    Row("pce-ev11", "charge_stop", None, {}, ["01 06 00 c8 80 00"]),
    Row("amperfied-connect", "set_current_limit", 10, {}, ["ff 10 01 05 00 01 02 00 64"]),
]  # fmt: skip


def test_every_charger_on_a_serial_line_has_actions_written_out_by_hand() -> None:
    serial = {model for model in profile.shipped() if profile.load(model).line.framing != "tcp"}
    assert serial - {row.model for row in ACTIONS} == set()


@pytest.mark.parametrize("row", ACTIONS, ids=lambda row: f"{row.model} {row.action} {row.value or ''}".strip())
def test_an_action_sends_the_frames_of_the_manual(row: Row) -> None:
    charger, image = connected(row.model, row.changes, unverified=True)
    image.requests.clear()
    image.run(charger.act(row.action, row.value))
    assert frames(image) == row.sent


STARTS: list[tuple[str, Changes, list[str]]] = [
    ("heidelberg-ec", {(H, 258): 0}, ["01 06 01 02 00 04"]),
    ("heidelberg-ec", {(H, 258): 4}, []),
    ("evse-din", {(H, 2005): 0x0209, (H, 1000): 16}, ["01 10 07 d5 00 01 02 02 89"]),
    ("evse-din", {(H, 2005): 0x0209, (H, 1000): 16, (H, 1005): 16}, []),
    ("phoenix-ev-cc-ser", {(H, 4000): 2}, ["01 06 0f a0 00 03"]),
    ("phoenix-ev-cc-ser", {(H, 4000): 0, (C, 20000): 0}, ["01 05 4e 20 ff 00", "01 06 0f a0 00 03"]),
    ("phoenix-ev-cc-ser", {(H, 4000): 1, (C, 20000): 0, (I, 24004): 1}, ["01 05 4e 20 ff 00", "01 06 0f a0 00 03"]),
    ("phoenix-ev-cc-ser", {(H, 4000): 1, (C, 20000): 0, (I, 24004): 0}, ["01 06 0f a0 00 03"]),
    ("mennekes-compact", {}, []),
]


@pytest.mark.parametrize(("model", "changes", "sent"), STARTS)
def test_the_start_writes_what_the_charger_needs_and_nothing_twice(
    model: str, changes: Changes, sent: list[str]
) -> None:
    charger, image = connected(model, changes)
    assert frames(image) == sent
    charger.reconnect()
    image.requests.clear()
    image.run(charger.connect())
    assert frames(image) == []


def test_a_heidelberg_that_cannot_read_its_standby_back_is_told_at_each_connection() -> None:
    loaded = profile.load("heidelberg-ec")
    image = RegisterImage.of_example(loaded)
    del image.tables[H][258]  # register layout 1.0.7 and older
    charger = Charger(loaded, loaded.line.unit)
    image.run(charger.connect())
    assert frames(image) == ["01 06 01 02 00 04"]
    assert charger.values["current_limit"] == 16


REFUSALS: list[tuple[str, str, float | None, Changes, str]] = [
    ("mennekes-compact", "set_phases", 1, {}, "en pause"),
    ("mennekes-compact", "set_phases", 1, {(H, 0x030C): 1, (H, 0x0D05): 0}, "ne sait pas"),
    ("heidelberg-ec", "set_current_limit", 5, {}, "hors des bornes 6 à 16 A"),
    ("heidelberg-ec", "set_current_limit", 16, {(I, 100): 10}, "hors des bornes 6 à 10 A"),
    ("phoenix-ev-cc-ser", "cable_lock", None, {(H, 4009): 1}, "câble attaché"),
    ("phoenix-ev-cc-ser", "set_current_limit", 32, {}, "hors des bornes 6 à 20 A"),
    ("schrack-cion", "cable_lock", None, {(H, 506): 1}, "câble attaché"),
    ("schrack-cion", "cable_unlock", None, {}, "une charge est en cours"),
    ("pulsares-simplebox", "set_phases", 1, {(H, 0x77): 0}, "module de phases"),
    ("pulsares-simplebox", "set_phases", 1, {(H, 0x07): 3}, "micrologiciel 4"),
    ("kse-wbx16", "set_phases", 1, {(I, 16): 4, (I, 48): 0x3451}, "lettre R"),
    ("obo-ion", "set_current_limit", 20, {}, "hors des bornes 6 à 16 A"),
    ("raedian", "cable_lock", None, {}, "n'a pas la commande"),
]


@pytest.mark.parametrize(("model", "action", "value", "changes", "reason"), REFUSALS)
def test_what_the_charger_cannot_do_is_refused_with_its_reason_and_nothing_is_sent(
    model: str, action: str, value: float | None, changes: Changes, reason: str
) -> None:
    charger, image = connected(model, changes)
    image.requests.clear()
    with pytest.raises(ActionError, match=reason):
        image.run(charger.act(action, value))
    assert frames(image) == []


STATES: list[tuple[str, Changes, int]] = [
    ("mennekes-compact", {(H, 0x0100): 1}, 1),
    ("mennekes-compact", {(H, 0x0100): 3}, 2),
    ("mennekes-compact", {(H, 0x0100): 4}, 6),
    ("mennekes-compact", {(H, 0x0100): 6}, 5),
    ("heidelberg-ec", {(I, 5): 3}, 1),
    ("heidelberg-ec", {(I, 5): 5}, 6),
    ("heidelberg-ec", {(I, 5): 6}, 2),
    ("heidelberg-ec", {(I, 5): 8}, 3),
    ("heidelberg-ec", {(I, 5): 8, (I, 6): 0}, 6),
    ("heidelberg-ec", {(I, 5): 10}, 5),
    ("evse-din", {(H, 1002): 2}, 6),
    ("evse-din", {(H, 1002): 2, (H, 1000): 0}, 2),
    ("evse-din", {(H, 1002): 2, (H, 1000): 16}, 2),  # 0.16 A
    ("evse-din", {(H, 1002): 2, (H, 1000): 16, (H, 1005): 15}, 6),  # 16 A
    ("evse-din", {(H, 1002): 4}, 3),
    ("evse-din", {(H, 1002): 5}, 5),
    ("phoenix-ev-cc-ser", {(I, 24000): 0x4132}, 1),
    ("phoenix-ev-cc-ser", {(I, 24000): 0x4231}, 2),
    ("phoenix-ev-cc-ser", {(I, 24000): 0x4232}, 6),
    ("phoenix-ev-cc-ser", {(I, 24000): 0x4331}, 2),
    ("phoenix-ev-cc-ser", {(I, 24000): 0x4630}, 5),
    ("schrack-cion", {(H, 139): ord("A")}, 1),
    ("schrack-cion", {(H, 139): ord("B")}, 6),
    ("schrack-cion", {(H, 139): ord("B"), (H, 100): 0}, 2),
    ("schrack-cion", {(H, 139): ord("B"), (H, 101): 0}, 2),
    ("schrack-cion", {(H, 139): ord("U")}, 5),
    ("schrack-cion", {(H, 121): 0x73}, 5),
    ("alphatec", {(H, 0): 8}, 6),
    ("alphatec", {(H, 0): 2, (H, 5): 0}, 2),
    ("pracht-alpha", {(H, 106): 1}, 6),
    ("pracht-alpha", {(H, 106): 1, (H, 2): 0}, 2),
    ("pracht-alpha", {(H, 106): 3}, 3),
    ("pracht-alpha-2", {(H, 4): 16}, 6),
    ("pracht-alpha-2", {(H, 107): 0}, 1),
    ("pulsares-simplebox", {(H, 0x1B): 0}, 1),
    ("pulsares-simplebox", {(H, 0x1F): 2}, 6),
    ("pulsares-simplebox", {(H, 0x1F): 2, (H, 0x5D): 0}, 2),
    ("pulsares-simplebox", {(H, 0x1F): 4}, 3),
    ("obo-ion", {(H, 11): 1}, 6),
    ("obo-ion", {(H, 11): 1, (H, 5): 0}, 2),
    ("obo-ion", {(H, 11): 4}, 5),
    ("kse-wbx16", {(I, 16): 4}, 6),
    ("kse-wbx16", {(I, 16): 4, (H, 3): 0}, 2),
    ("kse-wbx16", {(I, 16): 1}, 1),
    ("raedian", {(H, 0x800D): 0x8200}, 6),  # bit 7 of the code only says "limited"
    ("raedian", {(H, 0x800D): 0x0300}, 2),
]


@pytest.mark.parametrize(("model", "changes", "state"), STATES)
def test_the_state_means_the_same_on_every_model(model: str, changes: Changes, state: int) -> None:
    charger, _ = connected(model, changes)
    assert charger.values["state"] == state


def test_a_code_that_says_nothing_keeps_the_state_before_it() -> None:
    charger, image = connected("mennekes-compact", {})
    image.tables[H][0x0100] = 0
    image.run(charger.poll())
    assert charger.values["state"] == 3


@pytest.mark.parametrize(
    ("model", "changes", "locked"),
    [
        ("mennekes-compact", {(H, 0x0D02): 1}, 0),
        ("mennekes-compact", {(H, 0x0D02): 2, (H, 0x030D): 1}, 3),
        ("phoenix-ev-cc-ser", {(C, 20002): 0}, 0),
        ("phoenix-ev-cc-ser", {(H, 4002): 0, (H, 4009): 0}, 1),
        ("phoenix-ev-cc-ser", {(H, 4002): 0, (H, 4009): 0, (I, 24000): 0x4131}, 0),
        ("schrack-cion", {(H, 121): 0x11}, 0),
    ],
)
def test_the_cable_state_is_locked_plus_twice_permanently(model: str, changes: Changes, locked: int) -> None:
    charger, _ = connected(model, changes)
    assert charger.values["cable_state"] == locked


def test_a_raedian_resumes_with_the_limit_it_was_given_although_it_cannot_be_read() -> None:
    charger, image = connected("raedian", {(H, 0x800D): 0x0100})
    image.run(charger.act("set_current_limit", 10))
    image.run(charger.act("charge_stop"))
    image.requests.clear()
    image.run(charger.act("charge_start"))
    assert frames(image) == ["01 10 81 00 00 02 04 00 00 27 10"]
    assert charger.values["current_limit"] == 10
