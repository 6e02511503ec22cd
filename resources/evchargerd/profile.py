"""A charger model's profile: core/config/chargers/<id>.json, loaded, validated, frozen."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

from . import catalog, expression
from .expression import Expression
from .modbus.frame import BIT_TABLES
from .point import FLOATS, WORDS, Curve, Point, Scale, format_bytes
from .rules import ALWAYS, Test, Value, When

SHIPPED_DIR = catalog.CONFIG_DIR / "chargers"
USER_DIR = catalog.CONFIG_DIR.parents[1] / "data" / "chargers"
MAX_BYTES = 256 * 1024  # of one profile file; the longest shipped one has a tenth of this
MAX_DEPTH = 12  # levels of JSON, scalars counted; the deepest shipped profile has 8
MAX_FAULTS = 100  # looked for in one document: a hostile one has as many as it has bytes
MODEL_ID = re.compile(r"[a-z0-9][a-z0-9-]{1,48}")  # as in charger.schema.json; a file of another name is no profile
MAX_REGISTERS = 125  # MODBUS Application Protocol V1.1b3, 6.3
DEFAULT_TIMEOUT_S = 1.0
DEFAULT_BAUDRATE = 9600  # for a Modbus TCP charger, should somebody put it behind a serial gateway
DEFAULT_WITHIN_S = 3.0


class ProfileError(Exception):
    """A profile that cannot be used: `file`, the JSON `path` of the fault and what was `expected` there (French)."""

    def __init__(self, file: str, path: str, expected: str) -> None:
        super().__init__(f"{file} : {path} : {expected}")
        self.file, self.path, self.expected = file, path, expected


@dataclass(frozen=True, slots=True)
class LineDefaults:
    baudrate: int
    parity: str
    stopbits: int
    unit: int
    framing: str = "rtu"
    baudrates: tuple[int, ...] = ()
    units: tuple[int, int] = (1, 247)
    verified: bool = True


@dataclass(frozen=True, slots=True)
class Limit:
    """Bounds and step of the current limit, A per phase."""

    min: float
    max: float
    step: float
    max_point: str | None = None


@dataclass(frozen=True, slots=True)
class Write:
    """Write `point` to a number, to the action's own value ("value"), to the last current limit ("last_limit"), or to
    what it already holds ("same").
    """

    point: str
    to: float | str
    when: When = ALWAYS
    wait: float = 0


@dataclass(frozen=True, slots=True)
class Refusal:
    when: When
    because: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Action:
    writes: tuple[Write, ...]
    refusals: tuple[Refusal, ...] = ()
    expect: Mapping[str, float | str] = field(default_factory=dict)
    expect_when: When = ALWAYS
    within: float = DEFAULT_WITHIN_S
    remember: Mapping[str, float | str] = field(default_factory=dict)
    unverified: bool = False


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """Every `every` seconds: a write, or a read that any other answered request makes needless."""

    every: float
    write: Write | None = None
    read: str | None = None
    when: When = ALWAYS


@dataclass(frozen=True, slots=True)
class Watchdog:
    timeout: float
    refreshed_by: str
    on_expiry: str


@dataclass(frozen=True, slots=True)
class Example:
    """A register image, by table and address, and the command values it means."""

    title: str
    image: Mapping[str, Mapping[int, int]]
    values: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Profile:
    id: str
    brand: str
    model: str
    rebrands: tuple[str, ...]
    picture: str
    confidence: str
    sources: Mapping[str, str]
    notes: tuple[Mapping[str, str], ...]
    line: LineDefaults
    pause: float
    timeout: float
    wake: bool
    settle: float
    max_registers: int
    blocks: Mapping[str, tuple[tuple[int, int], ...]]
    exact: bool
    points: Mapping[str, Point]
    commands: Mapping[str, Expression]
    unverified: frozenset[str]
    limit: Limit | None
    actions: Mapping[str, Action]
    start: tuple[Write, ...]
    keepalive: tuple[KeepAlive, ...]
    watchdog: Watchdog | None
    identify: When
    example: Example | None

    @property
    def title(self) -> str:
        return f"{self.brand} {self.model}"

    def offered(self, unverified: bool = False) -> tuple[str, ...]:
        """logicalIds of the commands this model has; those that nobody has confirmed only when asked for."""
        served = [name for name in (*self.commands, *self.actions) if unverified or name not in self.unverified]
        return catalog.offered(served)


# --- Loading ---------------------------------------------------------------------------------------------------------


def shipped() -> tuple[str, ...]:
    """Ids of the profiles that come with the plugin."""
    return _ids(SHIPPED_DIR)


def available() -> tuple[str, ...]:
    """Ids of all profiles: the shipped ones, then the user's own that do not bear a shipped name."""
    names = shipped()
    return (*names, *(name for name in _ids(USER_DIR) if name not in names))


def _ids(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in folder.glob("*.json") if MODEL_ID.fullmatch(path.stem)))


def usable() -> tuple[tuple[Profile, ...], Mapping[str, ProfileError]]:
    """All profiles that can be used, and by id what is wrong with each of the others."""
    profiles: list[Profile] = []
    errors: dict[str, ProfileError] = {}
    for name in available():
        try:
            profiles.append(load(name))
        except ProfileError as error:
            errors[name] = error
    return tuple(profiles), errors


def load(model: str) -> Profile:
    """The profile of this id. Raises ProfileError where there is none, or where it is wrong."""
    path = _path(model)
    try:
        modified = path.stat().st_mtime_ns
    except OSError as error:
        raise ProfileError(path.name, "$", f"fichier illisible : {error.strerror}") from error
    return _read_version(path, modified)


def document(model: str) -> Any:
    """The profile of this id as it stands in its file. Raises ProfileError."""
    return _document(_path(model))


def _path(model: str) -> Path:
    if model not in available():
        raise ProfileError(_shown(model), "$", "modèle inconnu ; « models » donne la liste")
    shipped_path = SHIPPED_DIR / f"{model}.json"
    return shipped_path if shipped_path.exists() else USER_DIR / f"{model}.json"


@lru_cache(maxsize=64)
def _read_version(path: Path, modified: int) -> Profile:
    """The shipped profiles have been checked against the schema by the tests: that alone would double the start-up."""
    if path.parent != SHIPPED_DIR:
        return read(path)
    raw = _document(path)
    try:
        return _Builder(raw, path.name).profile()
    except (LookupError, TypeError, ValueError, AttributeError):
        return parse(raw, path.name)  # somebody has edited it: say what is wrong


def read(path: Path) -> Profile:
    """The profile in this file. Raises ProfileError, also where the file cannot be read."""
    return parse(_document(path), path.name)


def _document(path: Path) -> Any:
    try:
        if path.exists() and not path.is_file():  # a FIFO would hold us for ever
            raise ProfileError(path.name, "$", "un fichier ordinaire")
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1)
        if len(text) > MAX_BYTES:
            raise ProfileError(path.name, "$", f"fichier de {MAX_BYTES} octets au plus")
        return json.loads(text)
    except OSError as error:
        raise ProfileError(path.name, "$", f"fichier illisible : {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ProfileError(path.name, "$", f"JSON invalide : {error}") from error


def parse(document: Any, file: str = "profil") -> Profile:
    """The profile in this JSON document. Raises ProfileError."""
    if not _is_sound(document):
        raise ProfileError(file, "$", f"{MAX_DEPTH} niveaux au plus, et aucun nombre infini")
    fault = next(_faults(document), None)
    if fault is not None:
        raise ProfileError(file, *fault)
    if Path(file).suffix == ".json" and document["id"] != Path(file).stem:
        raise ProfileError(file, "$.id", f"le nom du fichier, « {Path(file).stem} »")
    return _Builder(document, file).profile()


def _is_sound(document: object) -> bool:
    """Whether the schema can be trusted with this document: bounded depth, and numbers that are numbers."""
    level = [document]
    for _ in range(MAX_DEPTH):
        if any(isinstance(each, float) and not math.isfinite(each) for each in level):
            return False
        groups = [each.values() if isinstance(each, dict) else each for each in level if isinstance(each, (dict, list))]
        level = [child for group in groups for child in group]
    return not level


# --- Faults against the schema ---------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _validator() -> Any:
    from jsonschema import Draft202012Validator  # a tenth of a second: only where something is to be checked

    schema = json.loads((catalog.CONFIG_DIR / "charger.schema.json").read_text(encoding="utf-8"))
    return Draft202012Validator(schema)


def _faults(document: Any) -> Iterator[tuple[str, str]]:
    """(JSON path, what was expected) of each fault against the schema, in document order."""
    some = islice(_validator().iter_errors(document), MAX_FAULTS)
    for error in sorted(some, key=lambda error: error.json_path):
        yield error.json_path, _expected(error)


# What the schema's patterns ask for, in words.
PATTERNS = {
    "^[a-z0-9][a-z0-9-]{1,48}$": "un identifiant en minuscules, chiffres et tirets",
    "^[a-z][a-z0-9_]{0,48}$": "un nom en minuscules, chiffres et _",
    "^[A-Z][0-9]?$": "une lettre de source, par exemple M ou O2",
    "^[A-Z][0-9]?(,[A-Z][0-9]?)*$": "des lettres de sources, par exemple M,O",
    "^[0-9]{1,5}$": "une adresse en décimal",
    "^[0-9]{1,10}$": "un nombre entier en décimal",
    "^0x[0-9A-Fa-f]{1,4}$": "une adresse : un nombre, ou 0x et de 1 à 4 chiffres hexadécimaux",
    "^0x[0-9A-Fa-f]{1,8}$": "un nombre, ou 0x et de 1 à 8 chiffres hexadécimaux",
    "^-?[1-9][0-9]{0,5}/[1-9][0-9]{0,5}$": "un nombre, ou une fraction comme 1/256",
    "^([^{}]|\\{(high|low)?[0-9]{1,2}:(0?[1-4])?[xXdc]\\}|\\{value:([dxX]|\\.[0-9]f)\\})*$": (
        "un texte avec des octets comme {0:02x}, {1:c}, {high2:d}, ou {value:d}, {value:.2f}"
    ),
    "^(value|last_limit|same|0x[0-9A-Fa-f]{1,8})$": "un nombre, value, last_limit ou same",
    "^value$": "un nombre, ou value",
}


def _expected(error: Any) -> str:
    wanted, got = error.validator_value, error.instance
    match error.validator:
        case "required":
            missing = [key for key in wanted if key not in got]
            return f"il manque {', '.join(missing)}"
        case "additionalProperties":
            known = error.schema.get("properties", {})
            return f"clé inconnue {', '.join(key for key in got if key not in known)} ; attendu : {', '.join(known)}"
        case "enum":
            return f"l'une des valeurs {', '.join(map(repr, wanted))} (et non {_shown(got)})"
        case "type":
            return f"type {' ou '.join(wanted) if isinstance(wanted, list) else wanted} (et non {_shown(got)})"
        case "pattern":
            return f"{PATTERNS[wanted]} (et non {_shown(got)})"
        case "minimum" | "exclusiveMinimum" | "maximum" | "exclusiveMaximum":
            return f"{error.validator} {wanted} (et non {_shown(got)})"
        case "minItems" | "minProperties" | "minLength":
            return f"au moins {wanted} (et non {len(got)}, {_shown(got)})"
        case "items" | "maxLength":
            most = wanted if error.validator == "maxLength" else len(error.schema["prefixItems"])
            return f"au plus {most} (et non {len(got)}, {_shown(got)})"
        case "const":
            return f"la valeur {_shown(wanted)} (et non {_shown(got)})"
        case _:
            return str(error.message)


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "…"


# --- From JSON to Profile --------------------------------------------------------------------------------------------


def _number(raw: int | str) -> int:
    return int(raw, 16) if isinstance(raw, str) else raw


def _factor(raw: float | str) -> float:
    """A scale: a number, or a fraction such as "1/256"."""
    if not isinstance(raw, str):
        return raw
    numerator, denominator = raw.split("/")
    return int(numerator) / int(denominator)


class _Builder:
    """Turns a document that fits the schema into a Profile; refuses names that lead nowhere."""

    def __init__(self, document: Mapping[str, Any], file: str) -> None:
        self.document, self.file = document, file
        self.word_order = document.get("reading", {}).get("word_order", "high")
        self.points = {name: self.point(name, raw) for name, raw in document["points"].items()}

    def fail(self, path: str, expected: str) -> ProfileError:
        return ProfileError(self.file, path, expected)

    def profile(self) -> Profile:
        doc = self.document
        timing, reading, line = doc.get("timing", {}), doc.get("reading", {}), doc["line"]
        for name, point in self.points.items():
            self.check_points(f"$.points.{name}.scale", point.needs)
            if point.read_back is not None:
                self.check_points(f"$.points.{name}.read_back", (point.read_back,))
        profile = Profile(
            id=doc["id"],
            brand=doc["brand"],
            model=doc["model"],
            rebrands=tuple(doc.get("rebrands", ())),
            picture=doc["picture"],
            confidence=doc["confidence"],
            sources=doc["sources"],
            notes=tuple(doc["notes"]),
            line=LineDefaults(
                baudrate=line.get("baudrate", DEFAULT_BAUDRATE),
                parity=line.get("parity", "N"),
                stopbits=line.get("stopbits", 1),
                unit=line["unit"],
                framing=line.get("framing", "rtu"),
                baudrates=tuple(line.get("baudrates", (line.get("baudrate", DEFAULT_BAUDRATE),))),
                units=tuple(line.get("units", (1, 247))),
                verified=line.get("verified", True),
            ),
            pause=timing.get("pause_ms", 0) / 1000,
            timeout=timing.get("timeout_ms", DEFAULT_TIMEOUT_S * 1000) / 1000,
            wake=timing.get("wake", False),
            settle=timing.get("settle_s", 0),
            max_registers=reading.get("max_registers", MAX_REGISTERS),
            blocks={table: self.blocks(table, ranges) for table, ranges in reading.get("blocks", {}).items()},
            exact=reading.get("exact", False),
            points=self.points,
            commands={name: self.command(name, raw) for name, raw in doc["commands"].items()},
            unverified=frozenset(self.unverified()),
            limit=self.limit(),
            actions={name: self.action(name, raw) for name, raw in doc.get("actions", {}).items()},
            start=tuple(self.write(f"$.start[{i}]", raw) for i, raw in enumerate(doc.get("start", ()))),
            keepalive=tuple(self.keepalive(f"$.keepalive[{i}]", raw) for i, raw in enumerate(doc.get("keepalive", ()))),
            watchdog=self.watchdog(),
            identify=self.when("$.identify", doc.get("identify")),
            example=self.example(),
        )
        for name, point in self.points.items():
            if point.readable and point.count > profile.max_registers:
                expected = f"au plus {profile.max_registers} registres (reading.max_registers)"
                raise self.fail(f"$.points.{name}.count", expected)
        return profile

    def blocks(self, table: str, ranges: Iterable[tuple[int | str, int | str]]) -> tuple[tuple[int, int], ...]:
        blocks = tuple(sorted((_number(first), _number(last)) for first, last in ranges))
        for i, (first, last) in enumerate(blocks):
            if last < first or (i and first <= blocks[i - 1][1]):
                raise self.fail(f"$.reading.blocks.{table}", "des plages [première, dernière] qui ne se recouvrent pas")
        return blocks

    def point(self, name: str, raw: Mapping[str, Any]) -> Point:
        path, kind, table = f"$.points.{name}", raw["type"], raw["table"]
        if (kind == "bit") != (table in BIT_TABLES):
            raise self.fail(f"{path}.type", "bit pour les tables coil et discrete, et seulement pour elles")
        if (kind in ("text", "bytes")) != ("count" in raw):
            raise self.fail(f"{path}.count", "un nombre de registres pour text et bytes, et seulement pour eux")
        access = raw.get("access", "r")
        if access != "r" and table in ("discrete", "input"):
            raise self.fail(f"{path}.access", f"r : la table {table} ne s'écrit pas")
        scale = raw.get("scale", 1)
        listed = scale if isinstance(scale, list) else [{"is": scale}]
        cases = [(self.when_of(case), _factor(case["is"])) for case in listed]
        if any(factor == 0 for _, factor in cases):
            raise self.fail(f"{path}.scale", "un facteur autre que 0")
        mask = _number(raw["mask"]) if "mask" in raw else None
        if kind in ("text", "bytes", *FLOATS) and (mask is not None or "shift" in raw):
            raise self.fail(path, f"ni mask ni shift pour {kind}")
        point = Point(
            name=name,
            table=table,
            address=_number(raw["address"]),
            count=raw.get("count") or WORDS[kind],
            type=kind,
            high_word_first=raw.get("word_order", self.word_order) == "high",
            swap=raw.get("swap", False),
            mask=mask,
            shift=raw.get("shift", 0),
            scale=Scale(tuple(cases)),
            offset=raw.get("offset", 0),
            curve=self.curve(path, raw["curve"]) if "curve" in raw else None,
            special={int(key): value for key, value in raw.get("special", {}).items()},
            format=raw.get("format"),
            ignore=Test.parse(raw["ignore"]) if "ignore" in raw else None,
            readable=access != "w",
            writable=access != "r",
            once=raw.get("read") == "once",
            write_function=raw.get("write_function") or (5 if kind == "bit" else 6 if WORDS.get(kind) == 1 else 16),
            write_timeout=raw["write_timeout_ms"] / 1000 if "write_timeout_ms" in raw else None,
            read_back=raw.get("read_back"),
            power_up=raw.get("power_up"),
            eeprom=raw.get("eeprom", False),
            unverified=raw.get("unverified", False),
            unit=raw.get("unit", ""),
        )
        if point.last > 0xFFFF:
            raise self.fail(f"{path}.address", "une adresse dont le dernier registre ne dépasse pas 0xFFFF")
        unknown = [letter for letter in raw["source"].split(",") if letter not in self.document["sources"]]
        if unknown:
            raise self.fail(f"{path}.source", f"une lettre de sources ({', '.join(self.document['sources'])})")
        self.check_format(path, point)
        return point

    def check_format(self, path: str, point: Point) -> None:
        if point.format is None:
            return
        try:
            if point.type == "bytes":
                format_bytes(point.format, bytes(2 * point.count))
            else:
                whole = point.scale == Scale(((ALWAYS, 1),)) and not point.offset and point.type != "float32"
                point.format.format(value=0 if whole else 0.5)
        except ValueError:
            raise self.fail(f"{path}.format", "une forme pour des nombres à virgule, par exemple {value:.2f}") from None
        except (IndexError, KeyError):
            last = 2 * point.count - 1
            raise self.fail(f"{path}.format", f"des octets de 0 à {last}, ou value pour un nombre") from None

    def curve(self, path: str, raw: Mapping[str, list[float]]) -> Curve:
        curve = Curve(tuple(raw["raw"]), tuple(raw["value"]))
        rising = all(a < b for side in (curve.raw, curve.value) for a, b in pairwise(side))
        if len(curve.raw) != len(curve.value) or not rising:
            raise self.fail(f"{path}.curve", "autant de raw que de value, les deux en ordre croissant")
        return curve

    def when_of(self, raw: Mapping[str, Any]) -> When:
        return When.parse(raw.get("when"))

    def when(self, path: str, raw: Mapping[str, Any] | None) -> When:
        when = When.parse(raw)
        self.check_points(path, when.points)
        return when

    def check_points(self, path: str, names: Iterable[str]) -> None:
        for name in names:
            if name not in self.points:
                raise self.fail(path, f"le nom d'un point ; « {name} » n'en est pas un")
            if not self.points[name].readable:
                raise self.fail(path, f"un point qui se lit ; « {name} » ne se lit pas (access w)")

    def command(self, name: str, raw: Any) -> Expression:
        path = f"$.commands.{name}"
        self.check_command(path, name, action=False)
        try:
            parsed = expression.parse(raw, name)
        except ValueError as error:
            raise self.fail(path, str(error)) from None
        self.check_points(path, parsed.needs)
        return parsed

    def check_command(self, path: str, name: str, *, action: bool) -> None:
        known = catalog.load().get(name)
        if known is None or known.is_action is not action:
            raise self.fail(path, f"le logicalId d'une commande {'action' if action else 'info'} de commands.json")

    def unverified(self) -> Iterator[str]:
        doc = self.document
        for name, raw in doc["commands"].items():
            marked = isinstance(raw, dict) and raw.get("unverified", False)
            if marked or self.any_unverified(expression.parse(raw, name).needs):
                yield name
        for name, raw in doc.get("actions", {}).items():
            if raw.get("unverified", False) or self.any_unverified(write["point"] for write in raw["write"]):
                yield name

    def any_unverified(self, names: Iterable[str]) -> bool:
        return any(name in self.points and self.points[name].unverified for name in names)

    def limit(self) -> Limit | None:
        raw = self.document.get("limit")
        if raw is None:
            return None
        if raw["min"] > raw["max"]:
            raise self.fail("$.limit", "min inférieur ou égal à max")
        if "max_point" in raw:
            self.check_points("$.limit.max_point", (raw["max_point"],))
        return Limit(raw["min"], raw["max"], raw["step"], raw.get("max_point"))

    def action(self, name: str, raw: Mapping[str, Any]) -> Action:
        path = f"$.actions.{name}"
        self.check_command(path, name, action=True)
        if name == "set_current_limit" and "limit" not in self.document:
            raise self.fail(path, "un objet limit (min, max, step) dans le profil")
        given = catalog.load()[name].sub_type != "other"
        for group in ("expect", "remember"):
            for command, value in raw.get(group, {}).items():
                if command not in self.document["commands"]:
                    raise self.fail(f"{path}.{group}.{command}", "une commande info de ce profil")
                if value == "value" and not given:
                    raise self.fail(f"{path}.{group}.{command}", "un nombre : cette action ne reçoit pas de valeur")
        if given and all(write["to"] != "value" for write in raw["write"]):
            raise self.fail(f"{path}.write", "au moins un to « value » : cette action reçoit une valeur")
        return Action(
            writes=tuple(self.write(f"{path}.write[{i}]", write, given) for i, write in enumerate(raw["write"])),
            refusals=tuple(
                Refusal(self.when(f"{path}.refuse[{i}].when", refusal["when"]), refusal["because"])
                for i, refusal in enumerate(raw.get("refuse", ()))
            ),
            expect=raw.get("expect", {}),
            expect_when=self.when(f"{path}.expect_when", raw.get("expect_when")),
            within=raw.get("within_s", DEFAULT_WITHIN_S),
            remember=raw.get("remember", {}),
            unverified=raw.get("unverified", False),
        )

    def write(self, path: str, raw: Mapping[str, Any], given: bool = False) -> Write:
        point = self.points.get(raw["point"])
        if point is None or not point.writable:
            raise self.fail(f"{path}.point", f"un point qui s'écrit (access w ou rw), non « {raw['point']} »")
        if point.mask is not None and not point.readable:
            raise self.fail(f"{path}.point", f"un point qui se lit : « {point.name} » a un masque")
        to = raw["to"]
        if to == "same" and not point.readable:
            raise self.fail(f"{path}.to", f"un point qui se lit, pour « same » ; « {point.name} » ne se lit pas")
        if to == "value" and not given:
            raise self.fail(f"{path}.to", "un nombre, last_limit ou same : aucune valeur n'est donnée ici")
        if to == "last_limit" and "limit" not in self.document:
            raise self.fail(f"{path}.to", "un objet limit (min, max, step) dans le profil, pour « last_limit »")
        if isinstance(to, str) and to.startswith("0x"):
            to = int(to, 16)
        return Write(point.name, to, self.when(f"{path}.when", raw.get("when")), raw.get("wait_s", 0))

    def keepalive(self, path: str, raw: Mapping[str, Any]) -> KeepAlive:
        if ("read" in raw) == ("write" in raw):
            raise self.fail(path, "read ou write, l'un des deux")
        if "read" in raw:
            self.check_points(f"{path}.read", (raw["read"],))
        write = self.write(f"{path}.write", raw["write"]) if "write" in raw else None
        return KeepAlive(raw["every_s"], write, raw.get("read"), self.when(f"{path}.when", raw.get("when")))

    def watchdog(self) -> Watchdog | None:
        raw = self.document.get("watchdog")
        if raw is None:
            return None
        if raw["refreshed_by"] != "any" and raw["refreshed_by"] not in self.points:
            raise self.fail("$.watchdog.refreshed_by", "any ou le nom d'un point")
        return Watchdog(raw["timeout_s"], raw["refreshed_by"], raw["on_expiry"])

    def example(self) -> Example | None:
        raw = self.document.get("example")
        if raw is None:
            return None
        tables = {"1": "coil", "2": "discrete", "3": "holding", "4": "input"}
        image = {
            tables[code]: {int(address): word for address, word in words.items()}
            for code, words in raw["registers"].items()
        }
        return Example(raw["title"], image, raw["values"])
