"""What was seen, drawn over the picture: saliency, thirds, the centre of mass, text and its contrast.

Beside it the scores, the hue wheel with its template, and the palette. Pillow's drawing, and the font that it brings.
"""

import colorsys
import io
import math
from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from api.scoring.backends.composition import salient_places
from api.scoring.backends.contrast import AA, LARGE_TEXT, RGB
from api.scoring.backends.harmony import BINS, TEMPLATES, Harmony
from api.scoring.backends.layout import HEADLINES, Seen, Verdict
from api.scoring.backends.page import Box, Floats, Page
from api.scoring.overlay_places import GAP, PANEL, canvas_size, view_place, view_size

GROUND, INK, QUIET, TRACK = (22, 19, 20), (240, 236, 232), (158, 150, 146), (52, 47, 48)
GOOD, MIDDLING, BAD = (86, 184, 129), (226, 162, 58), (255, 107, 107)
MASS, PEAK = (64, 224, 255), (255, 90, 220)
HEAT = (255, 120, 20)
LABELS = {
    "aesthetic_score": "Overall",
    "composition_score": "Composition",
    "color_harmony_score": "Colour",
    "balance_score": "Balance",
}
WHEEL = 2  # drawn so many times too large, then reduced: Pillow's lines have hard edges
Corners = tuple[float, float, float, float]
"""left, top, right, bottom"""


@cache
def font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def draw_overlay(verdict: Verdict) -> Image.Image:
    """`verdict.seen` must be there. The picture at most 640 px long, with a panel of 264 px on its right."""
    assert verdict.seen is not None
    view = draw_view(verdict.seen)
    canvas = Image.new("RGB", canvas_size(view.size), GROUND)
    canvas.paste(view, view_place(view.size))
    draw_panel(canvas, view.width + 2 * GAP, verdict, verdict.seen)
    return canvas


def encode_overlay(overlay: Image.Image) -> bytes:
    buffer = io.BytesIO()
    overlay.save(buffer, "JPEG", quality=88, subsampling=0)
    return buffer.getvalue()


# ---------------------------------------------------------------- the picture


def draw_view(seen: Seen) -> Image.Image:
    page = seen.page
    size = view_size((page.width, page.height))
    zoom = max(size) / max(page.width, page.height)
    view = Image.fromarray(heat(page))
    if zoom > 1:
        view = view.resize(size, Image.Resampling.NEAREST if zoom > 8 else Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(view, "RGBA")
    draw_thirds(draw, size)
    draw_boxes(draw, seen, zoom, size)
    if page.saliency.any():
        draw_peak(draw, salient_places(page.saliency)[0], size)
    draw_mass(draw, (seen.mass.x * size[0], seen.mass.y * size[1]), size)
    return view


def heat(page: Page) -> np.ndarray:
    """The page, a little dimmed, with what is salient glowing."""
    saliency = np.asarray(
        cv2.resize(page.saliency.astype(np.float32), (page.width, page.height), interpolation=cv2.INTER_LINEAR)
    )
    glow = cv2.threshold(saliency - np.float32(0.2), 0, 0, cv2.THRESH_TOZERO)[1] * np.float32(0.6 / 0.8)
    return np.asarray(cv2.blendLinear(page.rgb, plain(page.width, page.height, HEAT), (1 - glow) * np.float32(0.88), glow))


def plain(width: int, height: int, color: RGB) -> np.ndarray:
    return np.asarray(Image.new("RGB", (width, height), color))


def draw_thirds(draw: ImageDraw.ImageDraw, size: tuple[int, int]) -> None:
    for part in (1 / 3, 2 / 3):
        x, y = round(size[0] * part), round(size[1] * part)
        for line in (((x, 0), (x, size[1])), ((0, y), (size[0], y))):
            draw.line([(a + 1, b + 1) for a, b in line], fill=(0, 0, 0, 90), width=1)
            draw.line(line, fill=(255, 255, 255, 120), width=1)


def draw_boxes(draw: ImageDraw.ImageDraw, seen: Seen, zoom: float, size: tuple[int, int]) -> None:
    """Text in the colour of its contrast, with the ratio where that hides nothing; everything else quietly."""
    texts = {box for box, _ in seen.text}
    for box in seen.boxes:
        if box not in texts:
            draw.rectangle(corners(box, zoom), outline=(150, 200, 255, 130))
    taken = [corners(box, zoom) for box in texts]
    for box, ratio in seen.text:
        need = AA[box[3] >= LARGE_TEXT * seen.page.height]
        color = GOOD if ratio >= need else MIDDLING if ratio >= 0.67 * need else BAD
        here = corners(box, zoom)
        draw.rectangle(here, outline=color, width=2)
        tag = place_tag(draw, f"{ratio:.1f}:1", here, size)
        if not any(overlap(tag, other) for other in taken if other != here):
            taken.append(tag)
            draw.rectangle(tag, fill=(*color, 235))
            draw.text((tag[0] + 3, tag[1] + 1), f"{ratio:.1f}:1", font=font(11), fill=(16, 12, 12))


def corners(box: Box, zoom: float) -> Corners:
    x, y, w, h = box
    return (
        round(x * zoom),
        round(y * zoom),
        max(round((x + w) * zoom) - 1, round(x * zoom)),
        max(round((y + h) * zoom) - 1, round(y * zoom)),
    )


def place_tag(draw: ImageDraw.ImageDraw, text: str, box: Corners, size: tuple[int, int]) -> Corners:
    """Above the box's right end, kept inside the picture."""
    width, height = draw.textlength(text, font=font(11)) + 6, 14
    left = min(max(0.0, box[2] - width + 1), size[0] - width)
    top = box[1] - height if box[1] >= height else box[1]
    return left, top, left + width, top + height


def overlap(first: Corners, second: Corners) -> bool:
    across = first[0] < second[2] and second[0] < first[2]
    return across and first[1] < second[3] and second[1] < first[3]


def draw_mass(draw: ImageDraw.ImageDraw, position: tuple[float, float], size: tuple[int, int]) -> None:
    """A ring where the weight is, a cross where the middle is, a line from one to the other."""
    middle = (size[0] / 2, size[1] / 2)
    for color, width in (((0, 0, 0, 150), 4), ((*MASS, 255), 2)):
        draw.line([middle, position], fill=color, width=width)
        for dx, dy in ((7, 0), (0, 7)):
            draw.line([(middle[0] - dx, middle[1] - dy), (middle[0] + dx, middle[1] + dy)], fill=color, width=width)
        draw.circle(position, 11, outline=color, width=width)
    draw.circle(position, 3, fill=(*MASS, 255), outline=(0, 0, 0, 150))


def draw_peak(draw: ImageDraw.ImageDraw, position: tuple[float, float], size: tuple[int, int]) -> None:
    x, y = position[0] * size[0], position[1] * size[1]
    draw.polygon([(x, y - 8), (x + 8, y), (x, y + 8), (x - 8, y)], outline=(0, 0, 0, 160), width=4)
    draw.polygon([(x, y - 8), (x + 8, y), (x, y + 8), (x - 8, y)], outline=(*PEAK, 255), width=2)


# ---------------------------------------------------------------- the panel


def draw_panel(canvas: Image.Image, left: int, verdict: Verdict, seen: Seen) -> None:
    draw = ImageDraw.Draw(canvas)
    top = draw_scores(draw, left, GAP, verdict)
    harmony = seen.harmony
    wheel = draw_wheel(seen.hues, harmony)
    canvas.paste(wheel, (left + (PANEL - wheel.width) // 2, top))
    top += wheel.height + 4
    name = (
        "no hues to speak of" if harmony.neutral else f"template {harmony.template}, {math.degrees(harmony.distance):.1f}° off"
    )
    draw.text((left + PANEL / 2, top), name, font=font(12), fill=QUIET, anchor="ma")
    top = draw_palette(draw, left, top + 24, seen.palette)
    canvas.paste(legend(), (left, top + 12))


def draw_scores(draw: ImageDraw.ImageDraw, left: int, top: int, verdict: Verdict) -> int:
    for name in HEADLINES:
        score = verdict.scores[name]
        size = 15 if name == "aesthetic_score" else 13
        draw.text((left, top), LABELS[name], font=font(size), fill=INK)
        shown = "–" if score is None else f"{score:.0f}"
        draw.text((left + PANEL, top), shown, font=font(size), fill=INK, anchor="ra")
        bar = top + size + 7
        draw.rounded_rectangle((left, bar, left + PANEL, bar + 5), 2, fill=TRACK)
        if score:
            color = GOOD if score >= 70 else MIDDLING if score >= 45 else BAD
            draw.rounded_rectangle((left, bar, left + max(5, PANEL * score / 100), bar + 5), 2, fill=color)
        top = bar + 14
    return top + 4


@cache
def hue_ring(side: int) -> Image.Image:
    """The wheel of hues, red on the right, counter-clockwise as angles go."""
    y, x = np.mgrid[0:side, 0:side] - (side - 1) / 2
    hue = (np.degrees(np.arctan2(-y, x)) % 360 / 2).astype(np.uint8)
    hsv = np.stack([hue, np.full_like(hue, 205), np.full_like(hue, 235)], axis=2)
    return Image.fromarray(np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)))


@cache
def ring_mask(side: int, outer: float, inner: float) -> Image.Image:
    mask = Image.new("L", (side, side), 0)
    draw, middle = ImageDraw.Draw(mask), side / 2
    draw.circle((middle, middle), outer, fill=255)
    draw.circle((middle, middle), inner, fill=0)
    return mask


def draw_wheel(histogram: Floats, harmony: Harmony) -> Image.Image:
    """A ring of hues; inside it, towards the middle, how much of each there is; the template's sectors behind, lighter."""
    side, middle = 184 * WHEEL, 92 * WHEEL
    outer, inner = 90 * WHEEL, 76 * WHEEL
    wheel = Image.new("RGB", (side, side), GROUND)
    draw = ImageDraw.Draw(wheel)
    draw.circle((middle, middle), inner - 4, fill=(34, 30, 31))
    for center, width in () if harmony.neutral else TEMPLATES[harmony.template]:
        angle = harmony.angle + center
        box = (middle - inner + 4, middle - inner + 4, middle + inner - 4, middle + inner - 4)
        draw.pieslice(box, -angle - width / 2, -angle + width / 2, fill=(92, 84, 86))
    wheel.paste(hue_ring(side), (0, 0), ring_mask(side, outer, inner))
    draw_petals(draw, histogram, (middle, inner - 8 * WHEEL))
    return wheel.resize((side // WHEEL, side // WHEEL), Image.Resampling.BOX)


def draw_petals(draw: ImageDraw.ImageDraw, histogram: Floats, place: tuple[float, float]) -> None:
    middle, longest = place
    most = float(histogram.max())
    for bin_ in range(BINS) if most > 1e-4 else ():
        length = longest * math.sqrt(float(histogram[bin_]) / most)
        if length >= 2:
            color = tuple(round(255 * level) for level in colorsys.hsv_to_rgb(bin_ / BINS, 0.75, 0.95))
            ends = [math.radians(-2 * bin_ + turn) for turn in (-1.2, 1.2)]
            draw.polygon(
                [(middle, middle), *((middle + length * math.cos(a), middle + length * math.sin(a)) for a in ends)], fill=color
            )


def draw_palette(draw: ImageDraw.ImageDraw, left: int, top: int, colors: Sequence[tuple[RGB, float]]) -> int:
    """A bar in which each colour has its share's root, so that accents are seen, and the colours by name below."""
    roots = [math.sqrt(share) for _, share in colors]
    x = float(left)
    for (color, _), root in zip(colors, roots, strict=True):
        width = PANEL * root / sum(roots)
        draw.rectangle((x, top, x + width - 1, top + 22), fill=color)
        x += width
    draw.rectangle((left, top, left + PANEL, top + 22), outline=TRACK)
    top += 30
    for place, (color, share) in enumerate(colors):
        column, row = place % 2, place // 2
        x, y = left + column * PANEL / 2, top + row * 17
        draw.rectangle((x, y + 2, x + 10, y + 12), fill=color, outline=TRACK)
        draw.text((x + 16, y), f"{hex_of(color)}  {100 * share:.0f} %", font=font(12), fill=QUIET)
    return top + 17 * math.ceil(len(colors) / 2)


def hex_of(color: RGB) -> str:
    return f"#{color[0]:02x}{color[1]:02x}{color[2]:02x}"


@cache
def legend() -> Image.Image:
    """The same beside every picture."""
    drawn = Image.new("RGB", (PANEL, 52), GROUND)
    draw = ImageDraw.Draw(drawn)
    draw.circle((6, 7), 5, outline=MASS, width=2)
    draw.text((18, 0), "centre of mass, from the middle (+)", font=font(12), fill=QUIET)
    draw.polygon([(6, 19), (11, 24), (6, 29), (1, 24)], outline=PEAK, width=2)
    draw.text((18, 17), "what stands out most; its glow, saliency", font=font(12), fill=QUIET)
    draw.rectangle((1, 36, 11, 46), outline=GOOD, width=2)
    draw.text((18, 34), "text and its contrast (AA 4.5:1, large 3:1)", font=font(12), fill=QUIET)
    return drawn
