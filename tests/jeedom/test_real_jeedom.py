"""The plugin in a real Jeedom, from the zip to its removal, with a simulated charger and a browser.

Needs a Jeedom made for tests, on this machine: JEEDOM_ROOT (its folder) and JEEDOM_URL, run as root. The plugin is
installed and removed at the end, with its equipments: a Jeedom that already has some is left alone. An administrator
is made for the browser, and removed as well. The tests are one story, told in order.
"""

from __future__ import annotations

import json
import os
import pty
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
JEEDOM = Path(os.environ.get("JEEDOM_ROOT", ""))
URL = os.environ.get("JEEDOM_URL", "")
MODEL = "abb-terra-ac"
PARTS = (
    "core",
    "desktop",
    "docs",
    "plugin_info",
    "resources/evcharger",
    "resources/evchargerd",
    "data/.htaccess",
    "data/README.md",
)
INSTALL_SECONDS = 240  # the dependencies are downloaded
START_SECONDS = 30  # much less than the five minutes after which Jeedom would start the daemon by itself
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

pytestmark = pytest.mark.skipif(
    not (os.environ.get("JEEDOM_ROOT") and URL), reason="JEEDOM_ROOT and JEEDOM_URL are not set: no real Jeedom"
)


def php(code: str) -> Any:
    """What this PHP expression is worth in Jeedom, as the web server's user."""
    script = f"require '{JEEDOM}/core/php/core.inc.php'; class_exists('EVcharger'); echo json_encode({code});"
    command = ["sudo", "-u", "www-data", "env", "-i", "PATH=/usr/bin:/bin", "php", "-r", script]
    result = subprocess.run(command, capture_output=True, text=True, cwd="/", timeout=120, check=False)
    assert result.returncode == 0, result.stderr + result.stdout
    return json.loads(result.stdout)


def do(statements: str) -> Any:
    return php(f"(function () {{ {statements} }})()")


def until(wanted: Callable[[], Any], seconds: float, what: str) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := wanted()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.5)
    return found


def install(archive: Path) -> None:
    """As « Plugins > Ajouter depuis un fichier » does; an update where the plugin is there."""
    copy = "/tmp/jeedom_install_EVcharger.zip"
    shutil.copy(archive, copy)
    shutil.chown(copy, "www-data")  # Jeedom deletes it
    do(
        "$u = update::byLogicalId('EVcharger'); if (!is_object($u)) { $u = new update(); }"
        "$u->setLogicalId('EVcharger'); $u->setType('plugin'); $u->setSource('file');"
        f"$u->setConfiguration('path', '{copy}'); $u->save(); $u->doUpdate();"
    )


def daemons() -> list[list[str]]:
    """Arguments of the running daemons of this Jeedom."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue  # it has ended
        if "evchargerd" in arguments and "run" in arguments and any(str(JEEDOM) in each for each in arguments):
            found.append(arguments)
    return found


def wait_for_daemon(seconds: float = START_SECONDS) -> None:
    until(
        lambda: daemons() and php("plugin::byId('EVcharger')->deamon_info()['state']") == "ok",
        seconds,
        "the daemon runs",
    )


def cmd(logical_id: str) -> str:
    """The PHP expression of a command of our charger, the only one there is."""
    return f"cmd::byEqLogicIdAndLogicalId(eqLogic::byType('EVcharger')[0]->getId(), '{logical_id}')"


def value(logical_id: str) -> Any:
    return php(f"{cmd(logical_id)}->execCmd()")


class Simulator:
    """A simulated charger on TCP, played by keys as on a terminal."""

    def __init__(self) -> None:
        self.keyboard, terminal = pty.openpty()
        command = [
            REPOSITORY / "resources/evcharger",
            "simulate",
            "--model",
            MODEL,
            "--tcp",
            "127.0.0.1:0",
            "--scenario",
            "idle",
        ]
        self.process = subprocess.Popen(
            command, stdin=terminal, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        os.close(terminal)
        assert self.process.stdout is not None
        self.port = "socket://" + self.process.stdout.readline().strip()

    def play(self, keys: str) -> None:
        os.write(self.keyboard, keys.encode())

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=10)
        os.close(self.keyboard)


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    simulator = Simulator()
    yield simulator
    simulator.stop()


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("zip") / "EVcharger.zip"
    subprocess.run([sys.executable, REPOSITORY / "tests/package.py", path, *PARTS], check=True, capture_output=True)
    return path


@pytest.fixture(scope="module", autouse=True)
def nothing_of_the_users() -> None:
    if php("count(eqLogic::byType('EVcharger'))"):
        pytest.exit("This Jeedom has EVcharger equipments, which these tests would remove.", 1)


@pytest.fixture(scope="module")
def administrator() -> Iterator[tuple[str, str]]:
    """Name and password of a user for these tests."""
    name, password = "evcharger_tests", secrets.token_urlsafe()
    remove = f"$u = user::byLogin('{name}'); if (is_object($u)) {{ $u->remove(); }}"
    do(
        f"{remove} $u = new user(); $u->setLogin('{name}'); $u->setPassword(sha512('{password}'));"
        "$u->setProfils('admin'); $u->save();"
    )
    yield name, password
    do(remove)


@pytest.fixture(scope="module")
def page(administrator: tuple[str, str]) -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = browser.new_context(viewport={"width": 1400, "height": 1000}, locale="fr-FR").new_page()
        page.goto(f"{URL}/index.php?v=d")
        page.fill("#in_login_username", administrator[0])
        page.fill("#in_login_password", administrator[1])
        page.click("#bt_login_validate")
        page.wait_for_selector("#jeedomMenuBar")
        yield page
        browser.close()


def show(page: Any, query: str) -> None:
    page.goto(f"{URL}/index.php?{query}")
    page.wait_for_function("document.querySelector('#div_pageContainer')?.children.length > 0")
    page.wait_for_function("getComputedStyle(document.querySelector('#div_jeedomLoading')).display === 'none'")


def show_charger(page: Any) -> None:
    show(page, f"v=d&m=EVcharger&p=EVcharger&id={php(cmd('state') + '->getEqLogic_id()')}")
    page.wait_for_function("document.querySelector('#sel_EVchargerModel').value != ''")


def save(page: Any) -> None:
    with page.expect_navigation(url="**saveSuccessFull=1**", wait_until="commit"):
        page.click('.eqLogicAction[data-action="save"]')
    page.wait_for_function("document.querySelector('#sel_EVchargerModel')?.value != ''")


def test_the_zip_brings_a_running_daemon(archive: Path) -> None:
    install(archive)
    do("plugin::byId('EVcharger')->setIsEnable(1);")
    until(
        lambda: php("plugin::byId('EVcharger')->dependancy_info(true)['state']") == "ok",
        INSTALL_SECONDS,
        "dependencies are installed",
    )
    wait_for_daemon()
    assert php("plugin::byId('EVcharger')->deamon_info()['launchable']") == "ok"


def test_the_key_is_not_in_the_process_list_nor_in_the_logs() -> None:
    key = php("jeedom::getApiKey('EVcharger')")
    assert daemons()
    assert not [arguments for arguments in daemons() if key in " ".join(arguments)]
    assert not [path for path in (JEEDOM / "log").glob("EVcharger*") if key in path.read_text(errors="replace")]


def test_a_charger_is_added_and_tested_on_the_page(page: Any, simulator: Simulator) -> None:
    show(page, "v=d&m=EVcharger&p=EVcharger")
    page.click('.eqLogicAction[data-action="add"]')
    page.fill(".jeeDialogPrompt input", "Borne d'essai")
    page.click('.jeeDialogPrompt button[data-type="confirm"]')
    page.wait_for_function("document.querySelector('#sel_EVchargerModel')?.options.length > 1")
    page.fill("#in_EVchargerSearch", "terra")
    page.select_option("#sel_EVchargerModel", MODEL)
    page.wait_for_selector("#div_EVchargerModel li")
    page.select_option('.eqLogicAttr[data-l1key="object_id"]', index=1)
    page.select_option("#sel_EVchargerPort", "")
    page.fill("#in_EVchargerPort", "socket://127.0.0.1:1")
    page.click("#bt_EVchargerTest")
    page.wait_for_selector("#div_EVchargerTest .alert-danger")
    assert "socket://127.0.0.1:1" in page.inner_text("#div_EVchargerTest")
    page.fill("#in_EVchargerPort", simulator.port)
    page.click("#bt_EVchargerTest")
    page.wait_for_selector('#div_EVchargerTest tr[data-logicalid="state"]')
    assert "1 (Débranché)" in page.inner_text('#div_EVchargerTest tr[data-logicalid="state"]')
    save(page)
    until(lambda: value("online") == 1, 20, "the saved charger answers")
    assert value("state") == 1


def test_a_second_save_changes_nothing(page: Any) -> None:
    rows = "DB::Prepare('SELECT * FROM cmd WHERE eqType=\"EVcharger\" ORDER BY id', array(), DB::FETCH_TYPE_ALL)"
    show_charger(page)
    save(page)
    before = php(rows)
    assert len(before) > 10
    show_charger(page)
    save(page)
    assert php(rows) == before


def test_the_dashboard_follows_the_car_and_locks_the_cable_by_a_click(page: Any, simulator: Simulator) -> None:
    show(page, "v=d&p=dashboard")
    page.wait_for_selector('.cmd[data-template="EVcharger_state"] img[src*="compact_1.png"]')
    simulator.play("pc")
    page.wait_for_selector('.cmd[data-template="EVcharger_state"] img[src*="compact_3.png"]', timeout=30000)
    lock = page.locator('.cmd[data-template="EVcharger_Cable_lock"] button:visible')
    lock.click()
    page.wait_for_selector(
        '.cmd[data-template="EVcharger_Cable_lock"] img[src*="widget_lock_3_"]:visible', timeout=30000
    )
    assert value("cable_locked_permanently") == 1


def test_a_refused_action_says_why_on_the_dashboard(page: Any) -> None:
    show(page, "v=d&p=dashboard")
    page.locator('.cmd[data-template="EVcharger_Cable_lock"] button:visible').click()
    page.wait_for_selector("text=une charge est en cours", timeout=20000)
    assert value("cable_locked_permanently") == 1


def test_a_scenario_set_off_by_the_state_locks_the_cable(simulator: Simulator) -> None:
    simulator.play("u")
    until(lambda: value("state") == 1, 20, "the car is gone")
    php(f"{cmd('cable_unlock')}->execCmd()")
    until(lambda: value("cable_locked_permanently") == 0, 20, "the cable is unlocked")
    element = {
        "type": "action",
        "subElements": [
            {
                "type": "action",
                "subtype": "action",
                "expressions": [{"type": "action", "expression": "LOCK", "options": {}}],
            }
        ],
    }
    scenario = do(
        f"$state = {cmd('state')}->getId(); $lock = {cmd('cable_lock')}->getId();"
        "$s = new scenario(); $s->setName('EVcharger essai'); $s->setIsActive(1); $s->setMode('provoke');"
        "$s->setTrigger(array('#' . $state . '#')); $s->save();"
        f"$element = json_decode(str_replace('LOCK', '#' . $lock . '#', '{json.dumps(element)}'), true);"
        "$s->setScenarioElement(array(scenarioElement::saveAjaxElement($element))); $s->save(); return $s->getId();"
    )
    try:
        simulator.play("p")
        until(lambda: value("cable_locked_permanently") == 1, 30, "the scenario has locked the cable")
    finally:
        do(f"scenario::byId({scenario})->remove();")


def open_tool(page: Any, button: str, name: str) -> Any:
    page.click(button)
    page.wait_for_selector(f"#md_EVcharger{name}")
    return page.locator(f"#md_EVcharger{name}")


def close_tool(page: Any) -> None:
    page.click("#jee_EVcharger .btClose")


def role(name: str) -> str:
    return f'[data-role="{name}"]'


def test_a_charger_is_found_and_added_by_a_click(page: Any, simulator: Simulator) -> None:
    other = Simulator()
    named = "function ($each) { return $each->getName() === 'ABB Terra AC'; }"
    added = f"array_values(array_filter(eqLogic::byType('EVcharger'), {named}))[0]"
    try:
        show(page, "v=d&m=EVcharger&p=EVcharger")
        scan = open_tool(page, "#bt_EVchargerScan", "Scan")
        for port, label in ((simulator.port, "Déjà configuré"), (other.port, "Ajouter")):
            scan.locator(role("port")).select_option("")
            scan.locator(role("typed")).locator("input").fill(port)
            scan.locator(role("depth")).select_option("quick")
            scan.locator(role("start")).click()
            scan.locator(f'tbody tr:has-text("{port}"):has-text("{label}")').wait_for(timeout=120000)
            scan.locator(role("start")).wait_for(timeout=120000)
        assert "ABB Terra AC" in scan.locator("tbody").inner_text()
        scan.locator("tbody .btn-success").click()
        scan.locator(".label-success").wait_for()
        online = f"cmd::byEqLogicIdAndLogicalId({added}->getId(), 'online')->execCmd()"
        until(lambda: php(online) == 1, 20, "the added charger answers")
        assert php(f"{added}->getConfiguration('model')") == MODEL
        close_tool(page)
        page.locator(".eqLogicDisplayCard").nth(1).wait_for()
    finally:
        other.stop()
        do(f"if (count(eqLogic::byType('EVcharger')) > 1) {{ {added}->remove(); }}")


def test_a_user_writes_a_profile_of_his_own(page: Any) -> None:
    show(page, "v=d&m=EVcharger&p=EVcharger")
    profiles = open_tool(page, "#bt_EVchargerProfiles", "Profiles")
    text = profiles.locator(role("text"))
    profiles.locator(role("from")).select_option(MODEL)
    page.wait_for_function("document.querySelector('#md_EVchargerProfiles textarea').value.includes('\"points\"')")
    good = json.loads(text.input_value())
    assert good["id"] == f"mon-{MODEL}"
    text.fill(json.dumps(good | {"brand": 3}, indent=2))
    profiles.locator(role("save")).click()
    profiles.locator(".alert-danger").wait_for()
    assert "$.brand" in profiles.locator(".alert-danger").inner_text()
    kept = JEEDOM / f"plugins/EVcharger/data/chargers/mon-{MODEL}.json"
    assert not kept.exists()
    text.fill(json.dumps(good, indent=2))
    profiles.locator(role("save")).click()
    profiles.locator(f'tr[data-id="mon-{MODEL}"] .label-success').wait_for()
    assert json.loads(kept.read_text()) == good
    assert page.locator(f'#sel_EVchargerModel option[value="mon-{MODEL}"]').count() == 1, "it can be chosen at once"
    profiles.locator(f'tr[data-id="mon-{MODEL}"] .fa-trash').click()
    page.click('button[data-type="confirm"]:visible')
    profiles.locator(f'tr[data-id="mon-{MODEL}"]').wait_for(state="detached")
    assert not kept.exists()


def test_registers_are_shown_as_they_are_read(page: Any) -> None:
    show_charger(page)
    registers = open_tool(page, "#bt_EVchargerRegisters", "Registers")
    registers.locator(role("address")).fill("0x400C")  # ABB, TAC Modbus Communication: charging state, 2 registers
    registers.locator(role("count")).fill("2")
    registers.locator(role("go")).click()
    registers.locator("tbody tr").nth(1).wait_for()
    assert registers.locator("tbody tr").first.inner_text().startswith("16396")
    registers.locator(role("as")).locator("select").select_option("uint32")
    assert registers.locator("tbody tr").count() == 1
    registers.locator(role("address")).fill("beaucoup")
    registers.locator(role("address")).press("Enter")
    registers.locator(".alert-danger").wait_for()


def test_a_capture_is_given_to_an_administrator_only(page: Any) -> None:
    show_charger(page)
    capture = open_tool(page, "#bt_EVchargerCapture", "Capture")
    capture.locator(role("seconds")).fill("3")
    capture.locator(role("start")).click()
    capture.locator(".alert-success").wait_for(timeout=30000)
    with page.expect_download() as download:
        capture.locator("tbody .btn").first.click()
    captured = json.loads(Path(download.value.path()).read_text())
    assert captured["frames"]
    assert captured["profile"]["id"] == MODEL
    assert "127.0.0.1" not in json.dumps(captured)
    name = download.value.suggested_filename
    stranger = page.context.browser.new_context().request
    assert stranger.get(f"{URL}/plugins/EVcharger/data/captures/{name}").status == 403
    refused = stranger.post(
        f"{URL}/plugins/EVcharger/core/ajax/EVcharger.ajax.php", form={"action": "capture_text", "name": name}
    )
    assert refused.json()["state"] == "error"


def test_disabled_it_stops_and_enabled_it_is_back(simulator: Simulator) -> None:
    do("plugin::byId('EVcharger')->setIsEnable(0);")
    until(lambda: not daemons(), 10, "the daemon has stopped")
    do("plugin::byId('EVcharger')->setIsEnable(1);")
    wait_for_daemon()
    simulator.play("u")
    until(lambda: value("state") == 1, 20, "values arrive again")


def test_an_update_keeps_what_is_the_users(archive: Path) -> None:
    plugin = JEEDOM / "plugins/EVcharger"
    (plugin / "data/chargers").mkdir(exist_ok=True)
    own = plugin / "data/chargers/mine.json"
    own.write_text("{}")
    os.utime(own, (0, 0))
    do(f"$c = {cmd('power')}; $c->setName('Ma puissance'); $c->setIsVisible(0); $c->save();")
    install(archive)
    wait_for_daemon()
    assert own.exists()
    assert php(f"array({cmd('power')}->getName(), {cmd('power')}->getIsVisible())") == ["Ma puissance", 0]
    until(lambda: value("online") == 1, 20, "the charger answers again")


def test_removed_it_leaves_nothing_running() -> None:
    do("update::byLogicalId('EVcharger')->deleteObjet();")
    until(lambda: not daemons(), 10, "the daemon has stopped")
    assert not (JEEDOM / "plugins/EVcharger").exists()
    assert php("count(eqLogic::byType('EVcharger'))") == 0
