"""The dashboard's and the mobile page's widgets, seen in Chromium on the demo page.

The page renders the plugin's own template files. demo.js stands in for Jeedom's JavaScript, and
evchargerd.simulator.demo.widgets for its PHP. Needs Debian's chromium.
"""

import json
import re
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from evchargerd import catalog
from evchargerd.simulator.demo import widgets
from evchargerd.simulator.demo.server import Charger, DemoServer, Limit

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is missing: no widget is tried in a browser")
expect = sync_api.expect

CHROMIUM = shutil.which("chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip
KEY = "the daemon's key"
VERSIONS = ["dashboard", "mobile"]
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="chromium is missing: no widget is tried in a browser")


@dataclass
class Plant:
    """The demo's other side: records what it is asked for and answers as told."""

    demo: DemoServer
    acts: list[tuple[int, str, Any]] = field(default_factory=list)
    plays: list[tuple[int, str]] = field(default_factory=list)
    answer: dict[str, object] = field(default_factory=lambda: {"ok": True})

    def publish(self, charger: int, **values: object) -> None:
        """What the daemon does when values changed."""
        body = {"apikey": KEY, "chargers": {str(charger): values}, "events": []}
        assert self.post("callback", body, {}) == 200

    def post(self, path: str, body: object, headers: dict[str, str]) -> int:
        return self.fetch(path, json.dumps(body).encode(), headers)

    def fetch(self, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> int:
        request = urllib.request.Request(self.demo.url + path, body, headers or {})
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            return error.code


@pytest.fixture
def plant() -> Iterator[Plant]:
    def act(charger: int, logical_id: str, value: Any) -> dict[str, object]:
        plant.acts.append((charger, logical_id, value))
        return plant.answer

    def play(charger: int, what: str) -> None:
        plant.plays.append((charger, what))

    commands = tuple(catalog.load())
    without_lock = [command for command in commands if not command.startswith("cable_")]
    chargers = [
        Charger(1, "Garage", "With a socket", commands, Limit(6, 32, 1)),
        Charger(2, "Cour", "With a cable", without_lock, Limit(6, 16, 0.5)),
    ]
    plant = Plant(DemoServer(0, chargers, act, play, KEY))
    with plant.demo:
        yield plant


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium.new_context(locale="fr-FR", viewport={"width": 1280, "height": 900})
        chromium.close()


class Page:
    """The demo page in a browser, by what a user sees and does."""

    def __init__(self, page: Any, demo: DemoServer) -> None:
        self.page = page
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("response", lambda answer: self.errors.append(answer.url) if answer.status >= 400 else None)
        page.on("request", lambda asked: None if asked.url.startswith(demo.url) else self.errors.append(asked.url))
        page.goto(demo.url)
        expect(self.tile(1)).to_be_visible()

    def tile(self, charger: int) -> Any:
        return self.page.locator(f"[data-eqLogic_id='{charger}'].eqLogic")

    @property
    def state(self) -> Any:
        return self.tile(1).locator("[data-template=EVcharger_state]")

    @property
    def locks(self) -> Any:
        """The lock widgets that can be seen."""
        return self.tile(1).locator("[data-template=EVcharger_Cable_lock]:visible")

    def choose(self, setting: str, value: str) -> None:
        self.page.locator(f"input[name={setting}][value={value}] + span").click()

    def switch(self, setting: str) -> None:
        self.page.locator(f"input[name={setting}] + span").click()

    def set(self, theme: str = "Light", icons: int = 1, version: str = "dashboard") -> None:
        for setting, value in (("theme", theme), ("icons", f"'{icons}'"), ("version", version)):
            self.choose(setting, value)
        expect(self.state).to_have_attribute("data-version", version)


@pytest.fixture
def page(browser: Any, plant: Plant) -> Iterator[Page]:
    """The page in French, light, coloured. At its end nothing may have gone wrong in it, nor come from elsewhere."""
    page = Page(browser.new_page(), plant.demo)
    yield page
    page.page.close()
    assert page.errors == []


def picture(name: str) -> re.Pattern[str]:
    return re.compile(rf"/?plugins/EVcharger/desktop/img/{name}\.png$")


def assert_shows(widget: Any, name: str) -> None:
    """The one picture in `widget` is `name`, loaded and not broken."""
    image = widget.locator("img:visible")
    expect(image).to_have_count(1)
    expect(image).to_have_attribute("src", picture(name))
    image.evaluate("image => image.decode()")  # raises when it is broken


STATES = {
    1: ("Débranché", "Aucun véhicule n'est connecté au chargeur"),
    2: ("En attente", "Véhicule branché, en attente de charge"),
    3: ("Recharge", "Véhicule branché, charge en cours"),
    4: ("Terminé", "Véhicule branché, charge terminée"),
    5: ("Erreur", "Erreur"),
    6: ("Prêt", "Chargeur prêt"),
}


@needs_chromium
@pytest.mark.parametrize("version", VERSIONS)
class TestState:
    """EVcharger::state"""

    def test_each_state_has_its_picture_text_and_description(self, page: Page, plant: Plant, version: str) -> None:
        page.set(version=version)
        for state, (text, description) in STATES.items():
            plant.publish(1, state=state)
            expect(page.state.locator(".value")).to_have_text(text)
            expect(page.state.locator("img")).to_have_attribute("alt", description)
            expect(page.state.locator(".content")).to_have_attribute("title", description)
            assert_shows(page.state, f"compact_{state}")

    def test_a_page_opened_later_shows_the_last_value(self, page: Page, plant: Plant, version: str) -> None:
        plant.publish(1, state=4)
        page.page.reload()
        page.set(version=version)
        expect(page.state.locator(".value")).to_have_text("Terminé")
        assert_shows(page.state, "compact_4")

    def test_a_value_without_meaning_is_said_to_be_unknown(self, page: Page, plant: Plant, version: str) -> None:
        page.set(version=version)
        for value in (0, 7, 2.5, "", "?", -1, None):
            plant.publish(1, state=3)
            expect(page.state.locator(".value")).to_have_text("Recharge")
            plant.publish(1, state=value)
            expect(page.state.locator(".value")).to_have_text("État inconnu")
            expect(page.state.locator("img")).to_be_hidden()

    def test_an_unknown_state_is_said_even_without_text(self, page: Page, plant: Plant, version: str) -> None:
        page.switch("text")
        page.set(version=version)
        expect(page.state.locator(".value")).to_have_text("État inconnu")

    def test_the_vehicle_has_another_shape(self, page: Page, plant: Plant, version: str) -> None:
        page.choose("vehicle", "berline")
        page.set(version=version)
        for state in STATES:
            plant.publish(1, state=state)
            expect(page.state).to_have_attribute("data-state", str(state))
            assert_shows(page.state, f"berline_{state}")

    def test_the_picture_can_be_hidden(self, page: Page, plant: Plant, version: str) -> None:
        page.switch("picture")
        page.set(version=version)
        plant.publish(1, state=3)
        expect(page.state.locator(".value")).to_have_text("Recharge")
        expect(page.state.locator("img")).to_be_hidden()

    def test_the_text_can_be_hidden(self, page: Page, plant: Plant, version: str) -> None:
        page.switch("text")
        page.set(version=version)
        plant.publish(1, state=3)
        assert_shows(page.state, "compact_3")
        expect(page.state.locator(".value")).to_be_empty()

    def test_the_texts_are_in_the_language_of_jeedom(self, page: Page, plant: Plant, version: str) -> None:
        page.choose("language", "en_US")
        page.set(version=version)
        plant.publish(1, state=3)
        expect(page.state.locator(".value")).to_have_text("Charging")
        expect(page.state.locator("img")).to_have_attribute("alt", "Vehicle plugged in, charging")


@needs_chromium
@pytest.mark.parametrize("version", VERSIONS)
class TestCableLock:
    """EVcharger::Cable_lock"""

    @pytest.mark.parametrize(("theme", "letter"), [("Light", "l"), ("Dark", "d")])
    @pytest.mark.parametrize(("icons", "word"), [(1, "color"), (0, "bw")])
    def test_one_picture_for_each_state_theme_and_kind_of_icons(
        self, page: Page, plant: Plant, version: str, theme: str, letter: str, icons: int, word: str
    ) -> None:
        page.set(theme, icons, version)
        for state in range(4):
            plant.publish(1, cable_state=state)
            expect(page.locks.locator("img")).to_have_attribute("src", picture(f"widget_lock_{state}_{letter}_{word}"))
            assert_shows(page.locks, f"widget_lock_{state}_{letter}_{word}")

    def test_theme_and_icons_change_without_a_reload(self, page: Page, plant: Plant, version: str) -> None:
        page.set(version=version)
        plant.publish(1, cable_state=2)
        assert_shows(page.locks, "widget_lock_2_l_color")
        page.page.evaluate("window.reloaded = false")
        page.choose("theme", "Dark")
        assert_shows(page.locks, "widget_lock_2_d_color")
        page.choose("icons", "'0'")
        assert_shows(page.locks, "widget_lock_2_d_bw")
        page.choose("theme", "Light")
        assert_shows(page.locks, "widget_lock_2_l_bw")
        assert page.page.evaluate("window.reloaded") is False

    def test_a_click_sends_the_one_action_that_makes_sense(self, page: Page, plant: Plant, version: str) -> None:
        page.set(version=version)
        for state, action in enumerate(("cable_lock", "cable_lock", "cable_unlock", "cable_unlock")):
            plant.publish(1, cable_state=state)
            expect(page.locks.locator("img")).to_have_attribute("src", picture(f"widget_lock_{state}_l_color"))
            with page.page.expect_response("**/action"):
                page.locks.locator("button").click()
            assert plant.acts.pop() == (1, action, None)

    def test_it_can_be_used_from_the_keyboard_and_says_what_it_does(
        self, page: Page, plant: Plant, version: str
    ) -> None:
        page.set(version=version)
        plant.publish(1, cable_state=1)
        name = "Verrouillage permanent ON (Câble verouillé, Verrouillage permanent désactivé)"
        button = page.tile(1).get_by_role("button", name=name)
        expect(button).to_have_attribute("title", name)
        button.focus()
        with page.page.expect_response("**/action"):
            page.page.keyboard.press("Enter")
        assert plant.acts == [(1, "cable_lock", None)]

    def test_the_button_is_dimmed_until_the_answer(self, page: Page, plant: Plant, version: str) -> None:
        page.set(version=version)
        held: list[Any] = []
        page.page.route("**/action", lambda route: held.append(route))
        button = page.locks.locator("button")
        button.click()
        expect(button).to_have_css("opacity", "0.4")
        held[0].fulfill(json={"ok": True})
        expect(button).to_have_css("opacity", "1")

    def test_while_the_state_is_unknown_both_actions_are_offered_by_name(
        self, page: Page, plant: Plant, version: str
    ) -> None:
        page.set(version=version)
        plant.publish(1, cable_state="")
        expect(page.locks).to_have_count(2)
        expect(page.locks.locator("img:visible")).to_have_count(0)
        expect(page.locks.locator("button")).to_have_text(["Verrouillage permanent ON", "Verrouillage permanent OFF"])

    def test_a_refused_action_shows_why(self, page: Page, plant: Plant, version: str) -> None:
        page.set(version=version)
        plant.answer = {"ok": False, "error": "le chargeur a refusé"}
        page.locks.locator("button").click()
        expect(page.page.get_by_role("alert")).to_contain_text("le chargeur a refusé")

    def test_a_widget_that_the_core_draws_again_is_still_alive(self, page: Page, plant: Plant, version: str) -> None:
        """The core drops an update function whose text it knows, even if the widget that it served is gone."""
        page.set(version=version)
        page.page.evaluate("""async (version) => {
            const tiles = await (await fetch('tiles?version=' + version)).json()
            for (const command of tiles.chargers[0].commands.filter(command => command.html)) {
                const fresh = widget(command)
                document.querySelector('.cmd[data-cmd_id="' + command.id + '"]').replaceWith(fresh)
                runScripts(fresh)
            }
        }""", version)  # fmt: skip
        plant.publish(1, state=5, cable_state=3)
        assert_shows(page.locks, "widget_lock_3_l_color")
        assert_shows(page.state, "compact_5")
        page.choose("theme", "Dark")
        assert_shows(page.locks, "widget_lock_3_d_color")


@needs_chromium
class TestDemoPage:
    def test_it_shows_every_command_of_each_charger_and_no_other(self, page: Page, plant: Plant) -> None:
        commands = list(catalog.load().values())
        expect(page.tile(1).locator(".cmd-widget")).to_have_count(len(commands) - 1)  # refresh is in the tile's head
        expect(page.tile(2).locator("[data-template=EVcharger_Cable_lock]")).to_have_count(0)

    def test_values_arrive_without_a_reload(self, page: Page, plant: Plant) -> None:
        plant.publish(1, power=7360.5, online=0)
        plant.publish(2, power=0)
        expect(page.tile(1)).to_contain_text("7,36 kW")
        expect(page.tile(1).locator(".online")).to_have_text("Ne répond pas")
        expect(page.tile(2)).to_contain_text("0 W")

    def test_slider_list_and_buttons_act(self, page: Page, plant: Plant) -> None:
        slider = page.tile(2).locator("input[type=range]")
        plant.publish(2, current_limit=10)
        expect(slider).to_have_value("10")
        with page.page.expect_response("**/action"):
            slider.press("ArrowRight")
        with page.page.expect_response("**/action"):
            page.tile(2).locator("select").select_option(label="Triphasé")
        with page.page.expect_response("**/action"):
            page.tile(2).get_by_role("button", name="Arrêter la charge").click()
        with page.page.expect_response("**/action"):
            page.tile(2).get_by_role("button", name="Rafraîchir").click()
        assert plant.acts == [
            (2, "set_current_limit", 10.5), (2, "set_phases", 3), (2, "charge_stop", None), (2, "refresh", None)
        ]  # fmt: skip

    def test_a_refused_slider_goes_back(self, page: Page, plant: Plant) -> None:
        plant.answer = {"ok": False, "error": "hors limites"}
        plant.publish(2, current_limit=10)
        slider = page.tile(2).locator("input[type=range]")
        expect(slider).to_have_value("10")
        slider.press("End")
        expect(page.page.get_by_role("alert")).to_contain_text("hors limites")
        expect(slider).to_have_value("10")

    def test_the_car_can_be_played(self, page: Page, plant: Plant) -> None:
        for name in ("Brancher", "Charger", "Charge terminée", "Défaut", "Débrancher"):
            with page.page.expect_response("**/play"):
                page.tile(2).get_by_role("button", name=name, exact=True).click()
        assert plant.plays == [(2, what) for what in ("plug", "charge", "finish", "fault", "unplug")]

    @pytest.mark.parametrize("version", VERSIONS)
    def test_it_fits_the_width_of_the_window(self, page: Page, version: str) -> None:
        page.set(version=version)
        for width in (320, 400, 800, 1280):
            page.page.set_viewport_size({"width": width, "height": 800})
            assert page.page.evaluate("document.documentElement.scrollWidth") <= width


class TestServer:
    """What reaches the demo's server, and what does not."""

    def test_the_daemon_needs_its_key(self, plant: Plant) -> None:
        assert plant.post("callback", {"apikey": KEY, "test": 1}, {}) == 200
        assert plant.post("callback", {"apikey": "another", "test": 1}, {}) == 403
        assert plant.post("callback", {"chargers": {"1": {"state": 3}}}, {}) == 403
        assert plant.demo.values(1) == {}

    @pytest.mark.parametrize("path", ["action", "play"])
    def test_only_the_page_itself_can_act(self, plant: Plant, path: str) -> None:
        body = {"charger": 1, "logicalId": "cable_lock", "what": "plug"}
        assert plant.post(path, body, {}) == 403
        assert plant.post(path, body, {"X-Token": "guessed"}) == 403
        token = {"X-Token": plant.demo.token}
        assert plant.post(path, body, {**token, "Origin": "http://elsewhere.example"}) == 403
        assert plant.post(path, body, {**token, "Host": f"elsewhere.example:{plant.demo.port}"}) == 403
        assert (plant.acts, plant.plays) == ([], [])
        assert plant.post(path, body, token) == 200

    @pytest.mark.parametrize(
        ("path", "body"),
        [
            ("action", {"charger": 3, "logicalId": "cable_lock"}),
            ("action", {"charger": [1], "logicalId": "cable_lock"}),
            ("action", {"charger": 2, "logicalId": "cable_lock"}),
            ("action", {"charger": 1}),
            ("play", {"charger": 1, "what": "explode"}),
            ("play", []),
        ],
    )
    def test_what_makes_no_sense_is_refused(self, plant: Plant, path: str, body: object) -> None:
        assert plant.post(path, body, {"X-Token": plant.demo.token}) == 400
        assert (plant.acts, plant.plays) == ([], [])

    @pytest.mark.parametrize(
        "path",
        [
            "server.py",
            "../server.py",
            "plugins/EVcharger/desktop/img/../../core/config/commands.json",
            "plugins/EVcharger/desktop/img/..%2f..%2fcore%2fconfig%2fcommands.json",
            "plugins/EVcharger/desktop/img/svg/render.py",
            "plugins/EVcharger/desktop/img/none.png",
            "//etc/passwd",
        ],
    )
    def test_nothing_but_the_page_and_the_pictures_is_served(self, plant: Plant, path: str) -> None:
        assert plant.fetch(path) == 404

    @pytest.mark.parametrize("query", ["version=../..", "language=xx_XX", "vehicle=%27%3Balert(1)//"])
    def test_odd_settings_are_refused(self, plant: Plant, query: str) -> None:
        assert plant.fetch(f"tiles?{query}") == 400


class TestTemplates:
    """The files themselves: Jeedom says nothing when something is missing, so this does."""

    @pytest.mark.parametrize("version", VERSIONS)
    @pytest.mark.parametrize("widget", widgets.TEMPLATE_FILES)
    def test_every_tag_is_one_that_jeedom_or_the_plugin_replaces(self, widget: str, version: str) -> None:
        by_core = {
            "id", "uid", "version", "eqLogic_id", "logicalId", "name", "name_display", "hide_name", "history", "value",
            "state", "valueDate", "collectDate", "alertLevel", "unite", "raw_unite", "valueName",
        }  # fmt: skip
        by_user = {"vehicle", "picture", "text"}
        path = widgets.PLUGIN_DIR / "core/template" / version / widgets.TEMPLATE_FILES[widget]
        html = path.read_text(encoding="utf-8")
        tags = {f"#{tag}#" for tag in by_core | by_user} | set(widgets.texts(widget, "fr_FR"))
        assert set(re.findall(r"#\w+#", html)) <= tags

    def test_the_catalogue_names_the_widgets(self) -> None:
        named = {entry["template"][version] for entry in widgets.catalogue()["commands"] for version in VERSIONS}
        assert named == {"core::default", *widgets.TEMPLATE_FILES}

    @pytest.mark.parametrize("language", ["en_US", "de_DE", "es_ES", "it_IT", "pt_PT"])
    @pytest.mark.parametrize("widget", widgets.TEMPLATE_FILES)
    def test_every_text_is_translated(self, widget: str, language: str) -> None:
        path = Path(widgets.PLUGIN_DIR / "core/i18n" / f"{language}.json")
        translations = json.loads(path.read_text(encoding="utf-8"))[widgets.TRANSLATED_FILE]
        assert set(widgets.texts(widget, "fr_FR").values()) <= set(translations)

    @pytest.mark.parametrize("language", ["en_US", "de_DE", "es_ES", "it_IT", "pt_PT"])
    @pytest.mark.parametrize("widget", widgets.TEMPLATE_FILES)
    def test_what_the_catalogue_translates_too_reads_the_same(self, widget: str, language: str) -> None:
        shown = widgets.texts(widget, language)
        entries = {entry["logicalId"]: entry for entry in widgets.catalogue()["commands"]}
        for value in entries[widgets.TEXTS_OF[widget]]["values"]:
            for kind in ("text", "description"):
                if language in value.get(kind, {}):
                    assert shown[f"#{kind}_{value['value']}#"] == value[kind][language]
