#!/usr/bin/env python3
"""Draws every PNG of the plugin from the SVG files beside this script, with rsvg-convert (Debian: librsvg2-bin).

An SVG holds the parts of a whole family; the class of its root element chooses the picture (see the comment in each).
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

SVG = Path(__file__).resolve().parent
PLUGIN = SVG.parents[2]


class Picture(NamedTuple):
    """One PNG: its path in the plugin, its SVG, the class that chooses it, its size in pixels."""

    path: str
    svg: str
    chosen: str
    width: int
    height: int


def pictures() -> list[Picture]:
    """All the pictures, three or four times as large as a tile shows them: crisp on dense screens and zoomed."""
    vehicles = [
        Picture(f"desktop/img/{shape}_{state}.png", "vehicle.svg", f"{shape} s{state}", 336, 96)
        for shape in ("compact", "berline")
        for state in range(1, 7)
    ]
    locks = [
        Picture(
            f"desktop/img/widget_lock_{value}_{theme}_{ink}.png", "widget_lock.svg", f"v{value} {theme} {ink}", 144, 144
        )
        for value in range(4)
        for theme in ("d", "l")
        for ink in ("bw", "color")
    ]
    chargers = [
        Picture(f"desktop/img/charger_{kind}.png", "charger.svg", kind, 240, 240)
        for kind in ("socket", "cable", "board")
    ]
    icon = Picture("plugin_info/EVcharger_icon.png", "EVcharger_icon.svg", "", 309, 348)
    return [*vehicles, *locks, *chargers, icon]


def render(picture: Picture) -> bytes:
    """The PNG of a picture."""
    source = (SVG / picture.svg).read_text(encoding="utf-8")
    source = re.sub(r'(<svg [^>]*class=)"[^"]*"', rf'\1"{picture.chosen}"', source, count=1)
    command = ["rsvg-convert", "--width", str(picture.width), "--height", str(picture.height)]
    return subprocess.run(command, input=source.encode(), stdout=subprocess.PIPE, check=True).stdout


def main() -> None:
    if not shutil.which("rsvg-convert"):
        sys.exit("rsvg-convert is missing: apt-get install librsvg2-bin")
    for picture in pictures():
        (PLUGIN / picture.path).write_bytes(render(picture))
        print(picture.path)


if __name__ == "__main__":
    main()
