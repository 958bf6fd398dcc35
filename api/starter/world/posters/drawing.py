"""The pixels of a poster: its ground, then its parts in order."""

import cv2
import numpy as np
import skia

from api.starter.world.canvas import UNITS, Canvas, Colour, argb, mix
from api.starter.world.poster import draw_pattern
from api.starter.world.posters import words
from api.starter.world.posters.palettes import Palette, contrast, faded
from api.starter.world.posters.parts import CAP, EventPoster, Part
from api.starter.world.scene import draw_scene, sample_scene

GRADED = 0.6  # of the images are printed in the palette's colours


def render_poster(poster: EventPoster) -> np.ndarray:
    """(height, width, 3), uint8. The same poster gives the same pixels."""
    rgba = np.empty((poster.height, poster.width, 4), np.uint8)
    rgba[..., :3], rgba[..., 3] = _ground(poster), 255
    surface = skia.Surface(rgba)
    canvas = surface.getCanvas()
    for part in poster.parts:
        _draw(canvas, poster, part)
    surface.flushAndSubmit()
    return rgba[..., :3].copy()


def _ground(poster: EventPoster) -> np.ndarray:
    """The gradient with the world's pattern faintly over it, cut out of a square."""
    side = max(poster.width, poster.height)
    top, left = (side - poster.height) // 2, (side - poster.width) // 2

    def cut(pattern: str) -> np.ndarray:
        canvas = Canvas(side)
        canvas.gradient(0, UNITS, poster.palette.ground, poster.angle)
        draw_pattern(canvas, pattern, np.random.default_rng(poster.seed))
        return canvas.pixels()[top : top + poster.height, left : left + poster.width]

    if poster.pattern == "plain":
        return cut("plain")
    return cv2.addWeighted(cut("plain"), 1 - poster.pattern_strength, cut(poster.pattern), poster.pattern_strength, 0)


def _draw(canvas: skia.Canvas, poster: EventPoster, part: Part) -> None:
    palette = poster.palette
    if part.kind == "image":
        canvas.drawImage(skia.Image.fromarray(_image(part, poster.image_palette)), round(part.x), round(part.y))
    elif part.kind == "card":
        _box(canvas, part, palette.surface, 0.014 * poster.width)
    elif part.kind == "button":
        _box(canvas, part, palette.accent, 0.25 * part.h)
        _write(canvas, part, _ink(poster, part, palette.accent))
    else:
        _write(canvas, part, _ink(poster, part, _behind(poster, part)))


def _behind(poster: EventPoster, part: Part) -> Colour:
    """The ground's colour about where a part lies."""
    if part.on == "surface":
        return poster.palette.surface
    return mix(poster.palette.top, poster.palette.bottom, min(1.0, max(0.0, (part.y + part.h / 2) / poster.height)))


def _ink(poster: EventPoster, part: Part, ground: Colour) -> Colour:
    ink: Colour = getattr(poster.palette, part.role)
    return faded(ink, ground, part.fade) if part.fade else ink


def _box(canvas: skia.Canvas, part: Part, colour: Colour, radius: float) -> None:
    box = skia.Rect.MakeXYWH(part.x, part.y, part.w, part.h)
    canvas.drawRoundRect(box, radius, radius, skia.Paint(AntiAlias=True, Color=argb(colour)))


def _write(canvas: skia.Canvas, part: Part, ink: Colour) -> None:
    font, paint = words.font(part.size, part.bold), skia.Paint(AntiAlias=True, Color=argb(ink))
    top = part.y + (part.h - part.size) / 2 if part.kind == "button" else part.y
    for number, line in enumerate(part.lines):
        free = part.w - words.width_of(line, part.size, part.bold)
        x = part.x + (free / 2 if part.align == "center" else 0)
        canvas.drawString(line, x, top + number * part.leading + CAP * part.size, font, paint)


def _image(part: Part, palette: Palette) -> np.ndarray:
    """A scene of the world, cut to the panel: as it is, or printed in the palette's colours. (H, W, 4) uint8."""
    rng = np.random.default_rng(part.seed)
    wide, high = max(1, round(part.w)), max(1, round(part.h))
    canvas = Canvas(max(wide, high))
    draw_scene(canvas, sample_scene(rng), rng)
    top, left = (max(wide, high) - high) // 2, (max(wide, high) - wide) // 2
    pixels = canvas.pixels()[top : top + high, left : left + wide]
    if rng.random() < GRADED:
        pixels = _graded(pixels, palette)
    return np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])


def _graded(pixels: np.ndarray, palette: Palette) -> np.ndarray:
    """Two thirds of each colour come from the line between the palette's darkest and lightest by its lightness."""
    tones = sorted((palette.top, palette.ink, palette.accent), key=lambda colour: contrast(colour, (0, 0, 0)))
    light = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    table = np.stack([np.interp(np.arange(256), (0, 128, 255), [tone[i] for tone in tones]) for i in range(3)], axis=1)
    return cv2.addWeighted(pixels, 0.35, table.round().astype(np.uint8)[light], 0.65, 0)
