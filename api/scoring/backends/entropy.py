"""Subband entropy, a measure of clutter: how many bits the picture's subbands would take.

Rosenholtz, Li & Nakano, "Measuring Visual Clutter", Journal of Vision 7(2):17, 2007. Taken with `deep` alone: it is slow.
"""

from math import factorial

import cv2
import numpy as np

from api.scoring.backends.page import Floats, Page

SCALES, ORIENTATIONS = 3, 4
CHROMA_WEIGHT = 0.0625
FLATTEST = 0.008  # a chroma channel with less range than this is taken as constant
LONG_SIDE = 320


def subband_entropy(page: Page) -> float:
    """(H_L + w·H_a + w·H_b) / (1 + 2w), w = 1/16, H the mean entropy of 3 × 4 oriented bands and two residuals, in nats."""
    lab = shrink(page.lab)
    light, a, b = (band_entropy(channel) for channel in (lab[..., 0], *(quiet(lab[..., i]) for i in (1, 2))))
    return (light + CHROMA_WEIGHT * (a + b)) / (1 + 2 * CHROMA_WEIGHT)


def shrink(lab: Floats) -> Floats:
    scale = LONG_SIDE / max(lab.shape[:2])
    if scale >= 1:
        return lab
    size = (max(1, round(lab.shape[1] * scale)), max(1, round(lab.shape[0] * scale)))
    return np.asarray(cv2.resize(lab, size, interpolation=cv2.INTER_AREA), np.float32)


def quiet(channel: Floats) -> Floats:
    return np.zeros_like(channel) if float(channel.max() - channel.min()) < FLATTEST else channel


def band_entropy(channel: Floats) -> float:
    return float(np.mean([entropy(band) for band in steerable_bands(channel)]))


def entropy(band: Floats) -> float:
    """Of a histogram of ⌈√n⌉ bins; a constant band has none."""
    if float(band.max() - band.min()) < 1e-6:
        return 0.0
    counts, _ = np.histogram(band, bins=int(np.ceil(np.sqrt(band.size))))
    shares = counts[counts > 0] / band.size
    return float(-(shares * np.log(shares)).sum())


def steerable_bands(channel: Floats) -> list[Floats]:
    """Simoncelli & Freeman's steerable pyramid (ICIP 1995) in the frequency domain: high-pass, 3 × 4 oriented bands, low-pass.

    Radial filters are raised cosines an octave wide in log₂ of the radius; each scale is cut out at half the size.
    """
    spectrum = np.fft.fftshift(np.fft.fft2(channel))
    high, low = radial_filters(spectrum.shape, cutoff=0.0)
    bands = [back(spectrum * high)]
    spectrum = spectrum * low
    for _ in range(SCALES):
        if min(spectrum.shape) < 8:
            break
        high, low = radial_filters(spectrum.shape, cutoff=-1.0)
        angles = angular_filters(spectrum.shape)
        bands += [back(spectrum * high * angle * (-1j) ** (ORIENTATIONS - 1)) for angle in angles]
        spectrum = halve(spectrum * low)
    return [*bands, back(spectrum)]


def radial_filters(shape: tuple[int, ...], cutoff: float) -> tuple[Floats, Floats]:
    """(high, low) with high² + low² = 1; the transition is the octave below 2^cutoff of the Nyquist radius."""
    octave = np.log2(np.maximum(radius(shape), 1e-9)) - cutoff
    phase = np.clip(octave + 1, 0, 1) * (np.pi / 2)
    return np.sin(phase), np.cos(phase)


def grid(shape: tuple[int, ...]) -> tuple[Floats, Floats]:
    """x and y of a centred spectrum, −1 to 1 at the Nyquist frequency."""
    y, x = (np.fft.fftshift(np.fft.fftfreq(side)) * 2 for side in shape)
    return np.meshgrid(x, y)  # type: ignore[return-value]


def radius(shape: tuple[int, ...]) -> Floats:
    return np.hypot(*grid(shape))


def angular_filters(shape: tuple[int, ...]) -> list[Floats]:
    """cos³ lobes on one side of each orientation, of unit power in sum."""
    x, y = grid(shape)
    angle = np.arctan2(y, x)
    order = ORIENTATIONS - 1
    gain = 2**order * factorial(order) / np.sqrt(ORIENTATIONS * factorial(2 * order))
    turned = ((angle - np.pi * i / ORIENTATIONS + np.pi) % (2 * np.pi) - np.pi for i in range(ORIENTATIONS))
    return [2 * gain * np.cos(turn) ** order * (np.abs(turn) < np.pi / 2) for turn in turned]


def halve(spectrum: np.ndarray) -> np.ndarray:
    """The middle of a centred spectrum, half as wide and high."""
    height, width = spectrum.shape
    top, left = height // 2 - (height // 2) // 2, width // 2 - (width // 2) // 2
    return spectrum[top : top + height // 2, left : left + width // 2]


def back(spectrum: np.ndarray) -> Floats:
    return np.real(np.fft.ifft2(np.fft.ifftshift(spectrum)))
