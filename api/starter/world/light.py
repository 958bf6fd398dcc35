"""What the time of day and the weather do to colours."""

from dataclasses import dataclass

from api.starter.world.canvas import Colour, mix


@dataclass(frozen=True)
class Light:
    """Colours of one hour: the sky from top to horizon, what the land is multiplied and mixed with."""

    sky: tuple[Colour, Colour, Colour]
    tint: tuple[float, float, float]
    haze: Colour
    haze_amount: float
    sun: Colour

    def on(self, colour: Colour) -> Colour:
        """The colour of a thing of this own colour in this light."""
        red, green, blue = (min(255, round(c * t)) for c, t in zip(colour, self.tint, strict=True))
        return mix((red, green, blue), self.haze, self.haze_amount)


LIGHTS = {
    "sunrise": Light(
        ((142, 182, 228), (250, 196, 190), (255, 232, 180)), (1.0, 0.9, 0.88), (255, 214, 190), 0.16, (255, 246, 196)
    ),
    "day": Light(((70, 152, 232), (132, 196, 246), (208, 236, 252)), (1.0, 1.0, 1.0), (255, 255, 255), 0.0, (255, 226, 70)),
    "sunset": Light(((84, 52, 122), (226, 86, 92), (255, 172, 74)), (0.66, 0.44, 0.5), (112, 40, 84), 0.18, (255, 214, 92)),
    "night": Light(((9, 13, 40), (22, 32, 78), (48, 62, 118)), (0.36, 0.42, 0.6), (24, 30, 72), 0.15, (244, 242, 214)),
}

_GREYS = {"sunrise": (206, 192, 194), "day": (158, 172, 184), "sunset": (128, 84, 96), "night": (24, 28, 46)}
_OVERCAST = {"clear": 0.0, "clouds": 0.0, "rain": 0.62, "snow": 0.42, "fog": 0.4}


def light_of(time: str, weather: str) -> Light:
    """The hour's light, greyed by what is between the land and the sky."""
    clear, grey, amount = LIGHTS[time], _GREYS[time], _OVERCAST[weather]
    top, middle, horizon = (mix(colour, grey, amount) for colour in clear.sky)
    return Light((top, middle, horizon), clear.tint, mix(clear.haze, grey, amount), clear.haze_amount + 0.3 * amount, clear.sun)
