"""The backend `uiclip`: a CLIP trained on screenshots with known faults and on designers' choices (Wu et al., arXiv:2404.12500).

As its authors use it: the shorter side is scaled to the network's size, square windows are laid along the longer one, the mean of
their embeddings (not normalised) is the page's. The score is softmax(100·[cos(x, well-designed), cos(x, poor design)])[0], the
texts ending in what the page shows. Its training captions also name four faults, which are told the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from api.loading.clip_preprocessing import scaled_size
from api.scoring.backends.clip import ClipEncoder, Floats, normalized
from api.scoring.backends.layout import Layout, Verdict
from api.scoring.backends.learned import give_verdict, judged, preferred
from api.scoring.backends.measures import COLOR, COMPOSITION

if TYPE_CHECKING:
    from api.loading.clip_preprocessing import PixelArray
    from api.model_loader import ModelLoader

OVERALL = "aesthetic_score"
WELL, POOR = "ui screenshot. well-designed. ", "ui screenshot. poor design. "
FAULTS = (("contrast", COLOR), ("alignment", COMPOSITION), ("proximity", COMPOSITION), ("repetition", COMPOSITION))
MOST_WINDOWS = 12
"""A page longer than that many squares is looked at in so many places, evenly."""
LONGEST_DESCRIPTION = 300


class UIClipScorer:
    """See `api.scoring.backends.layout.NetworkScorer`. Looks at the picture, and at title and description as what it shows."""

    reads = ("event_data",)

    def __init__(self, loader: ModelLoader, model_id: str) -> None:
        self.encoder = ClipEncoder(loader, model_id)

    def load(self, on_progress: Callable[[float, str], None]) -> None:
        self.encoder.load(on_progress)

    def prepare(self, picture: Image.Image) -> list[PixelArray]:
        return [self.encoder.preprocess(window) for window in cut_windows(picture, self.encoder.size)]

    def score_prepared(self, prepared: Sequence[list[PixelArray]], layouts: Sequence[Sequence[Layout]]) -> list[list[Verdict]]:
        pages = normalized(self._embed_pages(prepared))
        shown = [describe(layout) for wanted in layouts for layout in wanted]
        embed = self.encoder.embed_texts if any(shown) else self.encoder.embed_fixed
        embedded = embed([text for words in shown for text in captions(words)])
        texts = iter(embedded.reshape(-1, 2 + len(FAULTS), pages.shape[1]))
        return [[self.judge(next(texts) @ page) for _ in wanted] for page, wanted in zip(pages, layouts, strict=True)]

    def _embed_pages(self, prepared: Sequence[list[PixelArray]]) -> Floats:
        """(pages, D): for each the mean of its windows, all windows of all pages in one pass."""
        features = self.encoder.features_of([pixels for windows in prepared for pixels in windows])
        ends = np.cumsum([len(looks) for looks in prepared])
        return np.stack([part.mean(axis=0) for part in np.split(features, ends[:-1])])

    def judge(self, cosines: Floats) -> Verdict:
        """`cosines`: to the captions of `captions`."""
        good = preferred(cosines[:1], cosines[1:])
        score = 100 * float(good[0])
        overall = judged(
            "well_designed",
            OVERALL,
            float(cosines[0] - cosines[1]),
            score,
            low=f"UIClip takes it for poor design rather than well-designed ({score:.0f} of 100)",
            high=f"UIClip takes it for well-designed rather than poor design ({score:.0f} of 100)",
        )
        faults = [
            judged(
                f"good_{fault}",
                group,
                float(cosines[0] - cosines[2 + place]),
                100 * float(good[1 + place]),
                low=f"UIClip sees bad {fault} (well-designed has {100 * float(good[1 + place]):.0f} of 100 against it)",
                high="",
            )
            for place, (fault, group) in enumerate(FAULTS)
        ]
        return give_verdict(
            [overall, *faults], {OVERALL: score}, backend="UIClip", model=self.encoder.model_id, device=self.encoder.device
        )


def captions(shown: str) -> list[str]:
    """Well-designed, poor design, and each fault, of a page that shows this."""
    return [WELL + shown, POOR + shown, *(f"{POOR}bad {fault}. {shown}" for fault, _ in FAULTS)]


def describe(layout: Layout) -> str:
    return ". ".join(filter(None, (layout.title, layout.description)))[:LONGEST_DESCRIPTION]


def cut_windows(picture: Image.Image, side: int) -> list[Image.Image]:
    """Squares of `side` along the longer one of the picture scaled to it, as many as cover it, placed as the authors place them."""
    image = picture if picture.mode == "RGB" else picture.convert("RGB")
    across, down = scaled_size(*image.size, side)
    return [cut_window(image, side, left, top, across, down) for left, top in window_places(across, down, side)]


def window_places(across: int, down: int, side: int) -> list[tuple[int, int]]:
    """Left and top of each window in a picture of this size, whose shorter side is `side`."""
    long = max(across, down)
    count = min(MOST_WINDOWS, -(-long // side))
    step = (long - side) // max(1, count - 1)
    return [(place * step, 0) if across > down else (0, place * step) for place in range(count)]


def cut_window(image: Image.Image, side: int, left: int, top: int, across: int, down: int) -> Image.Image:
    """The part of the picture that would be there, were all of it scaled to `across` × `down`."""
    wide, high = image.width / across, image.height / down
    box = (left * wide, top * high, min((left + side) * wide, image.width), min((top + side) * high, image.height))
    return image.resize((side, side), Image.Resampling.BICUBIC, box=box)
