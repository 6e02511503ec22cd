"""Checks the JSON data against the schemas beside it, and the schemas themselves. Exit 1 with each fault."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from jsonschema import Draft202012Validator

CONFIG = Path(__file__).resolve().parents[1] / "core" / "config"


def main() -> int:
    pairs = [(CONFIG / "commands.json", CONFIG / "commands.schema.json")]
    pairs += [(path, CONFIG / "charger.schema.json") for path in sorted((CONFIG / "chargers").glob("*.json"))]
    faults = 0
    for path, schema_path in pairs:
        schema = json.loads(schema_path.read_text(encoding="utf-8"))
        Draft202012Validator.check_schema(schema)
        for error in Draft202012Validator(schema).iter_errors(json.loads(path.read_text(encoding="utf-8"))):
            print(f"{path.name}: {error.json_path}: {error.message}")
            faults += 1
    print(f"{len(pairs)} JSON files checked against their schemas, {faults} faults")
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())
