"""Styles that a finished picture is put into, as maps from colours to colours. Pictures are (H, W, 3) uint8."""

import numpy as np

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
RISO_INKS = np.array([[38, 40, 92], [222, 82, 92], [248, 178, 140], [252, 240, 218]], np.float32)
"""The four tones of the LoRA's style, from dark to light."""
_DUOTONE = np.array([[26, 26, 92], [255, 214, 150]], np.float32)


def put_into_style(picture: np.ndarray, style: str) -> np.ndarray:
    return _STYLES[style](picture)


def _plain(picture: np.ndarray) -> np.ndarray:
    return picture


def _pastel(picture: np.ndarray) -> np.ndarray:
    grey = (picture @ LUMA)[..., None]
    return (0.45 * 255 + 0.55 * (0.35 * grey + 0.65 * picture)).astype(np.uint8)


def _vivid(picture: np.ndarray) -> np.ndarray:
    grey = (picture @ LUMA)[..., None]
    return np.clip(grey + 1.7 * (picture - grey), 0, 255).astype(np.uint8)


def _monochrome(picture: np.ndarray) -> np.ndarray:
    return np.repeat((picture @ LUMA)[..., None], 3, axis=2).astype(np.uint8)


def _duotone(picture: np.ndarray) -> np.ndarray:
    light = (picture @ LUMA)[..., None] / 255
    return (_DUOTONE[0] + light * (_DUOTONE[1] - _DUOTONE[0])).astype(np.uint8)


def riso(picture: np.ndarray) -> np.ndarray:
    """A print in few inks: brightness, stretched over the picture, falls into four tones with soft steps."""
    light = picture @ LUMA
    low, high = np.percentile(light, (2, 98))
    tone = np.clip((light - low) / max(high - low, 1), 0, 1) * 3
    step = np.floor(tone)
    soft = step + np.clip((tone - step - 0.35) / 0.3, 0, 1)
    index = np.clip(np.floor(soft).astype(int), 0, 2)
    part = (soft - index)[..., None]
    return (RISO_INKS[index] * (1 - part) + RISO_INKS[index + 1] * part).astype(np.uint8)


_STYLES = {"plain": _plain, "pastel": _pastel, "vivid": _vivid, "monochrome": _monochrome, "duotone": _duotone}
