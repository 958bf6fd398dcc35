"""From rows to what a fit needs: who said what of which subjects, and each subject's measures and embedding. For the worker."""

import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from api.files.errors import MissingFile
from api.files.models import StoredFile
from api.files.services import open_image
from api.scoring.models import Comparison, LayoutScore, PictureFeatures, Rating
from api.scoring.taste.judgements import comparisons_on, ratings_on

if TYPE_CHECKING:
    from api.scoring.backends.taste import Judgements

BATCH = 16
MOST = 1500
"""The newest ratings, and the newest comparisons, that one training reads."""
OUTCOMES = {Comparison.Outcome.A: 1.0, Comparison.Outcome.B: 0.0, Comparison.Outcome.TIE: 0.5}


@dataclass(frozen=True)
class Said:
    """What is there to learn from. `left_out`: older rows than the newest MOST of each."""

    ratings: Sequence[Rating]
    comparisons: Sequence[Comparison]
    left_out: int

    @property
    def raters(self) -> list[str]:
        return sorted({row.owner_key for row in self.ratings} | {row.owner_key for row in self.comparisons})


def read_judgements(on: str, raters: Sequence[str] | None) -> Said:
    ratings, comparisons = ratings_on(on, raters), comparisons_on(on, raters)
    newest = list(ratings.order_by("-rated_at", "-pk")[:MOST]), list(comparisons.order_by("-compared_at", "-pk")[:MOST])
    left_out = ratings.count() + comparisons.count() - len(newest[0]) - len(newest[1])
    return Said(*newest, left_out)


def subjects_of(rating: Rating) -> uuid.UUID:
    return rating.file_id or rating.layout_id  # type: ignore[return-value]


def pair_of(comparison: Comparison) -> tuple[uuid.UUID, uuid.UUID]:
    return comparison.file_a_id or comparison.layout_a_id, comparison.file_b_id or comparison.layout_b_id  # type: ignore[return-value]


def subject_ids(said: Said) -> list[uuid.UUID]:
    ids = {subjects_of(rating) for rating in said.ratings}
    return sorted(ids.union(*(pair_of(comparison) for comparison in said.comparisons)))


def as_judgements(said: Said, known: Sequence[uuid.UUID]) -> "Judgements":
    """Of those subjects alone whose features are `known`; places are theirs in it."""
    import numpy as np

    from api.scoring.backends.taste import Judgements

    place = {identifier: number for number, identifier in enumerate(known)}
    ratings = [rating for rating in said.ratings if subjects_of(rating) in place]
    pairs = [comparison for comparison in said.comparisons if all(end in place for end in pair_of(comparison))]
    return Judgements(
        rated=np.array([place[subjects_of(rating)] for rating in ratings], dtype=np.int64),
        stars=np.array([rating.stars for rating in ratings], dtype=float),
        pairs=np.array([[place[end] for end in pair_of(pair)] for pair in pairs], dtype=np.int64).reshape(-1, 2),
        outcomes=np.array([OUTCOMES[Comparison.Outcome(pair.outcome)] for pair in pairs], dtype=float),
    )


# ---------------------------------------------------------------- features


def extractor_name(encoder: str) -> str:
    """Of the measures and, behind the encoder's name, of its weights where they are here: others see otherwise."""
    from api.model_loader import get_loader
    from api.scoring.backends.heuristic import MODEL

    if not encoder:
        return MODEL
    loader = get_loader()
    return f"{MODEL} {encoder} {loader.store.version(loader.catalog.get(encoder))}".strip()


def see_subjects(
    on: str, ids: Sequence[uuid.UUID], encoder: object, name: str, tell: Callable[[float], None]
) -> dict[uuid.UUID, Any]:
    """(measures, embedding) of each subject that can be seen. `encoder` is a ClipEncoder called `name`, or None and ''."""
    if on == "images":
        return see_files(ids, encoder, name, tell)
    layouts = LayoutScore.objects.filter(pk__in=ids).only("pk", "image_id", "measures")
    seen = see_files([layout.image_id for layout in layouts if layout.image_id], encoder, name, tell)
    return {layout.pk: see_layout(layout, seen) for layout in layouts}


def see_layout(layout: LayoutScore, seen: dict[uuid.UUID, Any]) -> Any:
    """The layout's own heuristic measures; where another backend scored it, its picture's."""
    from api.scoring.backends.measures import SCALES

    measures, embedding = seen.get(layout.image_id, ({}, None)) if layout.image_id else ({}, None)
    own = {name: float(one["value"]) for name, one in layout.measures.items() if name in SCALES}
    return {**measures, **own}, embedding


def see_files(ids: Sequence[uuid.UUID], encoder: object, name: str, tell: Callable[[float], None]) -> dict[uuid.UUID, Any]:
    """Kept features are read; the rest is looked at, a batch at a time, and kept. A picture whose file is gone is left out."""
    extractor = extractor_name(name)
    kept = PictureFeatures.objects.filter(extractor=extractor, file__in=set(ids))
    seen = {row.file_id: unpack(row) for row in kept}
    missing = list(StoredFile.objects.filter(pk__in=set(ids) - seen.keys()).order_by("pk"))
    for start in range(0, len(missing), BATCH):
        rows = list(extract_features(missing[start : start + BATCH], encoder, extractor))
        PictureFeatures.objects.bulk_create(rows, ignore_conflicts=True)
        seen |= {row.file_id: unpack(row) for row in rows}
        tell(min(1.0, (start + BATCH) / len(missing)))
    return seen


def extract_features(files: Sequence[StoredFile], encoder: Any, extractor: str) -> Iterator[PictureFeatures]:
    from api.scoring.backends.custom import values_of
    from api.scoring.backends.heuristic import HeuristicScorer
    from api.scoring.backends.layout import Layout

    pictures = {}
    for file in files:
        try:
            pictures[file] = open_image(file)
        except MissingFile:
            continue
    embeddings = list(encoder.embed_images(list(pictures.values()))) if encoder and pictures else [None] * len(pictures)
    for (file, picture), embedding in zip(pictures.items(), embeddings, strict=True):
        measures = values_of(HeuristicScorer().score(picture, [Layout()])[0].measures)
        packed = b"" if embedding is None else embedding.astype("<f4").tobytes()
        yield PictureFeatures(file=file, extractor=extractor, measures=measures, embedding=packed)


def unpack(row: PictureFeatures) -> Any:
    import numpy as np

    embedding = np.frombuffer(bytes(row.embedding), dtype="<f4").astype(float)
    return row.measures, embedding if len(embedding) else None
