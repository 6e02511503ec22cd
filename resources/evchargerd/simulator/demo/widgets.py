"""What Jeedom's PHP does to make HTML of a command and a template: cmd::toHtml with EVcharger::templateWidget.

Only for the plugin's own widgets. Tags that the core would leave in the page are left here too.
"""

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

PLUGIN_DIR = Path(__file__).resolve().parents[4]
TEMPLATE_FILES = {  # templateWidget(): the widget's name -> the file's name without its version's folder
    "EVcharger::state": "cmd.info.numeric.tmplEVcharger_state.html",
    "EVcharger::Cable_lock": "cmd.action.other.tmplEVcharger_Cable_lock.html",
}
# The command whose values a widget shows.
TEXTS_OF = {"EVcharger::state": "state", "EVcharger::Cable_lock": "cable_state"}
OTHER_TEXTS = {
    "#unknown#": "État inconnu",
    "#help_vehicle#": "Forme du véhicule",
    "#help_picture#": "Afficher l'image",
    "#help_text#": "Afficher le texte",
}
# The section of core/i18n/*.json that __() looks in.
TRANSLATED_FILE = "plugins/EVcharger/core/class/EVcharger.class.php"


@lru_cache(maxsize=1)
def catalogue() -> Mapping[str, Any]:
    """core/config/commands.json as it is, texts in all languages."""
    document: Mapping[str, Any] = json.loads((PLUGIN_DIR / "core/config/commands.json").read_text(encoding="utf-8"))
    return document


@lru_cache(maxsize=8)
def _translations(language: str) -> Mapping[str, str]:
    path = PLUGIN_DIR / "core/i18n" / f"{language}.json"
    if not path.is_file():  # French is the language of the sources
        return {}
    section: Mapping[str, str] = json.loads(path.read_text(encoding="utf-8")).get(TRANSLATED_FILE, {})
    return section


def texts(widget: str, language: str) -> dict[str, str]:
    """The `replace` of templateWidget(): tag -> text in `language`. Double quotes become single, as in the core."""
    french = dict(OTHER_TEXTS)
    command = next(entry for entry in catalogue()["commands"] if entry["logicalId"] == TEXTS_OF[widget])
    for value in command["values"]:
        french[f"#text_{value['value']}#"] = value["text"]["fr_FR"]
        if "description" in value:
            french[f"#description_{value['value']}#"] = value["description"]["fr_FR"]
    translations = _translations(language)
    return {tag: translations.get(text, text).replace('"', "'") for tag, text in french.items()}


def render(widget: str, version: str, language: str, tags: Mapping[str, object]) -> str:
    """HTML of `widget` ("EVcharger::state") for `version` ("dashboard", "mobile"). `tags`: name without # -> value."""
    html = (PLUGIN_DIR / "core/template" / version / TEMPLATE_FILES[widget]).read_text(encoding="utf-8")
    for tag, text in texts(widget, language).items():
        html = html.replace(tag, text)
    html = re.sub(r"<template>.*?</template>", "", html, flags=re.DOTALL)
    for name, value in tags.items():
        html = html.replace(f"#{name}#", str(value))
    return re.sub(r"\{\{(.*?)\}\}", r"\1", html)
