"""The plugin's own windows (scan, registers, profiles, capture) in Chromium, without Jeedom: what they ask and show.

Their PHP is stripped, for it only lets administrators in; the page around them is played by a few lines. How they do in
Jeedom itself is for test_real_jeedom.py.
"""

from __future__ import annotations

import json
import re
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is missing: no window is tried in a browser")

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = shutil.which("chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
PAGE = """
const EVchargerPage = {
  ports: { '/dev/ttyUSB0': 'ttyUSB0' }, models: [], told: TOLD,
  element(tag, attributes = {}, ...children) {
    const made = document.createElement(tag)
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value)
    made.append(...children)
    return made
  },
  option: (value, text) => EVchargerPage.element('option', { value }, text),
  ask(action, data, success, failure) {
    window.asked.push([action, data])
    const answer = window.answers[action]
    setTimeout(() => answer?.refusal ? failure(answer.refusal) : success(answer ?? null))
  },
  listen() {}, setModels() {}
}
window.asked = []
window.answers = ANSWERS
"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is missing: no window is tried in a browser")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium.new_context()
        chromium.close()


class Window:
    """A modal, by its elements with a data-role."""

    def __init__(self, page: Any) -> None:
        self.page = page

    def role(self, name: str) -> Any:
        return self.page.locator(f'[data-role="{name}"]')

    def rows(self) -> list[list[str]]:
        return [row.locator("td").all_inner_texts() for row in self.page.locator("tbody tr").all()]

    def answers(self, **answers: object) -> None:
        self.page.evaluate("answers => Object.assign(window.answers, answers)", answers)

    def asked(self, action: str) -> list[Any]:
        return [data for name, data in self.page.evaluate("window.asked") if name == action]


@pytest.fixture
def open_window(browser: Any) -> Iterator[Any]:
    pages = []

    def open_it(name: str, told: object = None, **answers: object) -> Window:
        markup = re.sub(r"<\?php.*?\?>", "", (ROOT / f"desktop/modal/{name}.php").read_text(), flags=re.DOTALL)
        script = PAGE.replace("TOLD", json.dumps(told or {})).replace("ANSWERS", json.dumps(answers))
        markup = markup.replace("{{", "").replace("}}", "")
        page = browser.new_page()
        pages.append(page)
        page.set_default_timeout(5000)
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.set_content(
            f'<div class="jeeDialog"><button class="btClose"></button><script>{script}</script>{markup}</div>'
        )
        page.errors = errors
        return Window(page)

    yield open_it
    for page in pages:
        assert not page.errors
        page.close()


def words(layout: str, value: float) -> list[int]:
    return list(struct.unpack(">2H", struct.pack(layout, value)))


@pytest.mark.parametrize(
    ("shown_as", "read", "expected"),
    [
        ("uint16", [65535, 7], ["65535", "7"]),
        ("int16", [65535, 7], ["-1", "7"]),
        ("uint32", words(">I", 4_000_000_000), ["4000000000"]),
        ("uint32le", words(">I", 4_000_000_000)[::-1], ["4000000000"]),
        ("int32", words(">i", -5), ["-5"]),
        ("int32le", words(">i", -5)[::-1], ["-5"]),
        ("float32", words(">f", 230.5), ["230.5"]),
        ("float32le", words(">f", 230.5)[::-1], ["230.5"]),
        ("float32", [*words(">f", 230.5), 1], ["230.5", ""]),
        ("text", [0x4B45, 0x0041], ["« KE »", "« ·A »"]),
        ("bits", [0x8001], ["1000 0000 0000 0001"]),
    ],
)
def test_registers_are_shown_as_the_type_that_was_chosen(
    open_window: Any, shown_as: str, read: list[int], expected: list[str]
) -> None:
    window = open_window("registers", {"settings": {"port": "/dev/ttyUSB0"}}, registers=read)
    window.role("address").fill("0x10")
    window.role("as").locator("select").select_option(shown_as)
    window.role("go").click()
    window.page.wait_for_selector("tbody tr")
    assert [row[3] for row in window.rows()] == expected
    assert window.rows()[0][:2] == ["16", "0x0010"]
    asked = window.asked("registers")[0]
    assert (asked["table"], asked["address"], asked["count"]) == ("holding", 16, 10)


def test_a_register_that_changes_is_marked_and_a_refusal_does_not_end_the_reading(open_window: Any) -> None:
    window = open_window("registers", {"settings": {}}, registers={"refusal": "registre inexistant"})
    window.role("every").fill("1")
    window.role("go").click()
    window.page.wait_for_selector("text=registre inexistant")
    window.answers(registers=[1, 2])
    window.page.wait_for_selector("tbody tr")
    assert window.page.locator(".EVchargerChanged").count() == 0
    window.answers(registers=[1, 3])
    window.page.wait_for_selector(".EVchargerChanged")
    assert window.page.locator(".EVchargerChanged").all_inner_texts() == ["0003", "3"]


@pytest.mark.parametrize("address", ["", "-1", "65536", "0x10000", "12h", "1e3"])
def test_an_address_that_is_none_is_not_asked_for(open_window: Any, address: str) -> None:
    window = open_window("registers", {"settings": {}}, registers=[1])
    window.role("address").fill(address)
    window.role("go").click()
    window.page.wait_for_selector(".alert-danger")
    assert window.asked("registers") == []


@pytest.mark.parametrize(
    ("path", "line"),
    [("$.points.b.address", '"address": 2'), ("$.notes[1].fr_FR", '"fr_FR": "deux"'), ("$.notes[1].en_US", '{"fr_FR"')],
)
def test_a_fault_of_a_profile_is_shown_where_it_is(open_window: Any, path: str, line: str) -> None:
    text = """{
  "id": "mine",
  "notes": [
    {"fr_FR": "un", "en_US": "a, b: {c}"},
    {"fr_FR": "deux"}
  ],
  "points": {
    "a": {"address": 1},
    "b": {"address": 2}
  }
}"""
    window = open_window("profiles", profiles=[], profile_check={"refusal": f"{path} : autre chose"})
    window.role("text").fill(text)
    window.role("check").click()
    window.page.wait_for_selector(".alert-danger")
    chosen = "t => t.value.slice(t.selectionStart, t.selectionEnd)"
    assert line in window.role("text").evaluate(chosen)
    assert f"{path} : autre chose" in window.page.inner_text(".alert-danger")


def test_what_is_no_json_is_not_sent(open_window: Any) -> None:
    window = open_window("profiles", profiles=[])
    window.role("text").fill('{\n  "id" "mine"\n}')
    window.role("save").click()
    window.page.wait_for_selector(".alert-danger")
    assert "ligne 2, colonne 8" in window.page.inner_text(".alert-danger")
    assert window.asked("profile_save") == []


def test_the_results_of_a_scan_can_be_added_once_it_has_ended(open_window: Any) -> None:
    line = {"port": "/dev/ttyUSB0", "baudrate": 19200, "parity": "E", "stopbits": 1, "framing": "rtu", "shown": []}
    models = [{"id": "one", "title": "One"}, {"id": "two", "title": "<b>Two</b>"}]
    found = [
        line | {"unit": 1, "models": models},
        line | {"unit": 2, "models": models[:1], "equipment": {"id": 7, "name": "[Garage][Borne]"}},
        line | {"unit": 3, "models": [], "answers": [{"table": "input", "address": 16, "words": [1, 43981]}]},
    ]
    state = {"progress": 0.4, "text": "…", "found": found, "errors": {"/dev/ttyS0": "accès refusé"}, "done": False}
    window = open_window("scan", scan=1, scan_state=state, add={"id": 9, "name": "[Aucun][Two]"})
    window.page.wait_for_selector("tbody tr")
    assert window.page.locator("tbody .btn").count() == 0
    window.answers(scan_state=state | {"done": True, "progress": 1})
    window.page.wait_for_selector("tbody .btn")
    assert [row[5].split()[0] for row in window.rows()] == ["Ajouter", "Déjà", "Ajouter"]
    assert "input 0x0010 : 0001 ABCD" in window.rows()[2][4]
    assert "/dev/ttyS0 : accès refusé" in window.role("errors").inner_text()
    window.page.locator("tbody select").select_option("two")
    window.page.locator("tbody .btn").first.click()
    window.page.wait_for_selector("text=Ajouté")
    added = window.asked("add")[0]
    assert added["name"] == "<b>Two</b>"
    expected = {"model": "two", "port": "/dev/ttyUSB0", "unit": 1, "baudrate": 19200, "parity": "E", "stopbits": 1}
    assert json.loads(added["settings"]) == expected


def test_a_scan_can_be_stopped_even_when_the_daemon_has_gone(open_window: Any) -> None:
    running = {"progress": 0.1, "text": "…", "found": [], "errors": {}, "done": False}
    window = open_window("scan", scan_state=running, scan_stop={"refusal": "pas démarré"})
    window.role("stop").click()
    window.page.wait_for_selector("text=pas démarré")
    assert window.role("start").is_visible()


def test_a_capture_that_is_refused_says_why_and_one_that_runs_can_be_ended(open_window: Any) -> None:
    window = open_window("capture", {"id": "7"}, captures=[], capture={"refusal": "activez l'équipement"})
    window.role("start").click()
    window.page.wait_for_selector("text=activez l'équipement")
    window.answers(
        capture={"seconds": 120},
        capture_stop={"file": "a.json"},
        captures=[{"name": "a.json", "bytes": 2000, "written": "27/11/2026 02:39"}],
    )
    window.role("start").click()
    window.role("stop").click()
    window.page.wait_for_selector("tbody tr")
    assert window.rows()[0][:3] == ["a.json", "27/11/2026 02:39", "2 Kio"]
    assert window.asked("capture")[0] == {"id": "7", "seconds": "120"}
