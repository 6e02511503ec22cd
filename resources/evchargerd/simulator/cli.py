"""The command line of the simulator: `simulate`."""

from __future__ import annotations

import argparse
import sys
from typing import Any


def add_commands(subparsers: Any) -> None:
    """Add `simulate` to the sub commands of the command line."""
    simulate = subparsers.add_parser("simulate", help="une borne simulée")
    simulate.add_argument("--model", required=True)
    simulate.set_defaults(command=_simulate)


def _simulate(options: argparse.Namespace) -> int:
    print("pas encore de simulateur", file=sys.stderr)
    return 1
