"""Candidates on their way from the backend to a choice: scored meanwhile, few of them held, none lost to a scorer that fails."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from PIL import Image

from api.catalog import Catalog, ModelEntry
from api.devices import Device
from api.downloads.store import ModelStore
from api.errors import DarkroomError
from api.images.backends.local import make_pictures
from api.images.judges import GuardedJudge, Unavailable
from api.images.output_sinks import MAX_UNSCORED, BestOfN, CollectAll
from api.model_loader import ModelLoader
from api.runtime.judge_registry import Scores
from api.scoring.picture_judges import LayoutJudge, PromptJudge
from tests.backends.recorder import Recorder, painting, request
from tests.models.tiny import build_tiny_clip, build_tiny_sd

pytestmark = pytest.mark.models
CLIP = "zero-shot-image-classification"
SEEDS = tuple(range(10, 22))


class Brightness:
    """A judge of one pixel, which can be told to wait, to have no place, or to fail."""

    criterion = "clip"

    def __init__(self, *, gate: threading.Event | None = None, refusals: Sequence[Unavailable | None] = ()) -> None:
        self.gate, self.refusals = gate, list(refusals)
        self.threads: set[int] = set()

    def load(self, on_progress: object) -> None:
        if self.refusals and (refusal := self.refusals.pop(0)):
            raise refusal

    def score(self, pictures: Sequence[Image.Image], prompts: Sequence[str]) -> list[Scores]:
        if self.gate:
            assert self.gate.wait(20)
        self.threads.add(threading.get_ident())
        return [{"clip_cosine": picture.getpixel((0, 0))[0] / 255} for picture in pictures]  # type: ignore[index]


def picture(seed: int) -> Image.Image:
    """The brightest is that of seed 15."""
    return Image.new("RGB", (8, 8), (200 - 10 * abs(seed - 15), 0, 0))


def contest(judge: object, hooks: Recorder, *, places: int = 1, rank_by: object = "clip") -> BestOfN:
    return BestOfN([judge], "a lake", SEEDS, rank_by, places, hooks)  # type: ignore[arg-type, list-item]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_best_are_kept_best_first_and_all_are_told(hooks: Recorder) -> None:
    with contest(Brightness(), hooks, places=3) as panel:
        for number, seed in enumerate(SEEDS):
            panel.take(0, number, picture(seed))
        panel.close()
        choice = panel.choose(0)

    assert [(made.seed, made.rank) for made in choice.kept] == [(15, 1), (14, 2), (16, 3)]
    assert sorted(candidate["seed"] for candidate in choice.candidates) == list(SEEDS)
    assert choice.ranking is not None
    assert choice.ranking["best"] == choice.candidates[0]["score"] == round(200 / 255, 6)


def test_only_the_best_so_far_stay_in_memory(hooks: Recorder) -> None:
    seen: list[weakref.ref[Image.Image]] = []
    with contest(Brightness(), hooks, places=2) as panel:
        for number, seed in enumerate(SEEDS):
            made = picture(seed)
            seen.append(weakref.ref(made))
            panel.take(0, number, made)
            del made
        panel.close()
        gc.collect()
        assert sum(reference() is not None for reference in seen) == 2


def test_making_goes_on_while_candidates_are_scored(hooks: Recorder) -> None:
    gate = threading.Event()
    judge = Brightness(gate=gate)
    with contest(judge, hooks) as panel:
        for number in range(3):
            panel.take(0, number, picture(SEEDS[number]))
        assert not judge.threads
        gate.set()
        panel.close()
        panel.choose(0)
    assert judge.threads.isdisjoint({threading.get_ident()})


def test_making_waits_when_too_many_candidates_wait_for_their_score(hooks: Recorder) -> None:
    gate, taken = threading.Event(), []
    with contest(Brightness(gate=gate), hooks) as panel:

        def make() -> None:
            for number, seed in enumerate(SEEDS):
                panel.take(0, number, picture(seed))
                taken.append(seed)

        maker = threading.Thread(target=make)
        maker.start()
        wait_until(lambda: len(taken) == MAX_UNSCORED)
        time.sleep(0.2)
        assert len(taken) == MAX_UNSCORED
        gate.set()
        maker.join(20)
        panel.close()
        assert len(panel.choose(0).candidates) == len(SEEDS)


def test_a_scorer_that_has_no_place_beside_the_model_scores_at_the_end(hooks: Recorder) -> None:
    judge = Brightness(refusals=[Unavailable("no place", passing=True), None])
    with contest(judge, hooks) as panel:
        for number, seed in enumerate(SEEDS):
            panel.take(0, number, picture(seed))
        panel.close()
        assert not judge.threads
        choice = panel.choose(0)

    assert [made.seed for made in choice.kept] == [15]
    assert hooks.warnings == []


@pytest.mark.parametrize("passing", [True, False])
def test_where_nothing_can_be_scored_the_first_candidates_are_kept_and_that_is_told(hooks: Recorder, passing: bool) -> None:
    gone = Unavailable("It is broken.", passing=passing)
    with contest(Brightness(refusals=[gone, gone]), hooks, places=2) as panel:
        for number, seed in enumerate(SEEDS):
            panel.take(0, number, picture(seed))
        panel.close()
        choice = panel.choose(0)

    assert [(made.seed, made.rank) for made in choice.kept] == [(10, None), (11, None)]
    assert any("It is broken." in warning for warning in hooks.warnings)
    assert any("12 of 12 candidates could not be ranked" in warning for warning in hooks.warnings)


def test_a_scorer_that_fails_in_the_middle_costs_no_scored_candidate(hooks: Recorder) -> None:
    class FailsAtTheFourth(Brightness):
        def score(self, pictures: Sequence[Image.Image], prompts: Sequence[str]) -> list[Scores]:
            if len(panel._scores) >= 3:
                raise Unavailable("It broke.")
            return super().score(pictures, prompts)

    with contest(FailsAtTheFourth(), hooks, places=1) as panel:
        for number, seed in enumerate(reversed(SEEDS)):
            panel.take(0, len(SEEDS) - 1 - number, picture(seed))
            panel.close()
        choice = panel.choose(0)

    assert [(made.seed, made.rank) for made in choice.kept] == [(19, 1)]
    assert choice.ranking is not None
    assert choice.ranking["scored"] == 3


def test_with_weights_a_candidate_stays_while_it_may_still_win(hooks: Recorder) -> None:
    judges = [Brightness(), LayoutJudge()]
    with BestOfN(judges, "a lake", SEEDS, {"clip": 0.5, "layout": 0.5}, 1, hooks) as panel:  # type: ignore[arg-type]
        for number, seed in enumerate(SEEDS):
            image = painting() if seed == 20 else picture(seed).resize((64, 64))
            panel.take(0, number, image)
        panel.close()
        choice = panel.choose(0)

    assert choice.kept[0].seed == choice.candidates[0]["seed"]
    assert choice.candidates[0]["scores"].keys() == {"clip_cosine", "layout_score"}


# ---------------------------------------------------------------- with real models


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    folder = tmp_path_factory.mktemp("checkpoints")
    sd = ModelEntry(id="sd1", name="Tiny", family="sd1", path=build_tiny_sd(folder / "sd1"), max_batch=4)
    clip = ModelEntry(id="clip", name="Tiny CLIP", task=CLIP, path=build_tiny_clip(folder / "clip"))
    hub = ModelEntry(id="far", name="Far CLIP", task=CLIP, repo="someone/clip")
    return Catalog({"sd1": sd, "clip": clip, "far": hub}, {})


def loader_of(catalog: Catalog, folder: Path, memory_limit: int | None = None) -> ModelLoader:
    device = Device("cpu", 0, "test", torch.float32, channels_last=True, memory_total=2**33)
    store = ModelStore(folder, endpoint="http://127.0.0.1:9")
    return ModelLoader(catalog, store, device, memory_limit)


def size_of(loader: ModelLoader, model_id: str) -> int:
    loader.load(model_id)
    return next(slot["bytes"] for slot in loader.loaded() if slot["id"] == model_id)


@pytest.fixture
def loader(catalog: Catalog, tmp_path: Path) -> ModelLoader:
    return loader_of(catalog, tmp_path)


@pytest.fixture
def hooks() -> Recorder:
    return Recorder()


def best_of(loader: ModelLoader, hooks: Recorder, seeds: tuple[int, ...], places: int = 1) -> BestOfN:
    judge = GuardedJudge("clip", lambda prompt, text: hooks.warn(text), lambda warn: PromptJudge(loader, "clip", warn))
    asked = request(seeds=seeds)
    with BestOfN([judge], asked.spec.prompt, seeds, "clip", places, hooks) as panel:  # type: ignore[arg-type]
        assert make_pictures(loader, [asked], hooks, panel) == [True]
    return panel


def test_candidates_of_a_real_model_are_scored_by_a_real_clip(loader: ModelLoader, hooks: Recorder) -> None:
    choice = best_of(loader, hooks, (1, 2, 3, 4, 5, 6), places=2).choose(0)

    scores = [candidate["score"] for candidate in choice.candidates]
    assert scores == sorted(scores, reverse=True)
    assert [made.scores["clip_model"] for made in choice.kept] == ["clip", "clip"]
    assert hooks.timings["score"] > 0


def test_steps_are_counted_over_all_candidates(loader: ModelLoader, hooks: Recorder) -> None:
    best_of(loader, hooks, (1, 2, 3, 4, 5, 6))

    assert hooks.steps == [(4, 12), (8, 12), (10, 12), (12, 12)]  # two steps of four candidates, then of two


def test_memory_that_runs_out_halves_the_micro_batch_and_loses_no_candidate(loader: ModelLoader, hooks: Recorder) -> None:
    def too_many(module: torch.nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
        if arguments[0].shape[0] > 4:  # two pictures with guidance
            raise torch.OutOfMemoryError("injected")

    with loader.use("sd1", "text-to-image") as lease:
        hook = lease.pipeline.unet.register_forward_pre_hook(too_many)
    try:
        choice = best_of(loader, hooks, (1, 2, 3, 4, 5)).choose(0)
    finally:
        hook.remove()

    assert all(candidate["score"] is not None for candidate in choice.candidates)
    assert any("at most 2 at a time" in warning for warning in hooks.warnings)


def test_a_clip_that_does_not_fit_beside_the_model_takes_its_place_afterwards(
    catalog: Catalog, tmp_path: Path, loader: ModelLoader, hooks: Recorder
) -> None:
    small = loader_of(catalog, tmp_path, size_of(loader, "sd1") + size_of(loader, "clip") // 2)
    panel = best_of(small, hooks, (1, 2, 3))
    assert [slot["id"] for slot in small.loaded()] == ["sd1"]

    choice = panel.choose(0)

    assert all(candidate["score"] is not None for candidate in choice.candidates)
    assert [slot["id"] for slot in small.loaded()] == ["clip"]


def keep(loader: ModelLoader, model_id: str, hooks: Recorder) -> CollectAll:
    judge = GuardedJudge("clip", lambda prompt, text: hooks.warn(text), lambda warn: PromptJudge(loader, model_id, warn))
    asked = request(seeds=(1, 2))
    panel = CollectAll([judge], [asked.spec.prompt], [asked.spec.seeds], hooks)  # type: ignore[arg-type]
    assert make_pictures(loader, [asked], hooks, panel) == [True]
    return panel


def test_a_picture_s_score_never_evicts_the_model_that_makes_pictures(
    catalog: Catalog, tmp_path: Path, loader: ModelLoader, hooks: Recorder
) -> None:
    small = loader_of(catalog, tmp_path, size_of(loader, "sd1") + size_of(loader, "clip") // 2)
    kept = keep(small, "clip", hooks).choose(0).kept

    assert [made.scores for made in kept] == [{}, {}]
    assert any("no clip score" in warning and "GB" in warning for warning in hooks.warnings)
    assert [slot["id"] for slot in small.loaded()] == ["sd1"]


@pytest.mark.parametrize("model_id", ["far", "nowhere", "sd1"])
def test_a_clip_that_can_not_be_had_costs_no_picture(loader: ModelLoader, hooks: Recorder, model_id: str) -> None:
    kept = keep(loader, model_id, hooks).choose(0).kept

    assert [made.seed for made in kept] == [1, 2]
    assert any("no clip score" in warning for warning in hooks.warnings)


def test_a_thread_beside_the_one_that_runs_models_builds_none(loader: ModelLoader) -> None:
    with pytest.raises(DarkroomError, match="not in memory"), loader.use("clip", CLIP, load=False):
        pass
    loader.load("clip")
    with loader.use("clip", CLIP, load=False) as lease:
        assert lease.entry.id == "clip"
