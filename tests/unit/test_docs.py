"""The documentation says what the code does: generated pages are up to date, links lead somewhere, messages exist."""

import ast
import importlib.util
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from register_image import RegisterImage

from evchargerd import profile
from evchargerd.charger import Charger

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
LANGUAGES = ("fr_FR", "en_US")
PAGES = sorted(path.relative_to(DOCS) for path in DOCS.glob("*_*/**/*.md"))
LINK = re.compile(r"""(?:\]\(|<img src=")([^)#\s"]*)(?:#([^)\s]*))?[)"]""")
QUOTED_MESSAGES = re.compile(r"```text\n(.*?)```", re.DOTALL)
TEST_REFERENCE = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
FEWEST_LITERAL_CHARACTERS = 8  # of a pattern that is worth the name

every_page = pytest.mark.parametrize("page", PAGES, ids=str)


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_generated_pages_are_what_the_data_says(generator: ModuleType) -> None:
    stale = [
        str(path)
        for path, text in generator.pages().items()
        if not (DOCS / path).exists() or (DOCS / path).read_text(encoding="utf-8") != text
    ]
    assert stale == [], "run `make docs`"


def test_there_is_no_page_of_a_charger_that_is_gone(generator: ModuleType) -> None:
    assert {page for page in PAGES if page.parent.name == "chargers"} <= set(generator.pages())


def test_every_page_exists_in_both_languages() -> None:
    french, english = (
        {page.relative_to(language) for page in PAGES if page.parts[0] == language} for language in LANGUAGES
    )
    assert french == english


@every_page
def test_every_link_and_picture_leads_somewhere(page: Path) -> None:
    broken = []
    for target, anchor in LINK.findall((DOCS / page).read_text(encoding="utf-8")):
        if target.startswith(("http://", "https://")):
            continue
        file = (DOCS / page).parent / target if target else DOCS / page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(f"{target}#{anchor}")
    assert broken == []


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub and kramdown make of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_message_that_the_user_looks_up_is_one_that_the_plugin_writes(language: str) -> None:
    known = list(message_patterns())
    text = (DOCS / language / "index.md").read_text(encoding="utf-8")
    messages = [line for block in QUOTED_MESSAGES.findall(text) for line in block.splitlines() if line]
    assert messages
    assert [line for line in messages if not any(pattern.fullmatch(line) for pattern in known)] == []


def message_patterns() -> Iterator[re.Pattern[str]]:
    """Every text in the daemon, the profiles' refusals and the PHP, with what is filled in left open."""
    for file in (ROOT / "resources" / "evchargerd").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                yield from pattern(str(part.value) if isinstance(part, ast.Constant) else "%s" for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield from pattern([node.value])
    for file in (ROOT / "core" / "config" / "chargers").glob("*.json"):
        for action in json.loads(file.read_text(encoding="utf-8")).get("actions", {}).values():
            for refusal in action.get("refuse", ()):
                yield from pattern([refusal["because"]["fr_FR"]])
    for file in (ROOT / "core" / "class").glob("*.php"):
        for text in re.findall(r"__\('((?:[^'\\]|\\.)*)'", file.read_text(encoding="utf-8")):
            yield from pattern([text.replace("\\'", "'")])


def pattern(parts: Iterator[str] | list[str]) -> Iterator[re.Pattern[str]]:
    literals = re.split(r"%(?:[sd]|\.?\d*[fg])", "".join(parts))
    if sum(map(len, literals)) >= FEWEST_LITERAL_CHARACTERS:
        yield re.compile(".*".join(map(re.escape, literals)))


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_test_that_answers_a_complaint_exists(language: str) -> None:
    references = TEST_REFERENCE.findall((DOCS / language / "complaints.md").read_text(encoding="utf-8"))
    assert references
    missing = [f"{file}::{name}" for file, name in references if f"def {name}(" not in source(file)]
    assert missing == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_profile_that_a_user_is_told_to_write_works_as_told(language: str) -> None:
    text = (DOCS / language / "add-your-charger.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 1
    model = profile.parse(json.loads(blocks[0]), "ma-borne.json")
    assert model.example is not None
    charger = Charger(model, model.line.unit)
    image = RegisterImage.of_example(model)
    values = image.run(charger.connect())
    assert {name: values[name] for name in model.example.values} == model.example.values
    image.run(charger.act("set_current_limit", 10))
    assert image.run(charger.act("charge_stop"))["charge_enabled"] == 0
    assert image.run(charger.act("charge_start"))["current_limit"] == 10


def source(file: str) -> str:
    path = ROOT / file
    return path.read_text(encoding="utf-8") if path.exists() else ""
