"""`make bench`: prints every table, or those named: speed, faults, models, startup."""

from __future__ import annotations

import importlib
import sys

TABLES = ("speed", "faults", "models", "startup")


def main(names: list[str]) -> int:
    for name in names or TABLES:
        if name not in TABLES:
            print(f"{name}: one of {', '.join(TABLES)}", file=sys.stderr)
            return 2
        importlib.import_module(f"bench.{name}").report()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
