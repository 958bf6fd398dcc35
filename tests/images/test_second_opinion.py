"""`rank_by: aesthetic`, and aesthetic scores beside a choice by CLIP: with a small head of ratings on a small CLIP."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from api.images.serializers import Txt2ImgSerializer
from tests.live import LiveServer
from tests.scoring.learned import WIDTH, small_models  # noqa: F401  (a fixture)

pytestmark = [pytest.mark.models]
LAKE = {"prompt": "a lake", "seed": 5}
RATER = """
[models.tiny-rater]
path = "tiny-rater"
task = "aesthetic-head"
family = "laion"
base = "tiny-clip"

"""


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_catalog_file: str,
    small_models: Path,  # noqa: F811
) -> Iterator[LiveServer]:
    rater = small_models.with_name("tiny-rater")
    rater.mkdir()
    weight = 3 * torch.randn(1, WIDTH, generator=torch.Generator().manual_seed(0))
    save_file({"weight": weight, "bias": torch.tensor([5.5])}, rater / "model.safetensors")
    both = small_models.with_name("both.toml")
    both.write_text(small_models.read_text() + RATER + Path(tiny_catalog_file).read_text())
    models = {"DEFAULT_IMAGE_MODEL": "tiny", "DEFAULT_CLIP_MODEL": "tiny-clip", "DEFAULT_AESTHETIC_MODEL": "tiny-rater"}
    with LiveServer(tmp_path_factory.mktemp("opinion"), DATABASE_URL="", CATALOG_EXTRA=both, **models) as live:
        yield live


def choose(server: LiveServer, **fields: Any) -> dict[str, Any]:
    reply = server.client.post("/api/txt2img/", json={**LAKE, "best_of": 6, **fields})
    assert reply.status_code == 201, reply.text
    assert reply.json()["warnings"] == []
    return reply.json()["result"]


def test_a_choice_by_looks_is_made_by_the_rating(server: LiveServer) -> None:
    result = choose(server, rank_by="aesthetic")
    ratings = [candidate["scores"]["aesthetic_score"] for candidate in result["candidates"]]
    assert ratings == sorted(ratings, reverse=True)
    assert len(set(ratings)) == 6
    assert result["ranking"]["score"] == "aesthetic_score"
    assert {candidate["scores"]["clip_model"] for candidate in result["candidates"]} == {"tiny-clip"}


def test_a_choice_by_clip_is_told_by_the_rating_as_well(server: LiveServer) -> None:
    candidates = choose(server)["candidates"]
    cosines = [candidate["scores"]["clip_cosine"] for candidate in candidates]
    assert cosines == sorted(cosines, reverse=True)
    assert all(0 <= candidate["scores"]["aesthetic_score"] <= 100 for candidate in candidates)


def test_the_ratings_of_candidates_do_not_depend_on_what_decides(server: LiveServer) -> None:
    first, second = (
        {each["seed"]: each["scores"]["aesthetic_score"] for each in choose(server, rank_by=rank_by)["candidates"]}
        for rank_by in ("clip", {"clip": 0.2, "aesthetic": 0.8})
    )
    assert first == pytest.approx(second, abs=0.5)


SETTINGS = {"aesthetic": "DEFAULT_AESTHETIC_MODEL", "clip": "DEFAULT_CLIP_MODEL", "objects": "DEFAULT_DETECTION_MODEL"}


@pytest.mark.parametrize(("criterion", "setting"), SETTINGS.items())
@pytest.mark.parametrize("model_id", ["nowhere", "starter"])
def test_a_criterion_without_a_model_is_a_400_that_names_it(settings: Any, criterion: str, setting: str, model_id: str) -> None:
    setattr(settings, setting, model_id)
    serializer = Txt2ImgSerializer(data={**LAKE, "best_of": 2, "rank_by": {criterion: 1, "layout": 1}})
    assert not serializer.is_valid()
    assert setting in str(serializer.errors["rank_by"])


def test_without_models_only_layout_can_be_ranked_by(settings: Any) -> None:
    settings.LOAD_MODELS = False
    assert not Txt2ImgSerializer(data={**LAKE, "best_of": 2}).is_valid()
    assert Txt2ImgSerializer(data={**LAKE, "best_of": 2, "rank_by": "layout"}).is_valid()
