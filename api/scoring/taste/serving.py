"""`backend: "custom:NAME"`, and `rank_by: "custom:NAME"`: from a name to a scorer that a worker can judge with."""

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

from django.conf import settings
from PIL import Image

from api.errors import DarkroomError
from api.runtime.judge_registry import Progress, Scores, UnknownJudge, Warn
from api.scoring.models import CustomScorer as CustomScorerRow
from api.scoring.scorers import UnknownScorer
from api.scoring.taste.features import extractor_name
from api.scoring.taste.scorers import UnknownCustomScorer, find_for_judging

if TYPE_CHECKING:
    from api.scoring.backends.custom import CustomScorer
    from api.scoring.backends.layout import Layout, Verdict


MOST_OFFERED = 20


def settle_name(reference: str) -> str:
    """With its version, so that what is asked today is judged by today's scorer, whenever it is run. Raises UnknownScorer."""
    try:
        return str(find_for_judging(reference))
    except UnknownCustomScorer as error:
        raise UnknownScorer(str(error)) from None


def make_scorer(name: str) -> "ServedScorer":
    """For a worker. Raises UnknownScorer."""
    from api.scoring.backends.custom import CustomScorer
    from api.scoring.backends.taste import Taste

    try:
        row = find_for_judging(name)
    except UnknownCustomScorer as error:
        raise UnknownScorer(str(error)) from None
    taste = Taste.from_json(str(row), row.taste)
    return ServedScorer(CustomScorer(taste, Eyes(taste.encoder), changed_since(row)))


def changed_since(row: CustomScorerRow) -> tuple[str, ...]:
    """What to say where the measures are taken otherwise than when it was trained."""
    was, now = row.taste["extractor"], extractor_name(row.encoder).split()
    if was.split()[: len(now)] == now:  # shorter where the encoder's weights are not here yet
        return ()
    return (f"custom:{row} learned from measures as {was} took them, which is no longer so: train it again.",)


class Eyes:
    """`embed_images` of the worker's own CLIP model."""

    def __init__(self, model_id: str) -> None:
        self.model_id = model_id

    def embed_images(self, pictures: Sequence[Image.Image]) -> Any:
        from api.model_loader import get_loader
        from api.scoring.backends.clip import ClipEncoder

        return ClipEncoder(get_loader(), self.model_id).embed_images(pictures)


class ServedScorer:
    """A PageScorer. Raises DarkroomError where there is nothing that it could judge."""

    def __init__(self, scorer: "CustomScorer") -> None:
        self.scorer = scorer

    def score(self, picture: Image.Image | None, layouts: Sequence["Layout"]) -> list["Verdict"]:
        taste = self.scorer.taste
        if picture is None and taste.on == "images":
            detail = f"custom:{taste.name} was trained on images: it judges pictures alone, and there is none."
            raise DarkroomError("image_required", 400, detail)
        return self.scorer.score(picture, layouts)


# ---------------------------------------------------------------- best of K


class CustomKind:
    """A JudgeKind: images are ranked by scorers that were trained on images."""

    def settle(self, name: str) -> str:
        return str(find_judge(name))

    def missing(self) -> str:
        return ""

    def make(self, criterion: str, warn: Warn) -> "CustomJudge":
        return CustomJudge(criterion, warn)


def find_judge(name: str) -> CustomScorerRow:
    """Raises UnknownJudge."""
    try:
        row = find_for_judging(name)
    except UnknownCustomScorer as error:
        raise UnknownJudge(str(error)) from None
    if row.on != "images":
        raise UnknownJudge(f"custom:{row} was trained on layouts: it can't rank images.")
    if row.encoder and not settings.LOAD_MODELS:
        raise UnknownJudge(
            f"custom:{row} needs {row.encoder}, and the workers of this server load no models (LOAD_MODELS is off)."
        )
    return row


def judges_on_offer() -> list[str]:
    """The names of those that learned something and can rank images here, the newest first."""
    learned = CustomScorerRow.objects.filter(on="images", learned=True)
    able = learned if settings.LOAD_MODELS else learned.filter(encoder="")
    return list(dict.fromkeys(able.order_by("-pk").values_list("name", flat=True)))[:MOST_OFFERED]


class CustomJudge:
    """A Judge. Its CLIP model is loaded by `load`, and only lent to `score`, which may be called by another thread."""

    reads_prompts = False

    def __init__(self, criterion: str, warn: Warn) -> None:
        self.criterion, self._warn = criterion, warn
        self.scorer: CustomScorer | None = None

    def load(self, on_progress: Progress) -> None:
        from api.scoring.backends.custom import CustomScorer
        from api.scoring.backends.taste import Taste

        row = find_judge(self.criterion.partition(":")[2])
        taste = Taste.from_json(str(row), row.taste)
        self.scorer = CustomScorer(taste, lent_encoder(row.encoder, on_progress), changed_since(row))

    def score(self, pictures: Sequence[Image.Image], prompts: Sequence[str]) -> list[Scores]:
        assert self.scorer is not None, "load() comes first"
        for prompt, warning in product(dict.fromkeys(prompts), self.scorer.warnings):
            self._warn(prompt, warning)
        return [{self.criterion: round(score, 4)} for score in self.scorer.score_pictures(pictures)]


def lent_encoder(model_id: str, on_progress: Progress) -> Any:
    if not model_id:
        return None
    from api.loading.model_leases import LoadedModelsOnly
    from api.model_loader import get_loader
    from api.scoring.backends.clip import ClipEncoder

    get_loader().load(model_id, on_progress)
    lender: Any = LoadedModelsOnly(get_loader())
    return ClipEncoder(lender, model_id)
