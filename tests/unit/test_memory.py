"""What the daemon remembers of a charger: over restarts, in a file that is whole or not there."""

import json
import logging
import os
import stat
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evchargerd import memory as memory_module
from evchargerd.memory import SHAPES, Memory, Store, write_atomically


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "memory")


def full() -> Memory:
    return Memory(
        plugged=True,
        plugged_at=1_700_000_000.25,
        drawn=True,
        counters={"energy_total": 128.777},
        rises={"energy_total": 4.5},
        remembered={"cable_locked_permanently": 1},
        written={"limit": 16.0},
        last_limit=13.5,
    )


# --- Sessions --------------------------------------------------------------------------------------------------------


def test_a_session_lasts_from_plugging_to_unplugging() -> None:
    memory = Memory()
    assert memory.duration(1000) is None
    memory.plug(1000, {})
    assert memory.duration(1061.4) == 61
    memory.unplug(1100, {})
    assert memory.duration(5000) == 100


def test_a_clock_that_was_set_back_gives_no_negative_duration() -> None:
    memory = Memory()
    memory.plug(1000, {})
    assert memory.duration(400) == 0


def test_energy_is_the_rise_of_the_counter_in_this_session_and_then_in_the_last_one() -> None:
    memory = Memory()
    memory.plug(0, {"total": 100.0})
    assert memory.risen("total", {"total": 104.25}) == 4.25
    memory.unplug(60, {"total": 106.0})
    assert memory.risen("total", {"total": 110.0}) == 6.0
    memory.plug(120, {"total": 110.0})
    assert memory.risen("total", {"total": 110.0}) == 0
    assert memory.risen("other", {"total": 110.0}) is None


def test_a_session_whose_start_was_not_seen_has_no_energy() -> None:
    memory = Memory()
    memory.plug(0, {})
    assert memory.risen("total", {"total": 104.25}) is None
    memory.unplug(60, {"total": 106.0})
    assert memory.risen("total", {"total": 106.0}) is None


def test_the_energy_of_the_last_session_is_not_that_of_the_next() -> None:
    memory = Memory()
    memory.plug(0, {"total": 100.0})
    memory.unplug(60, {"total": 106.0})
    memory.plug(120, {})
    assert memory.risen("total", {"total": 110.0}) is None


def test_a_counter_that_started_again_from_zero_gives_no_negative_energy() -> None:
    memory = Memory()
    memory.plug(0, {"total": 100.0})
    assert memory.risen("total", {"total": 1.0}) == 0


# --- The file --------------------------------------------------------------------------------------------------------


def test_a_memory_survives_a_restart(tmp_path: Path) -> None:
    Store(tmp_path).save(12, full())
    assert Store(tmp_path).load(12) == full()


def test_chargers_have_memories_of_their_own(store: Store) -> None:
    store.save(1, Memory(last_limit=10))
    store.save(2, Memory(last_limit=16))
    assert (store.load(1).last_limit, store.load(2).last_limit) == (10, 16)


def test_a_charger_that_was_never_seen_has_an_empty_memory_and_no_warning(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    assert store.load(5) == Memory()
    assert caplog.records == []


def test_the_file_is_readable_by_its_owner_only(store: Store, tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        store.save(12, full())
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "memory" / "12.json").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "memory").stat().st_mode) == 0o700


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(tmp_path)
    store.save(12, Memory(last_limit=10))

    def full_disk(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(memory_module.os, "fsync", full_disk)
        store.save(12, Memory(last_limit=16))
    assert os.listdir(tmp_path) == ["12.json"]
    assert Store(tmp_path).load(12).last_limit == 10
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    store.save(12, Memory(last_limit=16))
    assert Store(tmp_path).load(12).last_limit == 16, "what failed is tried again"


def test_the_new_text_is_on_the_disk_before_it_takes_the_old_ones_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(memory_module.os, "fsync", lambda handle: (done.append("fsync"), fsync(handle)))
    monkeypatch.setattr(memory_module.os, "replace", lambda *paths: (done.append("replace"), replace(*paths)))
    write_atomically(tmp_path / "it", "text")
    assert done == ["fsync", "replace"]
    assert (tmp_path / "it").read_text() == "text"


def test_an_unchanged_memory_is_not_written_again(store: Store, tmp_path: Path) -> None:
    store.save(12, full())
    (tmp_path / "memory" / "12.json").unlink()
    store.save(12, full())
    assert not (tmp_path / "memory" / "12.json").exists()
    store.save(12, Memory())
    assert (tmp_path / "memory" / "12.json").exists()


def test_a_memory_just_loaded_is_not_written_again(tmp_path: Path) -> None:
    Store(tmp_path).save(12, full())
    before = (tmp_path / "12.json").stat().st_ino
    again = Store(tmp_path)
    again.save(12, again.load(12))
    assert (tmp_path / "12.json").stat().st_ino == before


def test_a_forgotten_charger_leaves_no_file(store: Store, tmp_path: Path) -> None:
    store.save(12, full())
    store.forget(12)
    store.forget(12)
    assert os.listdir(tmp_path / "memory") == []
    assert store.load(12) == Memory()


def test_without_a_folder_nothing_is_kept() -> None:
    store = Store(None)
    store.save(12, full())
    store.forget(12)
    assert store.load(12) == Memory()


def test_every_fact_has_a_shape() -> None:
    assert set(SHAPES) == {field.name for field in fields(Memory)}


# --- Files that nobody should have written ---------------------------------------------------------------------------

HOSTILE = [
    b"",
    b"{",
    b"null",
    b"[]",
    b"42",
    b'"text"',
    b"\xff\xfe\x00",
    b"\0" * 4096,
    b"[" * 100_000,
    b'{"counters": [1]}',
    b'{"counters": {"energy_total": "abc"}}',
    b'{"counters": {"energy_total": NaN}}',
    b'{"rises": {"energy_total": null}}',
    b'{"written": {"limit": [16]}}',
    b'{"written": {"limit": "16"}}',
    b'{"written": {"limit": true}}',
    b'{"remembered": {"cable_locked_permanently": {"a": 1}}}',
    b'{"remembered": {"cable_locked_permanently": Infinity}}',
    b'{"plugged_at": "yesterday"}',
    b'{"plugged_at": NaN}',
    b'{"plugged_at": 1e999}',
    b'{"plugged_at": ' + b"9" * 400 + b"}",
    b'{"plugged": 3}',
    b'{"plugged": "yes"}',
    b'{"drawn": null}',
    b'{"drawn": 1.5}',
    b'{"last_limit": true}',
    b'{"last_limit": -Infinity}',
]


@pytest.mark.parametrize("content", HOSTILE, ids=lambda content: repr(content[:60]))
def test_a_file_that_makes_no_sense_is_ignored_with_one_warning_in_french(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    (tmp_path / "12.json").write_bytes(content)
    assert Store(tmp_path).load(12) == Memory()
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "Mémoire du chargeur 12 illisible" in caplog.text


def test_a_folder_in_the_files_place_is_ignored_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "12.json").mkdir()
    assert Store(tmp_path).load(12) == Memory()
    Store(tmp_path).save(12, full())
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2


def test_a_broken_file_is_replaced_by_the_next_save(tmp_path: Path) -> None:
    (tmp_path / "12.json").write_text("{")
    store = Store(tmp_path)
    store.save(12, store.load(12))
    assert Store(tmp_path).load(12) == Memory()
    assert json.loads((tmp_path / "12.json").read_text())["plugged"] is None


def test_what_another_version_wrote_besides_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "12.json").write_text('{"last_limit": 10, "phase_of_the_moon": "full"}')
    assert Store(tmp_path).load(12) == Memory(last_limit=10)
    assert caplog.records == []


def test_a_text_that_is_no_unicode_can_be_saved_again(tmp_path: Path) -> None:
    (tmp_path / "12.json").write_text(r'{"remembered": {"x": "\ud800"}}')
    store = Store(tmp_path)
    memory = store.load(12)
    memory.last_limit = 10
    store.save(12, memory)
    assert Store(tmp_path).load(12) == Memory(remembered={"x": "\ud800"}, last_limit=10)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from([*SHAPES, "other"]), json_values))
def test_whatever_the_file_holds_the_memory_can_be_worked_with(tmp_path: Path, content: dict[str, Any]) -> None:
    (tmp_path / "1.json").write_text(json.dumps(content))
    memory = Store(tmp_path).load(1)
    assert memory.duration(1_700_000_000) is None or isinstance(memory.duration(1_700_000_000), int)
    for name in ("energy", *memory.counters):
        assert memory.risen(name, {name: 5.0}) is None or isinstance(memory.risen(name, {name: 5.0}), (int, float))
    memory.unplug(1_700_000_000, {"energy": 5.0})
    memory.plug(1_700_000_000, {"energy": 5.0})
    Store(tmp_path).save(1, memory)


def test_another_box_under_the_same_number_starts_with_a_blank_memory(tmp_path: Path) -> None:
    Store(tmp_path).save(12, Memory("abb-terra-ac /dev/ttyUSB0 1", last_limit=10))
    assert Store(tmp_path).load(12, "abb-terra-ac /dev/ttyUSB0 1").last_limit == 10
    assert Store(tmp_path).load(12, "abb-terra-ac /dev/ttyUSB0 2") == Memory("abb-terra-ac /dev/ttyUSB0 2")
