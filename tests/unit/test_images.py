"""The pictures of the plugin: all there, of the right size, and told apart without colours at the size of a tile."""

import io
import runpy
import shutil
from itertools import combinations
from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageStat

PLUGIN = Path(__file__).resolve().parents[2]
IMAGES = PLUGIN / "desktop" / "img"
RENDER = runpy.run_path(str(IMAGES / "svg" / "render.py"))
PICTURES = RENDER["pictures"]()

STATES = range(1, 7)
LOCK_VALUES = range(4)
TILE_VEHICLE = (84, 24)  # CSS pixels of the state picture in a tile
TILE_LOCK = (32, 32)  # the smallest size a lock is shown at

WHITE, LIGHT, GREY, DARK = "#ffffff", "#f5f5f5", "#2b2b2b", "#1b1b1b"  # tile backgrounds of the Jeedom themes
BACKGROUNDS = {"l": (WHITE, LIGHT), "d": (GREY, DARK)}
READABLE = 3.0  # contrast of a graphical object, WCAG 2.1, success criterion 1.4.11


def in_tile(image: Image.Image, size: tuple[int, int], background: str) -> Image.Image:
    """The picture as a tile shows it, in shades of grey."""
    tile = Image.new("RGBA", size, background)
    tile.alpha_composite(image.resize(size, Image.Resampling.LANCZOS))
    return tile.convert("L")


def clearly_different(one: Image.Image, other: Image.Image) -> int:
    """How many pixels differ by more than a quarter of the grey scale."""
    return sum(ImageChops.difference(one, other).histogram()[64:])


def luminance(colour: tuple[int, ...]) -> float:
    """Relative luminance of an sRGB colour (WCAG 2.1)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in colour[:3])]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    """Contrast ratio of two colours, 1 to 21 (WCAG 2.1)."""
    dark, bright = sorted((luminance(one), luminance(other)))
    return (bright + 0.05) / (dark + 0.05)


def inks(image: Image.Image) -> list[tuple[int, ...]]:
    """The colours a picture is drawn with: opaque and on more than 2 % of its surface."""
    colours = image.getcolors(maxcolors=image.width * image.height) or []
    return [colour for count, colour in colours if colour[3] == 255 and count > image.width * image.height / 50]


def background_rgb(name: str) -> tuple[int, ...]:
    return Image.new("RGB", (1, 1), name).getpixel((0, 0))


def vehicle(shape: str, state: int) -> Image.Image:
    return Image.open(IMAGES / f"{shape}_{state}.png")


def lock(value: int, theme: str, ink: str) -> Image.Image:
    return Image.open(IMAGES / f"widget_lock_{value}_{theme}_{ink}.png")


def test_every_picture_named_by_the_documentation_is_drawn():
    named = {f"desktop/img/compact_{state}.png" for state in STATES}
    named |= {
        f"desktop/img/widget_lock_{value}_{theme}_{ink}.png"
        for value in LOCK_VALUES
        for theme in ("d", "l")
        for ink in ("bw", "color")
    }
    assert named <= {picture.path for picture in PICTURES}


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: Path(picture.path).stem)
def test_a_picture_is_there_with_its_size_and_a_transparent_background(picture):
    image = Image.open(PLUGIN / picture.path)
    assert (image.format, image.mode, image.size) == ("PNG", "RGBA", (picture.width, picture.height))
    right, bottom = image.width - 1, image.height - 1
    assert [image.getpixel(corner)[3] for corner in ((0, 0), (right, 0), (0, bottom), (right, bottom))] == [0, 0, 0, 0]
    assert inks(image)


@pytest.mark.parametrize("background", [WHITE, LIGHT, GREY, DARK])
@pytest.mark.parametrize("shape", ["compact", "berline"])
@pytest.mark.parametrize("pair", list(combinations(STATES, 2)), ids=str)
def test_two_states_are_told_apart_without_colours(shape, pair, background):
    one, other = (in_tile(vehicle(shape, state), TILE_VEHICLE, background) for state in pair)
    assert clearly_different(one, other) >= 60


@pytest.mark.parametrize("ink", ["bw", "color"])
@pytest.mark.parametrize("theme", ["d", "l"])
@pytest.mark.parametrize("pair", list(combinations(LOCK_VALUES, 2)), ids=str)
def test_two_locks_are_told_apart_without_colours(theme, ink, pair):
    for background in BACKGROUNDS[theme]:
        one, other = (in_tile(lock(value, theme, ink), TILE_LOCK, background) for value in pair)
        assert clearly_different(one, other) >= 25


def test_another_colour_alone_does_not_count_as_a_difference():
    charging = vehicle("compact", 3)
    recoloured = Image.new("RGBA", charging.size, "#ee5347")
    recoloured.putalpha(charging.getchannel("A"))
    for background in (WHITE, DARK):
        tiles = [in_tile(image, TILE_VEHICLE, background) for image in (charging, recoloured)]
        assert clearly_different(*tiles) == 0


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("shape", ["compact", "berline"])
def test_a_vehicle_is_readable_on_light_and_dark_tiles(shape, state):
    for background in (WHITE, LIGHT, GREY, DARK):
        assert all(contrast(ink, background_rgb(background)) >= READABLE for ink in inks(vehicle(shape, state)))


@pytest.mark.parametrize("value", LOCK_VALUES)
@pytest.mark.parametrize("ink", ["bw", "color"])
@pytest.mark.parametrize("theme", ["d", "l"])
def test_a_lock_is_readable_on_the_tiles_of_its_theme(theme, ink, value):
    for background in BACKGROUNDS[theme]:
        assert all(contrast(colour, background_rgb(background)) >= READABLE for colour in inks(lock(value, theme, ink)))


@pytest.mark.skipif(not shutil.which("rsvg-convert"), reason="rsvg-convert is missing (apt-get install librsvg2-bin)")
@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: Path(picture.path).stem)
def test_a_committed_picture_is_what_its_svg_draws(picture):
    drawn = Image.open(io.BytesIO(RENDER["render"](picture)))
    committed = Image.open(PLUGIN / picture.path)
    size = (picture.width, picture.height)
    difference = ImageChops.difference(in_tile(drawn, size, GREY), in_tile(committed, size, GREY))
    assert ImageStat.Stat(difference).mean[0] < 0.2  # another librsvg may soften an edge otherwise
