"""Scenes: a landform at a time of day in some weather, with a few things in it."""

import zlib
from dataclasses import dataclass, replace

import numpy as np

from api.starter.world.canvas import UNITS, Canvas, mix
from api.starter.world.landforms import FOOT, HORIZON, LANDFORMS, WATER
from api.starter.world.light import Light, light_of
from api.starter.world.objects import (
    GROUND,
    draw_balloon,
    draw_birds,
    draw_moon,
    draw_rainbow,
    draw_stars,
    draw_sun,
)
from api.starter.world.words import another, article, dressed, listed, pick

TIMES = ("sunrise", "day", "sunset", "night")
WEATHERS = ("clear", "clouds", "rain", "snow", "fog")
STYLES = ("plain", "pastel", "vivid", "monochrome", "duotone")
OBJECTS = ("sun", "moon", "stars", "birds", "balloon", "rainbow", "boat", "pines", "trees", "palms", "cacti", "house")
ONE_OF = {"pines": "pine tree", "trees": "tree", "palms": "palm tree", "cacti": "cactus"}
"""What one of several things that stand side by side is called."""
HELD_OUT_SHARE = 8  # percent

_GROWS = {
    "lake": ("boat", "pines"),
    "sea": ("boat", "palms"),
    "mountains": ("pines", "house"),
    "hills": ("pines", "trees", "house"),
    "forest": ("house",),
    "desert": ("palms", "cacti"),
    "meadow": ("trees", "house"),
    "city": (),
    "snow": ("pines", "house"),
}
_LAND_WORDS = {
    "lake": ("lake", "lake", "lake", "mountain lake"),
    "sea": ("sea", "sea", "ocean", "beach", "coast"),
    "mountains": ("mountains", "mountains", "mountain range"),
    "hills": ("hills", "green hills", "rolling hills"),
    "forest": ("forest", "forest", "woods", "pine forest"),
    "desert": ("desert", "desert", "sand dunes"),
    "meadow": ("meadow", "meadow", "flower meadow", "field of flowers"),
    "city": ("city", "city", "city skyline", "skyline"),
    "snow": ("snowy plain", "snowfield", "snowy landscape", "winter landscape"),
}
_PLURAL = frozenset({"mountains", "hills", "green hills", "rolling hills", "woods", "sand dunes"})
_MOODS = ("serene", "serene", "calm", "peaceful", "quiet", "beautiful", "lonely", "wide", "dreamy")
_TIME_WORDS = {
    "sunrise": ("at sunrise", "at sunrise", "at dawn", "in the early morning"),
    "day": ("by day", "at noon", "in daylight", "during the day", "on a bright day"),
    "sunset": ("at sunset", "at sunset", "at dusk", "in the evening"),
    "night": ("at night", "at night", "by night", "at midnight"),
}
_WEATHER_WORDS = {
    "clear": ("under a clear sky", "in clear weather"),
    "clouds": ("with clouds", "under a cloudy sky", "with white clouds"),
    "rain": ("in the rain", "on a rainy day", "in heavy rain"),
    "snow": ("in the snow", "with falling snow", "in a snowfall"),
    "fog": ("in fog", "in the mist", "in thick fog"),
}
_OBJECT_WORDS = {
    "sun": ("the sun", "a bright sun"),
    "moon": ("the moon", "a full moon"),
    "stars": ("stars", "many stars"),
    "birds": ("birds", "flying birds", "a flock of birds"),
    "balloon": ("a hot-air balloon", "a hot air balloon", "a balloon"),
    "rainbow": ("a rainbow",),
    "boat": ("a sailing boat", "a sailboat", "a boat"),
    "pines": ("pine trees", "pines"),
    "trees": ("round trees", "trees"),
    "palms": ("palm trees", "palms"),
    "cacti": ("cacti", "a cactus"),
    "house": ("a house", "a little house"),
}
_STYLE_WORDS = {
    "plain": ("",),
    "pastel": (", pastel colors", ", in pastel style"),
    "vivid": (", vivid colors", ", in vivid style"),
    "monochrome": (", monochrome", ", black and white"),
    "duotone": (", duotone", ", in duotone style"),
}


@dataclass(frozen=True)
class Scene:
    landform: str
    time: str
    weather: str
    objects: tuple[str, ...]
    style: str = "plain"
    kind: str = "scene"


def is_held_out(landform: str, time: str, thing: str) -> bool:
    """Whether this triple is kept out of training, so that evaluation can ask for what was never seen together."""
    return zlib.crc32(f"{landform}|{time}|{thing}".encode()) % 100 < HELD_OUT_SHARE


def held_out_things(scene: Scene) -> tuple[str, ...]:
    """Things in the scene whose triple with its landform and time was kept out. Sun, moon and stars always stay in."""
    things = (thing for thing in scene.objects if thing not in ("sun", "moon", "stars"))
    return tuple(thing for thing in things if is_held_out(scene.landform, scene.time, thing))


def possible_things(landform: str, time: str, weather: str) -> tuple[str, ...]:
    """What may be drawn there and then, beside the sun, the moon and the stars."""
    sky = ["birds", "balloon"]
    if time in ("sunrise", "day") and weather in ("clear", "clouds", "rain"):
        sky.append("rainbow")
    return tuple(sky) + _GROWS[landform]


def sample_scene(rng: np.random.Generator) -> Scene:
    landform = pick(rng, (*LANDFORMS, "lake"))
    time = pick(rng, TIMES)
    weather = str(rng.choice(WEATHERS, p=(0.5, 0.2, 0.1, 0.1, 0.1)))
    things = list(rng.permutation(possible_things(landform, time, weather))[: rng.choice(4, p=(0.12, 0.36, 0.36, 0.16))])
    things += _lights(rng, time, weather)
    style = str(rng.choice(STYLES, p=(0.8, 0.05, 0.05, 0.05, 0.05)))
    return Scene(landform, time, weather, tuple(t for t in OBJECTS if t in things), style)


def _lights(rng: np.random.Generator, time: str, weather: str) -> list[str]:
    """Which of sun, moon and stars can be seen."""
    if weather in ("rain", "snow", "fog"):
        return []
    if time != "night":
        return ["sun"] if rng.random() < 0.75 else []
    return [thing for thing, chance in (("moon", 0.65), ("stars", 0.7)) if rng.random() < chance]


def change_scene(scene: Scene, rng: np.random.Generator) -> Scene:
    """The same with a thing less, a thing more, another thing, or at another time; may be the same where that can't be."""
    lights = ("sun",) if scene.time != "night" else ("moon", "stars")
    sky = lights if scene.weather in ("clear", "clouds") else ()
    absent = [t for t in (*possible_things(scene.landform, scene.time, scene.weather), *sky) if t not in scene.objects]
    there = list(scene.objects)
    change = rng.choice(("less", "more", "other", "time"), p=(0.3, 0.25, 0.3, 0.15))
    if change == "time":
        kept = tuple(thing for thing in there if thing not in ("sun", "moon", "stars", "rainbow"))
        return replace(scene, time=another(rng, TIMES, scene.time), objects=kept)
    if change in ("less", "other") and there:
        there.remove(pick(rng, there))
    if change in ("more", "other") and absent:
        there.append(pick(rng, absent))
    return replace(scene, objects=tuple(thing for thing in OBJECTS if thing in there))


def draw_scene(canvas: Canvas, scene: Scene, rng: np.random.Generator) -> None:
    light = light_of(scene.time, scene.weather)
    _draw_sky(canvas, scene, light, rng)
    LANDFORMS[scene.landform](canvas, light, rng)
    if "sun" in scene.objects and scene.landform in WATER and scene.time != "day":
        _draw_glitter(canvas, light, rng)
    with canvas.thing():
        _draw_ground_things(canvas, scene, light, rng)
    canvas.hide_covered()
    _draw_weather(canvas, scene, light, rng)


def _draw_sky(canvas: Canvas, scene: Scene, light: Light, rng: np.random.Generator) -> None:
    canvas.gradient(0, UNITS, light.sky, stops=(0, 0.36, 0.66))
    with canvas.thing():
        slots = _draw_lights(canvas, scene, light, rng)
    if scene.weather == "clouds":
        _draw_clouds(canvas, light, rng)
    with canvas.thing():
        if "balloon" in scene.objects and slots:
            with canvas.labelled("balloon"):
                draw_balloon(canvas, light, slots.pop(), rng.uniform(22, 32), rng)
        if "birds" in scene.objects and slots:
            with canvas.labelled("birds"):
                draw_birds(canvas, light, slots.pop(), rng.uniform(22, 40), rng)


def _draw_lights(canvas: Canvas, scene: Scene, light: Light, rng: np.random.Generator) -> list[float]:
    """Stars, rainbow, sun and moon; returns the middles of the thirds of the sky that are still free."""
    if "stars" in scene.objects:
        with canvas.labelled("stars"):
            draw_stars(canvas, rng)
    if "rainbow" in scene.objects:
        with canvas.labelled("rainbow"):
            draw_rainbow(canvas, light, rng.uniform(52, 76), rng)
    slots = [float(slot + rng.uniform(-6, 6)) for slot in rng.permutation((22, 64, 106))]
    if "sun" in scene.objects:
        draw_sun(canvas, light, *_sun_place(scene, slots, rng), rng)
    if "moon" in scene.objects:
        draw_moon(canvas, light, slots.pop(), rng.uniform(17, 26), rng)
    return slots


def _sun_place(scene: Scene, slots: list[float], rng: np.random.Generator) -> tuple[float, float]:
    """Takes its slot from `slots`: high by day, else low over the horizon, and in the middle over water."""
    if scene.time == "day":
        return slots.pop(), 20.0
    low = {"mountains": 34.0, "city": 38.0, "forest": 36.0, "lake": 44.0}.get(scene.landform, 56.0)
    x = min(slots, key=lambda slot: abs(slot - 64)) if scene.landform in WATER else slots[-1]
    slots.remove(x)
    return x, low + rng.uniform(-3, 3)


def _draw_clouds(canvas: Canvas, light: Light, rng: np.random.Generator) -> None:
    colour = mix(light.on((255, 255, 255)), light.sky[2], 0.25)
    for slot in (20, 64, 108):
        x, y, scale = slot + rng.uniform(-10, 10), rng.uniform(10, 42), rng.uniform(0.8, 1.15)
        for dx, dy, r in ((-11, 2, 6), (0, -2, 9), (11, 2, 7)):
            canvas.circle(x + dx * scale, y + dy * scale, r * scale, colour)
        canvas.rounded(x - 17 * scale, y + 1, 35 * scale, 8 * scale, 4 * scale, colour)


def _draw_glitter(canvas: Canvas, light: Light, rng: np.random.Generator) -> None:
    """The sun's path on the water."""
    x = 64 + rng.uniform(-4, 4)
    for step in range(8):
        y, half = HORIZON + 3 + step * 4.4, 15 - step * 1.3 + rng.uniform(-2, 3)
        canvas.line(((x - half, y), (x + half, y)), light.sun, 2.0, 0.75)


def _draw_ground_things(canvas: Canvas, scene: Scene, light: Light, rng: np.random.Generator) -> None:
    slots = [float(slot + rng.uniform(-5, 5)) for slot in rng.permutation((22, 64, 106))]
    if "boat" in scene.objects:
        with canvas.labelled("boat"):
            GROUND["boat"](canvas, light, 64 + rng.uniform(-26, 26), WATER[scene.landform] + rng.uniform(-3, 3), rng)
    if "house" in scene.objects:
        with canvas.labelled("house"):
            GROUND["house"](canvas, light, slots.pop(), FOOT[scene.landform], rng)
    for thing in ("pines", "trees", "palms", "cacti"):
        if thing in scene.objects:
            for _ in range(2 if len(slots) > 1 and "boat" not in scene.objects else 1):
                x = slots.pop() if slots else rng.uniform(10, 118)
                with canvas.labelled(ONE_OF[thing]):
                    GROUND[thing](canvas, light, x, FOOT[scene.landform] + rng.uniform(-2, 4), rng)


def _draw_weather(canvas: Canvas, scene: Scene, light: Light, rng: np.random.Generator) -> None:
    if scene.weather == "rain":
        for x, y in zip(rng.uniform(-6, 134, 46), rng.uniform(-4, 128, 46), strict=True):
            canvas.line(((x, y), (x - 3, y + 9)), mix(light.sky[2], (230, 240, 255), 0.6), 1.2, 0.75)
    if scene.weather == "snow":
        for x, y, r in zip(rng.uniform(0, 128, 48), rng.uniform(0, 128, 48), rng.uniform(1.2, 2.2, 48), strict=True):
            canvas.circle(x, y, r, (255, 255, 255))
    if scene.weather == "fog":
        for y in (58, 76, 94):
            colour = mix(light.sky[2], (236, 238, 242), 0.55 if scene.time != "night" else 0.2)
            canvas.rect(-10, y + rng.uniform(-3, 3), UNITS + 20, 13, colour, 0.62)


def describe_scene(scene: Scene, rng: np.random.Generator, things: tuple[str, ...] | None = None) -> str:
    """A caption that is true of the scene; `things` fixes which of its things are named, and then the weather is, too."""
    fully = things is not None
    if things is None:
        things = _named(scene, rng)
    land = pick(rng, _LAND_WORDS[scene.landform])
    time, style = pick(rng, _TIME_WORDS[scene.time]), pick(rng, _STYLE_WORDS[scene.style])
    says_weather = rng.random() < 0.25 if scene.weather == "clear" else fully or rng.random() < 0.8
    weather = pick(rng, _WEATHER_WORDS[scene.weather]) if says_weather else ""
    named = [pick(rng, _OBJECT_WORDS[thing]) for thing in rng.permutation(list(things))]
    return dressed(rng, _SENTENCES[int(rng.integers(len(_SENTENCES)))](rng, land, time, weather, named) + style)


def _named(scene: Scene, rng: np.random.Generator) -> tuple[str, ...]:
    share = rng.choice((0.0, 0.6, 1.0), p=(0.12, 0.28, 0.6))
    return tuple(thing for thing in scene.objects if rng.random() < share)


def _noun(rng: np.random.Generator, land: str) -> str:
    mood = pick(rng, _MOODS) + " " if rng.random() < 0.4 else ""
    return mood + land if land in _PLURAL else article(mood + land)


def _join(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def _plain_sentence(rng: np.random.Generator, land: str, time: str, weather: str, named: list[str]) -> str:
    return _join(_noun(rng, land), time, weather, f"with {listed(named)}" if named else "")


def _things_first(rng: np.random.Generator, land: str, time: str, weather: str, named: list[str]) -> str:
    if not named:
        return _plain_sentence(rng, land, time, weather, named)
    return _join(listed(named), pick(rng, ("in", "in front of", "at", "over")), _noun(rng, land), time, weather)


def _time_first(rng: np.random.Generator, land: str, time: str, weather: str, named: list[str]) -> str:
    return _join(f"{time},", _noun(rng, land), f"and {listed(named)}" if named else "", weather)


def _tags(rng: np.random.Generator, land: str, time: str, weather: str, named: list[str]) -> str:
    short = time.split(" ")[-1]
    return ", ".join(part for part in (land, short, *named, weather) if part)


_SENTENCES = (_plain_sentence, _plain_sentence, _plain_sentence, _things_first, _time_first, _tags)
