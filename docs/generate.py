"""Writes the generated pages of docs/, in French and English, from commands.json and the chargers' profiles.

`make docs` writes them; tests/unit/test_docs.py fails when they are no longer what this file makes of the data. The
other pages (index, changelog, add-your-charger, complaints) are written by hand.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from evchargerd import catalog, profile
from evchargerd.profile import Profile

DOCS = Path(__file__).resolve().parent
LANGUAGES = ("fr_FR", "en_US")
OFFERED, UNVERIFIED = "●", "○"
FINISHED, READY = 4, 6
STATE_WIDTH, LOCK_WIDTH, CHARGER_WIDTH = 84, 48, 120  # pixels; the first two as the widgets show them
JEEDOM_DEFAULT = "core::default"

Json = Mapping[str, Any]


def pages() -> dict[Path, str]:
    """Every generated page, by its path below docs/."""
    catalogue = json.loads((catalog.CONFIG_DIR / "commands.json").read_text(encoding="utf-8"))
    chargers = [Charger(name) for name in profile.shipped()]
    chargers.sort(key=lambda charger: charger.profile.title.lower())
    written: dict[Path, str] = {}
    for language in LANGUAGES:
        write = Writer(language, catalogue, chargers)
        written[Path(language, "commands.md")] = write.commands_page()
        written[Path(language, "chargers.md")] = write.chargers_page()
        for charger in chargers:
            written[Path(language, "chargers", f"{charger.profile.id}.md")] = write.charger_page(charger)
    return written


class Charger:
    """A profile twice: as the daemon knows it, and as the file says it (notes, addresses as the manual has them)."""

    def __init__(self, name: str) -> None:
        self.profile: Profile = profile.load(name)
        self.raw: Json = json.loads((profile.SHIPPED_DIR / f"{name}.json").read_text(encoding="utf-8"))
        self.sure = self.profile.offered()
        self.all = self.profile.offered(unverified=True)

    def mark(self, command: str) -> str:
        return OFFERED if command in self.sure else UNVERIFIED if command in self.all else ""


# --- Markdown --------------------------------------------------------------------------------------------------------


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [_row(head), _row(["---"] * len(head)), *(_row(row) for row in rows)]
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    escaped = (cell.replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(escaped)} |"


def bullets(items: Iterable[str]) -> str:
    return "\n".join(f"- {item}" for item in items)


def page(*blocks: str) -> str:
    return "\n\n".join(block for block in blocks if block) + "\n"


def quoted(*blocks: str) -> str:
    """Blocks as one quotation, as the user's document has its commands."""
    return "\n".join(f"> {line}".rstrip() for line in "\n\n".join(blocks).split("\n"))


def code(word: object) -> str:
    return f"`{word}`"


def image(name: str, up: int, width: int, shows: str) -> str:
    """A picture at the size it has in Jeedom: the files are larger, for sharp screens."""
    return f'<img src="{"../" * up}desktop/img/{name}" width="{width}" alt="{shows}">'


def families(commands: Sequence[Json]) -> list[list[Json]]:
    """Commands that differ by the number of a phase belong together: voltage_1, voltage_2, voltage_3."""
    grouped: dict[str, list[Json]] = {}
    for command in commands:
        grouped.setdefault(re.sub(r"_\d$", "_#", command["logicalId"]), []).append(command)
    return list(grouped.values())


# --- The pages -------------------------------------------------------------------------------------------------------


class Writer:
    """Everything in one language."""

    def __init__(self, language: str, catalogue: Json, chargers: Sequence[Charger]) -> None:
        self.language, self.catalogue, self.chargers = language, catalogue, chargers
        self.commands: list[Json] = sorted(catalogue["commands"], key=lambda command: command["order"])
        self.by_id = {command["logicalId"]: command for command in self.commands}

    def say(self, french: str, english: str) -> str:
        return french if self.language == "fr_FR" else english

    def text(self, texts: Mapping[str, str]) -> str:
        return texts[self.language]

    def number(self, value: float) -> str:
        return f"{value:g}".replace(".", self.say(",", "."))

    def either(self, words: Sequence[str]) -> str:
        return self.listed(words, self.say("ou", "or"))

    def both(self, words: Sequence[str]) -> str:
        return self.listed(words, self.say("et", "and"))

    def listed(self, words: Sequence[str], last: str) -> str:
        return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"

    @property
    def made_by(self) -> str:
        return self.say("Page faite par `make docs` à partir de", "Page made by `make docs` from")

    # --- commands.md -------------------------------------------------------------------------------------------------

    def commands_page(self) -> str:
        seed = [command for command in self.commands if command["origin"] == "seed"]
        extra = [command for command in self.commands if command["origin"] != "seed"]
        return page(
            self.say("# Introduction", "# Introduction"),
            self.say(
                "Liste de toutes les commandes (info et action) qui peuvent être attribuées à un chargeur. Ces "
                "commandes peuvent ne pas être implémentées pour certains modèles de chargeur : [la liste des "
                "chargeurs](chargers.md) dit ce que chacun offre.",
                "List of all commands (info and action) that a charger can have. Some charger models do not have all "
                "of them: [the list of chargers](chargers.md) says what each one offers.",
            ),
            *self.sections(seed, "#"),
            self.say("# Autres commandes", "# Further commands"),
            self.say(
                "Ces commandes complètent les précédentes, pour les chargeurs qui le permettent.",
                "These commands complete those above, for the chargers that can do it.",
            ),
            *self.sections(extra, "##"),
            f"---\n\n*{self.made_by} `core/config/commands.json`.*",
        )

    def sections(self, commands: Sequence[Json], level: str) -> list[str]:
        introductions = {
            "cable": self.say(
                "Ces commandes sont prévues pour les chargeurs qui n'ont pas de câble attaché mais un connecteur.",
                "These commands are meant for chargers that have no tethered cable but a socket.",
            )
        }
        blocks = []
        for key, title in self.catalogue["sections"].items():
            members = [command for command in commands if command["section"] == key]
            if members:
                blocks += [f"{level} {self.text(title)}", introductions.get(key, "")]
                blocks += [self.command(family) for family in families(members)]
        return blocks

    def command(self, family: Sequence[Json]) -> str:
        """One command, or those of the three phases together."""
        first = family[0]
        name = self.text(first["name"])
        blocks = [
            f"| *logicalId:* {self.both([command['logicalId'] for command in family])} | *type:* {first['type']} "
            f"| *subType:* {first['subType']} |",
            self.marked(self.text(first["description"])),
            self.facts(family),
        ]
        if "values" in first:
            blocks.append(self.values_table(first))
        title = name if len(family) == 1 else re.sub(r"\d$", "#", name)
        return f"**{title}**\n\n{quoted(*blocks)}"

    def marked(self, description: str) -> str:
        """logicalIds, calculations with them and names of widgets as code."""
        return re.sub(r"[\w/]*\w_\w+(?: [+*] \w+)*", r"`\g<0>`", description)

    def facts(self, family: Sequence[Json]) -> str:
        command = family[0]
        facts = [f"{self.say('type générique', 'generic type')} {code(command['genericType'])}"]
        if command["unit"]:
            facts.insert(0, f"{self.say('unité', 'unit')} {command['unit']}")
        if "linkedInfo" in command:
            facts.append(f"{self.say('info liée', 'linked info')} {code(command['linkedInfo'])}")
        template = command["template"]["dashboard"]
        widget = self.say("par défaut de Jeedom", "Jeedom's default") if template == JEEDOM_DEFAULT else code(template)
        facts.append(f"widget {widget}")
        visible = {member["visible"] for member in family}
        facts.append(
            self.say("seule la première affichée", "only the first shown")
            if len(visible) > 1
            else self.say("affichée", "shown")
            if command["visible"]
            else self.say("masquée", "hidden")
        )
        if command["historized"]:
            facts.append(self.say("historisée", "historized"))
        offering = sum(1 for charger in self.chargers if command["logicalId"] in charger.all)
        who = self.say(
            f"offerte par {offering} des {len(self.chargers)} modèles",
            f"offered by {offering} of the {len(self.chargers)} models",
        )
        return f"*{', '.join(facts)} ; {who}*" if self.language == "fr_FR" else f"*{', '.join(facts)}; {who}*"

    def values_table(self, command: Json) -> str:
        described = all("description" in value for value in command["values"])
        pictured = all("images" in value for value in command["values"])
        head = [self.say("valeur", "value"), self.say("texte", "text")]
        head += [self.say("description", "description")] * described + ["widget"] * pictured
        rows = []
        for value in command["values"]:
            text = "<br>".join(part[0].upper() + part[1:] for part in self.text(value["text"]).split(", "))
            row = [str(value["value"]), text]
            row += [self.text(value["description"])] if described else []
            if pictured:
                width = STATE_WIDTH if len(value["images"]) == 1 else LOCK_WIDTH
                row.append(" ".join(image(name, 2, width, Path(name).stem) for name in value["images"]))
            rows.append(row)
        order = self.say(
            "De gauche à droite : thème sombre en couleur, en noir et blanc (une image blanche, qui ne se voit que "
            "sur un fond sombre), thème clair en couleur, en noir et blanc.",
            "From left to right: dark theme coloured, black and white (a white picture, to be seen on a dark ground "
            "only), light theme coloured, black and white.",
        )
        several = any(len(value.get("images", ())) > 1 for value in command["values"])
        return table(head, rows) + (f"\n\n{order}" if several else "")

    # --- chargers.md -------------------------------------------------------------------------------------------------

    def chargers_page(self) -> str:
        serial = [charger for charger in self.chargers if charger.profile.line.framing != "tcp"]
        tcp = [charger for charger in self.chargers if charger.profile.line.framing == "tcp"]
        everywhere = [name for name in self.by_id if all(name in charger.sure for charger in self.chargers)]
        names = self.both([f"*{self.text(self.by_id[name]['name'])}* ({code(name)})" for name in everywhere])
        return page(
            self.say("# Les bornes connues", "# The known chargers"),
            self.say(
                f"{len(self.chargers)} modèles, dont {len(serial)} sur RS485 et {len(tcp)} en Modbus TCP. **Aucun "
                "profil n'a été essayé par nous sur du matériel** : les faits viennent des manuels des fabricants "
                "et de projets ouverts, cités dans la page de chaque borne. Si votre borne n'est pas dans la liste, "
                "voyez [Ajouter votre borne](add-your-charger.md).",
                f"{len(self.chargers)} models, {len(serial)} on RS485 and {len(tcp)} over Modbus TCP. **We have "
                "tried none of the profiles on hardware**: the facts come from vendors' manuals and open projects, "
                "named on each charger's page. If your charger is not in the list, see [Add your "
                "charger](add-your-charger.md).",
            ),
            self.say("## Sur une ligne RS485", "## On an RS485 line"),
            self.overview(serial),
            self.say("## En Modbus TCP", "## Over Modbus TCP"),
            self.overview(tcp),
            self.say("Légende", "Legend") + self.say(" :", ":"),
            bullets(
                [
                    self.say(
                        "*Liaison* : vitesse, bits, parité (N aucune, E paire, O impaire), bits d'arrêt, tels que la "
                        "borne les a d'usine. « ? » : supposés, à comparer avec les réglages de votre borne.",
                        "*Line*: speed, bits, parity (N none, E even, O odd), stop bits, as the charger leaves the "
                        'factory. "?": assumed, compare with the settings of your charger.',
                    ),
                    *(
                        f"*{self.confidence_word(level)}*{self.say(' :', ':')} {self.confidence_meaning(level)}"
                        for level in ("high", "medium", "low")
                    ),
                ]
            ),
            self.say("# Qui offre quoi", "# Who offers what"),
            self.say(f"Toutes les bornes ont {names}.", f"All chargers have {names}."),
            self.say(
                f"{OFFERED} offerte ; {UNVERIFIED} non vérifiée : déduite d'une borne voisine ou d'une source "
                "incertaine, désactivée tant que vous ne cochez pas « Commandes non vérifiées » dans l'équipement. "
                "Un chiffre : le nombre de phases.",
                f"{OFFERED} offered; {UNVERIFIED} unverified: deduced from a similar charger or from an uncertain "
                "source, "
                'off until you tick "Unverified commands" in the equipment. A number: how many phases.',
            ),
            *self.matrices(everywhere),
            f"---\n\n*{self.made_by} `core/config/chargers/*.json`.*",
        )

    def overview(self, chargers: Sequence[Charger]) -> str:
        head = [
            self.say("borne", "charger"), self.say("aussi vendue comme", "also sold as"), self.say("liaison", "line"),
            self.say("adresse", "unit id"), self.say("confiance", "confidence"),
        ]  # fmt: skip
        return table(
            head,
            [
                [
                    self.link(charger),
                    ", ".join(charger.profile.rebrands),
                    self.line(charger),
                    str(charger.profile.line.unit),
                    self.confidence_word(charger.profile.confidence),
                ]
                for charger in chargers
            ],
        )

    def matrices(self, left_out: Sequence[str]) -> list[str]:
        """A table for each section: which charger offers which of its commands."""
        blocks = []
        for key, title in self.catalogue["sections"].items():
            members = [c for c in self.commands if c["section"] == key and c["logicalId"] not in left_out]
            columns = families(members)
            rows = [
                [self.link(charger), *(self.marks(charger, family) for family in columns)] for charger in self.chargers
            ]
            rows = [row for row in rows if any(row[1:])]
            if columns and rows:
                names = [re.sub(r"\d$", "#", self.text(family[0]["name"])) for family in columns]
                blocks += [f"## {self.text(title)}", table([self.say("borne", "charger"), *names], rows)]
        return blocks

    def marks(self, charger: Charger, family: Sequence[Json]) -> str:
        marks = [mark for command in family if (mark := charger.mark(command["logicalId"]))]
        if len(family) == 1 or not marks:
            return "".join(marks)
        return f"{marks[0]} {len(marks)}"

    def link(self, charger: Charger) -> str:
        return f"[{charger.profile.title}](chargers/{charger.profile.id}.md)"

    def line(self, charger: Charger) -> str:
        line = charger.profile.line
        if line.framing == "tcp":
            return "Modbus TCP"
        settings = f"{line.baudrate} 8{line.parity}{line.stopbits}"
        return settings + ("" if line.framing == "rtu" else " ASCII") + ("" if line.verified else " ?")

    def confidence_word(self, level: str) -> str:
        return {
            "high": self.say("élevée", "high"),
            "medium": self.say("moyenne", "medium"),
            "low": self.say("faible", "low"),
        }[level]

    def confidence_meaning(self, level: str) -> str:
        return {
            "high": self.say("sources sûres et concordantes", "sound sources that agree"),
            "medium": self.say("sources incomplètes ou peu nombreuses", "incomplete or few sources"),
            "low": self.say("peu de sources, à essayer avec prudence", "few sources, try it with care"),
        }[level]

    # --- chargers/<id>.md --------------------------------------------------------------------------------------------

    def charger_page(self, charger: Charger) -> str:
        raw = charger.raw
        return page(
            f"# {charger.profile.title}",
            image(f"charger_{charger.profile.picture}.png", 3, CHARGER_WIDTH, charger.profile.picture),
            self.identity(charger),
            self.say("## Raccordement et réglages", "## Wiring and settings"),
            self.line_settings(charger),
            bullets(self.text(note) for note in raw["notes"]),
            self.say("## Ce que cette borne offre", "## What this charger offers"),
            self.offer(charger),
            self.limit(charger),
            self.unverified(charger),
            self.say("## Particularités", "## Quirks"),
            bullets(self.quirks(charger))
            or self.say("Rien de particulier n'est connu.", "Nothing particular is known."),
            self.state(charger),
            self.actions(charger),
            self.identify(charger),
            self.say("## Registres", "## Registers"),
            self.registers(charger),
            self.say("### Sources", "### Sources"),
            bullets(f"**{letter}**{self.say(' :', ':')} {source}" for letter, source in raw["sources"].items()),
            f"---\n\n[{self.say('Toutes les bornes', 'All chargers')}](../chargers.md) · "
            f"*{self.made_by} `core/config/chargers/{charger.profile.id}.json`.*",
        )

    def identity(self, charger: Charger) -> str:
        known = charger.profile
        kinds = {
            "socket": self.say("socle : le câble se débranche", "socket: the cable comes off"),
            "cable": self.say("câble attaché", "tethered cable"),
            "board": self.say(
                "platine ou contrôleur, à monter dans une borne", "controller board, built into a charger"
            ),
        }
        sure = f"{self.confidence_word(known.confidence)}, {self.confidence_meaning(known.confidence)}"
        rows = [
            [self.say("identifiant du modèle", "model id"), code(known.id)],
            [self.say("aussi vendue comme", "also sold as"), ", ".join(known.rebrands) or "–"],
            [self.say("genre (image)", "kind (picture)"), kinds[known.picture]],
            [self.say("confiance", "confidence"), sure],
            [self.say("essayée par nous sur du matériel", "tried on hardware by us"), self.say("**non**", "**no**")],
        ]
        return table(rows[0], rows[1:])

    def line_settings(self, charger: Charger) -> str:
        line, raw = charger.profile.line, charger.raw["line"]
        parities = {
            "N": self.say("aucune", "none"), "E": self.say("paire", "even"), "O": self.say("impaire", "odd"),
        }  # fmt: skip
        framings = {
            "rtu": "Modbus RTU",
            "ascii": "Modbus ASCII",
            "ascii-abl": self.say("Modbus ASCII, à la façon d'ABL", "Modbus ASCII, the way ABL does it"),
            "tcp": "Modbus TCP",
        }
        rows = [[self.say("protocole", "protocol"), framings[line.framing]]]
        if line.framing == "tcp":
            rows.append(
                [self.say("port", "port"), self.say("`tcp://adresse-de-la-borne:502`", "`tcp://its-address:502`")]
            )
        else:
            others = [str(rate) for rate in line.baudrates if rate != line.baudrate]
            also = f" ({self.say('possibles aussi :', 'also possible:')} {', '.join(others)})" if others else ""
            rows += [
                [self.say("vitesse", "speed"), f"{line.baudrate}{also}"],
                [self.say("parité", "parity"), parities[line.parity]],
                [self.say("bits d'arrêt", "stop bits"), str(line.stopbits)],
            ]
        units = f" ({self.say('de {} à {}', '{} to {}').format(*raw['units'])})" if "units" in raw else ""
        rows.append([self.say("adresse Modbus (unité)", "unit id"), f"{line.unit}{units}"])
        if not line.verified:
            guess = self.say(
                "**non vérifiées** : comparez avec les réglages de votre borne",
                "**not verified**: compare with the settings of your charger",
            )
            rows.append([self.say("ces valeurs d'usine", "these defaults"), guess])
        return table([self.say("réglage", "setting"), self.say("valeur d'usine", "default")], rows)

    def offer(self, charger: Charger) -> str:
        """Commands that are on by default, and what each is made of."""
        return self.command_table(charger, charger.sure)

    def command_table(self, charger: Charger, names: Sequence[str]) -> str:
        head = [self.say("commande", "command"), "logicalId", "type", self.say("faite à partir de", "made of")]
        rows = []
        for name in names:
            command = self.by_id[name]
            kind = f"{command['type']}, {command['subType']}" + (f" ({command['unit']})" if command["unit"] else "")
            rows.append([self.text(command["name"]), code(name), kind, self.made_of(charger, name)])
        return table(head, rows)

    def made_of(self, charger: Charger, name: str) -> str:
        known = charger.profile
        if name in known.actions:
            points = [write.point for write in known.actions[name].writes]
        elif name in known.commands:
            points = list(known.commands[name].needs)
        elif self.by_id[name]["type"] == "action":
            return self.say("relit tout", "reads everything again")
        else:
            return self.say("calculée par le plugin", "worked out by the plugin")
        return ", ".join(code(point) for point in dict.fromkeys(points)) or self.say(
            "ce que la dernière action a donné", "what the last action gave"
        )

    def limit(self, charger: Charger) -> str:
        limit = charger.profile.limit
        if limit is None:
            return ""
        low, high, step = self.number(limit.min), self.number(limit.max), self.number(limit.step)
        bounds = self.say(
            f"Limite de courant : de {low} à {high} A par phase, par pas de {step} A",
            f"Current limit: {low} to {high} A per phase, in steps of {step} A",
        )
        if limit.max_point is None:
            return f"{bounds}."
        return bounds + self.say(
            f", et jamais plus que ce que la borne elle-même indique (`{limit.max_point}`).",
            f", and never more than what the charger itself says (`{limit.max_point}`).",
        )

    def unverified(self, charger: Charger) -> str:
        names = [name for name in charger.all if name not in charger.sure]
        if not names:
            return ""
        return page(
            self.say("### Non vérifié", "### Not verified"),
            self.say(
                "Personne n'a confirmé ces commandes sur ce modèle. Elles sont désactivées ; vous pouvez les essayer "
                "en cochant « Commandes non vérifiées » dans l'équipement. Dites-nous ce que vous avez vu.",
                "Nobody has confirmed these commands on this model. They are off; you can try them by ticking "
                '"Unverified commands" in the equipment. Tell us what you saw.',
            ),
            self.command_table(charger, names),
        ).strip()

    # Quirks

    def quirks(self, charger: Charger) -> list[str]:
        return [
            *self.timing(charger),
            *self.start(charger),
            *self.watchdog(charger),
            *self.keepalive(charger),
            *self.memories(charger),
            *self.reading(charger),
        ]

    def timing(self, charger: Charger) -> list[str]:
        known, found = charger.profile, []
        if known.pause:
            pause = self.number(known.pause * 1000)
            found.append(
                self.say(
                    f"Elle demande {pause} ms de repos entre deux requêtes ; le plugin les lui laisse et parle aux "
                    "autres bornes de la ligne pendant ce temps.",
                    f"It wants {pause} ms of rest between two requests; the plugin leaves it these and talks to the "
                    "other chargers of the line meanwhile.",
                )
            )
        if "timeout_ms" in charger.raw.get("timing", {}):
            timeout = self.number(known.timeout)
            found.append(
                self.say(f"Le plugin attend ses réponses {timeout} s.", f"The plugin waits {timeout} s for answers.")
            )
        if known.wake:
            found.append(
                self.say(
                    "Après un silence, elle peut perdre la première requête : le plugin la répète aussitôt.",
                    "After silence it may lose the first request: the plugin repeats it at once.",
                )
            )
        if known.settle:
            settle = self.number(known.settle)
            found.append(
                self.say(
                    f"Entre deux changements de courant, le plugin attend {settle} s.",
                    f"Between two changes of current the plugin waits {settle} s.",
                )
            )
        return found

    def start(self, charger: Charger) -> list[str]:
        writes = [self.write(charger, raw) for raw in charger.raw.get("start", ())]
        once = self.say(
            "À chaque connexion, sauf si c'est déjà fait, le plugin écrit",
            "At each connection, unless it is so already, the plugin writes",
        )
        return [f"{once} {write}." for write in writes]

    def watchdog(self, charger: Charger) -> list[str]:
        watchdog = charger.profile.watchdog
        if watchdog is None:
            return []
        seconds = self.number(watchdog.timeout)
        silent = (
            self.say(f"si personne ne lui parle pendant {seconds} s", f"when nobody talks to it for {seconds} s")
            if watchdog.refreshed_by == "any"
            else self.say(
                f"si `{watchdog.refreshed_by}` n'est pas écrit pendant {seconds} s",
                f"when `{watchdog.refreshed_by}` is not written for {seconds} s",
            )
        )
        does = {
            "pause": self.say("elle arrête la charge", "it stops charging"),
            "fault": self.say("elle passe en erreur", "it goes into error"),
            "minimum": self.say("elle tombe à un courant de repli", "it falls to a fail-safe current"),
            "nothing": self.say(
                "elle applique son propre réglage de repli", "it does what its own fail-safe setting says"
            ),
        }[watchdog.on_expiry]
        return [f"{self.say('Chien de garde :', 'Watchdog:')} {silent}, {does}."]

    def keepalive(self, charger: Charger) -> list[str]:
        found = []
        for raw in charger.raw.get("keepalive", ()):
            seconds = self.number(raw["every_s"])
            if "write" in raw:
                does = self.say(
                    f"Pour la maintenir en service, le plugin écrit toutes les {seconds} s "
                    f"{self.write(charger, raw['write'])}",
                    f"To keep it going, the plugin writes every {seconds} s {self.write(charger, raw['write'])}",
                )
            else:
                does = self.say(
                    f"Pour la maintenir en service, le plugin lit {code(raw['read'])} quand rien d'autre ne lui a été "
                    f"demandé depuis {seconds} s",
                    f"To keep it going, the plugin reads {code(raw['read'])} when nothing else has been asked of it "
                    f"for {seconds} s",
                )
            found.append(f"{does}{self.only_when(raw)}.")
        return found

    def memories(self, charger: Charger) -> list[str]:
        found = []
        for name, point in charger.profile.points.items():
            if point.power_up is not None:
                fallen = self.number(point.power_up)
                found.append(
                    self.say(
                        f"Après une coupure de courant, `{name}` revient à {fallen} : le plugin redonne la dernière "
                        "valeur.",
                        f"After a power cut `{name}` is back to {fallen}: the plugin gives the last value again.",
                    )
                )
        worn = [code(name) for name, point in charger.profile.points.items() if point.eeprom]
        if worn:
            found.append(
                self.say(
                    f"Mémoire qui s'use : {self.both(worn)}. Le plugin n'y écrit jamais une valeur qui y est déjà.",
                    f"Memory that wears out: {self.both(worn)}. The plugin never writes a value that is there already.",
                )
            )
        return found

    def reading(self, charger: Charger) -> list[str]:
        raw, found = charger.raw.get("reading", {}), []
        if "max_registers" in raw:
            most = raw["max_registers"]
            found.append(
                self.say(f"Une lecture prend au plus {most} registres.", f"One read takes {most} registers at most.")
            )
        if raw.get("word_order") == "low":
            found.append(
                self.say(
                    "Valeurs de plusieurs registres : le registre de poids faible d'abord.",
                    "Values of several registers: the low register first.",
                )
            )
        if raw.get("exact"):
            found.append(
                self.say(
                    "Elle ne répond qu'à des blocs de registres exacts, ni plus courts ni plus longs.",
                    "It answers exact blocks of registers only, neither shorter nor longer.",
                )
            )
        return found

    # State and actions

    def state(self, charger: Charger) -> str:
        rules = charger.raw["commands"]["state"]["rules"]
        names = {value["value"]: self.text(value["text"]) for value in self.by_id["state"]["values"]}
        english = self.language == "en_US"  # the notes of rules are for developers
        head = [self.say("quand", "when"), "state", *(["note"] if english else [])]
        rows = []
        for rule in rules:
            kept = self.say("l'état précédent reste", "the state before it stays")
            state = kept if rule["is"] is None else f"{rule['is']} ({names[rule['is']]})"
            when = self.when(rule["when"]) if "when" in rule else self.say("sinon", "otherwise")
            rows.append([when, state, *([rule.get("note", "")] if english else [])])
        after = self.say(
            f"La première ligne qui convient l'emporte. {READY} ({names[READY]}) devient {FINISHED} "
            f"({names[FINISHED]}) quand le véhicule a déjà chargé depuis qu'il est branché.",
            f"The first line that fits wins. {READY} ({names[READY]}) becomes {FINISHED} ({names[FINISHED]}) when the "
            "vehicle has already charged since it was plugged in.",
        )
        title = self.say("## Comment l'état est déduit", "## How the state is deduced")
        return f"{title}\n\n{table(head, rows)}\n\n{after}"

    def actions(self, charger: Charger) -> str:
        actions: Json = charger.raw.get("actions", {})
        if not actions:
            return ""
        names = [name for name in self.by_id if name in actions]
        head = [
            "action",
            self.say("ce que le plugin écrit", "what the plugin writes"),
            self.say("il vérifie", "it checks"),
        ]
        rows, refusals = [], []
        for name in names:
            action = actions[name]
            rows.append(
                [
                    code(name),
                    self.say(", puis ", ", then ").join(self.write(charger, write) for write in action["write"]),
                    ", ".join(f"{code(key)} = {self.wanted(value)}" for key, value in action.get("expect", {}).items())
                    or "–",
                ]
            )
            refusals += [
                self.say(
                    f"{code(name)} est refusée si {self.when(refusal['when'])} : « {self.text(refusal['because'])} »",
                    f'{code(name)} is refused when {self.when(refusal["when"])}: "{self.text(refusal["because"])}"',
                )
                for refusal in action.get("refuse", ())
            ]
        title = self.say("## Ce que font les actions", "## What the actions do")
        return "\n\n".join(block for block in (title, table(head, rows), bullets(refusals)) if block)

    def write(self, charger: Charger, raw: Json) -> str:
        address = charger.raw["points"][raw["point"]]["address"]
        return f"{code(raw['point'])} ({address}) = {self.wanted(raw['to'])}{self.only_when(raw)}"

    def wanted(self, value: object) -> str:
        words = {
            "value": self.say("la valeur demandée", "the value asked for"),
            "last_limit": self.say("la dernière limite de courant", "the last current limit"),
            "same": self.say("ce qu'il contient déjà", "what it already holds"),
        }
        return words.get(str(value), str(value))

    def only_when(self, raw: Json) -> str:
        return f"{self.say(', si', ', when')} {self.when(raw['when'])}" if "when" in raw else ""

    def when(self, raw: Json) -> str:
        return self.both([f"{code(point)} {self.test(test)}" for point, test in raw.items()])

    def test(self, test: Any) -> str:
        if isinstance(test, list):
            return f"= {self.either([str(value) for value in test])}"
        if not isinstance(test, dict):
            return f"= {test}"
        parts = []
        if "min" in test and "max" in test:
            parts.append(self.say("est entre {min} et {max}", "is from {min} to {max}").format(**test))
        elif "min" in test:
            parts.append(f"≥ {test['min']}")
        elif "max" in test:
            parts.append(f"≤ {test['max']}")
        if "not" in test:
            others = test["not"] if isinstance(test["not"], list) else [test["not"]]
            parts.append(f"≠ {self.either([str(value) for value in others])}")
        if "contains" in test:
            parts.append(self.say(f"contient « {test['contains']} »", f'contains "{test["contains"]}"'))
        return self.both(parts)

    def identify(self, charger: Charger) -> str:
        if "identify" not in charger.raw:
            return ""
        when = self.when(charger.raw["identify"])
        return self.say(
            f"## À quoi elle se reconnaît\n\nLa recherche (`evcharger scan`) propose ce modèle quand {when}.",
            f"## How it is recognised\n\nThe search (`evcharger scan`) proposes this model when {when}.",
        )

    # Registers

    def registers(self, charger: Charger) -> str:
        head = [
            self.say("nom", "name"), "table", self.say("adresse", "address"), "type", self.say("sens", "meaning"),
            self.say("accès", "access"), "source", self.say("remarque", "remark"),
        ]  # fmt: skip
        rows = []
        for name, raw in charger.raw["points"].items():
            address = charger.profile.points[name].address
            rows.append(
                [
                    code(name),
                    raw["table"],
                    f"{address} (0x{address:04X})",
                    self.kind(raw),
                    self.meaning(raw),
                    self.access(raw),
                    raw["source"],
                    self.remark(raw),
                ]
            )
        note = self.say(
            "Adresses telles qu'elles passent sur la ligne, à partir de 0. Les lettres des sources sont expliquées "
            "dessous.",
            "Addresses as they travel on the line, from 0. The letters of the sources are explained below.",
        )
        return f"{note}\n\n{table(head, rows)}"

    def kind(self, raw: Json) -> str:
        kind: str = raw["type"]
        if "count" in raw:
            kind += f" × {raw['count']}"
        if "mask" in raw:
            kind += f", bits {raw['mask']}"
        if raw.get("word_order") == "low":
            kind += self.say(", poids faible d'abord", ", low register first")
        return kind

    def meaning(self, raw: Json) -> str:
        parts = []
        scale = raw.get("scale", 1)
        if isinstance(scale, list):
            parts += [f"× {case['is']}{self.only_when(case).replace(',', '', 1)}" for case in scale]
        elif scale != 1:
            parts.append(f"× {scale}")
        if "offset" in raw:
            parts.append(f"{raw['offset']:+g}")
        if "curve" in raw:
            pairs = zip(raw["curve"]["raw"], raw["curve"]["value"], strict=True)
            parts.append(self.say("courbe ", "curve ") + ", ".join(f"{x:g} → {y:g}" for x, y in pairs))
        unit = f" {raw['unit']}" if "unit" in raw else ""
        text = "; ".join(parts) + unit
        if "special" in raw:
            text += " [" + ", ".join(f"{key} → {value:g}" for key, value in raw["special"].items()) + "]"
        if "ignore" in raw:
            text += self.say(" ; sans valeur si ", "; no value when ") + self.test(raw["ignore"])
        if "format" in raw:
            text += f" {code(raw['format'])}"
        return text.strip(" ;")

    def access(self, raw: Json) -> str:
        words = {
            "r": self.say("lecture", "read"),
            "w": self.say("écriture", "write"),
            "rw": self.say("lecture et écriture", "read and write"),
        }
        access = words[raw.get("access", "r")]
        if "write_function" in raw:
            access += f" ({self.say('fonction', 'function')} {raw['write_function']})"
        return access + (self.say(", à la connexion", ", at connection") if raw.get("read") == "once" else "")

    def remark(self, raw: Json) -> str:
        remarks = [self.say("**non vérifié**", "**not verified**")] if raw.get("unverified") else []
        if "note" in raw:
            remarks.append(self.text(raw["note"]))
        if "read_back" in raw:
            remarks.append(self.say(f"relu dans `{raw['read_back']}`", f"read back in `{raw['read_back']}`"))
        if "write_timeout_ms" in raw:
            seconds = self.number(raw["write_timeout_ms"] / 1000)
            remarks.append(self.say(f"la réponse peut prendre {seconds} s", f"the answer may take {seconds} s"))
        return "; ".join(remarks)


def main() -> None:
    """Write all pages, and remove those of chargers that are gone."""
    written = pages()
    for path, text in written.items():
        (DOCS / path).parent.mkdir(parents=True, exist_ok=True)
        (DOCS / path).write_text(text, encoding="utf-8")
    for old in DOCS.glob("*/chargers/*.md"):
        if old.relative_to(DOCS) not in written:
            old.unlink()
    print(f"{len(written)} pages")


if __name__ == "__main__":
    main()
