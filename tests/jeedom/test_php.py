"""The PHP: its syntax, its tests (PHPUnit, on stand-ins for Jeedom), its agreement with the Python side."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from evchargerd import catalog, profile

ROOT = Path(__file__).resolve().parents[2]
PHP_FILES = sorted(
    path for folder in ("core", "desktop", "plugin_info", "tests/jeedom/php") for path in (ROOT / folder).rglob("*.php")
)
LANGUAGES = ("en_US",)  # complete; the others have the command names and the widgets

needs_php = pytest.mark.skipif(shutil.which("php") is None, reason="php is not installed")
needs_phpunit = pytest.mark.skipif(shutil.which("phpunit") is None, reason="phpunit is not installed")


def php(code: str) -> object:
    script = f"require '{ROOT}/core/class/EVchargerCatalog.class.php'; echo json_encode({code});"
    return json.loads(subprocess.run(["php", "-r", script], capture_output=True, text=True, check=True).stdout)


@needs_php
@pytest.mark.parametrize("path", PHP_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_php_file_has_no_syntax_error(path: Path) -> None:
    result = subprocess.run(["php", "-l", path], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


@needs_phpunit
def test_phpunit_passes() -> None:
    command = ["phpunit", "-c", ROOT / "tests/jeedom/php/phpunit.xml"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 0, result.stdout[-5000:]


@needs_php
@pytest.mark.parametrize("unverified", [False, True])
def test_php_and_python_offer_the_same_commands_of_every_model(unverified: bool) -> None:
    flag = "true" if unverified else "false"
    code = f"array_map(function ($p) {{ return EVchargerCatalog::offered($p, {flag}); }}, EVchargerCatalog::profiles())"
    expected = {name: list(profile.load(name).offered(unverified)) for name in profile.shipped()}
    shown = php(code)
    assert isinstance(shown, dict)
    assert {name: shown[name] for name in expected} == expected


@pytest.mark.parametrize("name", ["pyserial", "jsonschema", "requests"])
def test_jeedom_installs_the_versions_that_we_are_tested_with(name: str) -> None:
    packages = json.loads((ROOT / "plugin_info/packages.json").read_text())["pip3"]
    assert f'"{name}=={packages[name]["version"]}"' in (ROOT / "pyproject.toml").read_text()


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_french_text_of_the_pages_is_translated(language: str) -> None:
    translated = json.loads((ROOT / f"core/i18n/{language}.json").read_text())
    missing = {
        f"{path}: {text}"
        for path, texts in french_texts().items()
        for text in texts
        if text not in translated.get(f"plugins/EVcharger/{path}", {})
    }
    assert not missing


@pytest.mark.parametrize("path", sorted((ROOT / "core/i18n").glob("*.json")), ids=lambda path: path.stem)
def test_every_language_has_the_texts_of_the_widgets(path: Path) -> None:
    texts = json.loads(path.read_text())["plugins/EVcharger/core/class/EVcharger.class.php"]
    entries = json.loads((catalog.CONFIG_DIR / "commands.json").read_text())["commands"]
    for entry in (entry for entry in entries if entry["logicalId"] in ("state", "cable_state")):
        for value in entry["values"]:
            assert value["text"]["fr_FR"] in texts
            assert value.get("description", value["text"])["fr_FR"] in texts


def french_texts() -> dict[str, set[str]]:
    """{{text}} of the pages and __('text', __FILE__) of the classes, by file."""
    found: dict[str, set[str]] = {}
    sources = [path for folder in ("core", "desktop", "plugin_info") for path in (ROOT / folder).rglob("*.[pj][hs]*")]
    for path in (path for path in sources if path.suffix in (".php", ".js")):
        source = path.read_text()
        texts = re.findall(r"\{\{(.+?)\}\}", source) + re.findall(r"__\('((?:[^'\\]|\\.)*)', __FILE__\)", source)
        if texts:
            found[str(path.relative_to(ROOT))] = {text.replace("\\'", "'") for text in texts}
    return found
