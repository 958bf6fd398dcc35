"""`backend: "custom:NAME"`: from a name to a scorer that a worker can judge with."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from PIL import Image

from api.jobs.errors import JobError
from api.jobs.using_models import explained
from api.scoring.scorers import UnknownScorer
from api.scoring.taste.scorers import UnknownCustomScorer, find_scorer

if TYPE_CHECKING:
    from api.scoring.backends.custom import CustomScorer
    from api.scoring.backends.layout import Layout, Verdict


def settle_name(reference: str) -> str:
    """With its version, so that what is asked today is judged by today's scorer, whenever it is run. Raises UnknownScorer."""
    try:
        return str(find_scorer(reference))
    except UnknownCustomScorer as error:
        raise UnknownScorer(str(error)) from None


def make_scorer(name: str) -> "ServedScorer":
    """For a worker. Raises UnknownScorer."""
    from api.scoring.backends.custom import CustomScorer
    from api.scoring.backends.taste import Taste

    try:
        row = find_scorer(name)
    except UnknownCustomScorer as error:
        raise UnknownScorer(str(error)) from None
    taste = Taste.from_json(str(row), row.taste)
    return ServedScorer(CustomScorer(taste, Eyes(taste.encoder)))


class Eyes:
    """`embed_images` of the worker's own CLIP model, its errors told as a job's."""

    def __init__(self, model_id: str) -> None:
        self.model_id = model_id

    def embed_images(self, pictures: Sequence[Image.Image]) -> Any:
        with explained():
            from api.model_loader import get_loader
            from api.scoring.backends.clip import ClipEncoder

            return ClipEncoder(get_loader(), self.model_id).embed_images(pictures)


class ServedScorer:
    """A PageScorer. Raises JobError where there is nothing that it could judge."""

    def __init__(self, scorer: "CustomScorer") -> None:
        self.scorer = scorer

    def score(self, picture: Image.Image | None, layouts: Sequence["Layout"]) -> list["Verdict"]:
        taste = self.scorer.taste
        if picture is None and taste.on == "images":
            detail = f"custom:{taste.name} was trained on images: it judges pictures alone, and there is none."
            raise JobError("image_required", 400, detail)
        return self.scorer.score(picture, layouts)
