"""Which requests for pictures are made together: the queue's batch key and the backend agree on it."""

from typing import Any

import pytest
import torch
from django.conf import settings as django_settings
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from api.devices import Device
from api.images.backends import remote
from api.images.backends.local import make_pictures
from api.images.backends.request import ImageRequest, PictureList
from api.images.spec import Img2ImgSpec
from api.jobs import lifecycle
from api.jobs.kinds import get_kind
from api.jobs.models import Job, Worker
from api.jobs.worker.loop import WorkerLoop
from config.catalog import get_catalog
from tests.backends.recorder import Recorder
from tests.rows import spec_of

MODELS = ["dreamshaper-8", "openjourney-v4"]
PARAMS: dict[str, Any] = {
    "prompt": "a lake",
    "negative_prompt": "",
    "width": 64,
    "height": 64,
    "steps": 20,
    "guidance_scale": 7.0,
    "scheduler": None,
    "clip_skip": None,
    "loras": [],
    "seed": 1,
    "num_images": 1,
    "best_of": None,
    "deterministic": False,
    "output_format": "png",
    "tags": [],
}
OF_PICTURES: dict[str, Any] = {"image": "0197c0de-0000-7000-8000-000000000000", "mask": None, "strength": 0.5}
OTHERS: dict[str, Any] = {
    "width": 128,
    "height": 128,
    "steps": 21,
    "guidance_scale": 7.5,
    "scheduler": "euler",
    "clip_skip": 1,
    "loras": [{"id": "riso", "weight": 0.5}],
    "strength": 0.6,
    "mask": "0197c0de-0000-7000-8000-000000000001",
}
"""Another value of each parameter in which the requests of a batch agree."""


def key_of(kind: str, params: dict[str, Any], model_id: str = MODELS[0]) -> str:
    return spec_of(kind, params, model_id=model_id).batch_key()


@pytest.mark.parametrize("name", ["width", "height", "steps", "guidance_scale", "scheduler", "clip_skip", "loras"])
def test_requests_that_differ_in_what_a_pass_shares_have_different_keys(name: str) -> None:
    assert key_of("txt2img", PARAMS) != key_of("txt2img", {**PARAMS, name: OTHERS[name]})


@pytest.mark.parametrize("name", ["strength", "mask"])
def test_the_same_holds_for_what_only_a_source_picture_brings(name: str) -> None:
    params = {**PARAMS, **OF_PICTURES}
    assert key_of("img2img", params) != key_of("img2img", {**params, name: OTHERS[name]})


def test_requests_of_two_models_have_different_keys() -> None:
    assert key_of("txt2img", PARAMS, MODELS[0]) != key_of("txt2img", PARAMS, MODELS[1])


def test_prompts_seeds_formats_and_tags_may_differ() -> None:
    other = {**PARAMS, "prompt": "a hill", "negative_prompt": "fog", "seed": 2, "output_format": "webp", "tags": ["a"]}
    assert key_of("txt2img", PARAMS) == key_of("txt2img", other) != ""


@pytest.mark.parametrize("alone", [{"best_of": 1}, {"best_of": 2}, {"num_images": 2}, {"deterministic": True}])
def test_a_request_that_ranks_fills_a_batch_or_must_be_alone_is_never_batched(alone: dict[str, Any]) -> None:
    assert key_of("txt2img", {**PARAMS, **alone}) == ""


def session_key(kind: str, **changes: Any) -> str:
    return get_kind(kind).batch_key(
        spec_of(kind, {**PARAMS, **OF_PICTURES, **changes}, model_id=changes.get("model_id", MODELS[0]))
    )


def test_a_session_takes_all_requests_of_a_model_whatever_their_task_size_and_steps(settings: Any) -> None:
    settings.USE_LOCAL_MODELS = True
    changes = [{}, *({name: OTHERS[name]} for name in OTHERS if name != "loras"), {"best_of": 4}, {"num_images": 3}]
    keys = {session_key(kind, **change) for kind in ("txt2img", "img2img") for change in changes}
    assert len(keys) == 1
    assert session_key("txt2img", loras=OTHERS["loras"]) not in keys
    assert session_key("txt2img", model_id=MODELS[1]) not in keys


@pytest.mark.parametrize("alone", [{"deterministic": True}, {"model_id": "flux.1-schnell", "best_of": 2}])
def test_a_deterministic_request_and_one_of_a_transformer_join_no_session(settings: Any, alone: dict[str, Any]) -> None:
    settings.USE_LOCAL_MODELS = True
    assert session_key("txt2img", **alone) == ""


class Reached(Exception):
    """The backend took the batch."""


class Door:
    """A model loader that the backend asks once it has taken a batch."""

    catalog, device = get_catalog(), Device("cpu", 0, "a processor", torch.float32, channels_last=False, memory_total=2**33)

    def free_memory(self) -> int:
        return 2**30

    def use(self, *_: object) -> None:
        raise Reached


sides = st.sampled_from([64, 128])
params_of_any_request = st.fixed_dictionaries(
    {
        "prompt": st.sampled_from(["a", "b"]),
        "width": sides,
        "height": sides,
        "steps": st.sampled_from([20, 21]),
        "guidance_scale": st.sampled_from([7, 7.0, 7.5]),
        "scheduler": st.sampled_from([None, "euler"]),
        "clip_skip": st.sampled_from([None, 1]),
        "loras": st.sampled_from([[], [{"id": "riso", "weight": 0.5}], [{"id": "riso", "weight": 1}]]),
        "seed": st.integers(0, 2),
        "num_images": st.integers(1, 2),
        "best_of": st.sampled_from([None, 1, 2]),
        "deterministic": st.booleans(),
        "image": st.sampled_from(["a", "b"]),
        "mask": st.sampled_from([None, "a"]),
        "strength": st.sampled_from([0.5, 1.0]),
    }
)
requests = st.tuples(st.sampled_from(["txt2img", "img2img"]), params_of_any_request, st.sampled_from(MODELS))


def opened(spec: Any) -> ImageRequest:
    if not isinstance(spec, Img2ImgSpec):
        return ImageRequest(spec)
    return ImageRequest(spec, Image.new("RGB", (64, 64)), Image.new("L", (64, 64), "white") if spec.mask else None)


@settings(max_examples=400, deadline=None)
@given(st.lists(requests, min_size=2, max_size=12))
def test_requests_of_one_key_are_always_taken_as_one_batch(asked: list[tuple[str, dict[str, Any], str]]) -> None:
    batches: dict[tuple[str, str], list[ImageRequest]] = {}
    for kind, given_params, model_id in asked:
        params = {**PARAMS, **given_params}
        if key := key_of(kind, params, model_id):
            request = opened(spec_of(kind, params, model_id=model_id))
            batches.setdefault((kind, key), []).append(request)
    for batch in batches.values():
        with pytest.raises(Reached):
            make_pictures(Door(), batch, Recorder(), PictureList())  # type: ignore[arg-type]


# ---------------------------------------------------------------- two models in the queue


@pytest.fixture
def two_models(db: None) -> list[Job]:
    return [lifecycle.submit_job(spec=spec_of("txt2img", PARAMS, model_id=model_id), owner_key="local") for model_id in MODELS]


def test_two_models_are_claimed_one_after_the_other(two_models: list[Job]) -> None:
    worker = Worker.objects.create(hostname="here", pid=1)
    assert [lifecycle.claim_jobs(worker=worker) for _ in range(2)] == [[job] for job in two_models]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, settings: Any, tmp_path: Any) -> list[str]:
    """The models that a remote server is asked for, which makes grey pictures."""
    settings.USE_LOCAL_MODELS, settings.PROMPT_SCORES, settings.MEDIA_ROOT = False, False, tmp_path
    settings.HF_INFERENCE_ENDPOINT = ""
    models: list[str] = []

    class Client:
        def __init__(self, *, model: str, **_: object) -> None:
            self.model = model

        def text_to_image(self, prompt: str, *, width: int, height: int, **_: object) -> Image.Image:
            models.append(self.model)
            return Image.new("RGB", (width, height), "grey")

    monkeypatch.setattr(remote, "InferenceClient", Client)
    return models


def test_a_remote_server_is_asked_for_each_jobs_own_model(two_models: list[Job], asked: list[str]) -> None:
    loop = WorkerLoop()
    while loop.run_once():
        pass
    assert set(Job.objects.values_list("status", flat=True)) == {"succeeded"}
    assert asked == [get_catalog().get(model_id).repo for model_id in MODELS]


def test_the_limit_of_a_batch_is_the_servers(settings: Any, db: None) -> None:
    settings.MAX_BATCH = 12
    for _ in range(13):
        lifecycle.submit_job(spec=spec_of("txt2img", PARAMS, model_id=MODELS[0]), owner_key="local")
    worker = Worker.objects.create(hostname="here", pid=1)
    assert [len(lifecycle.claim_jobs(worker=worker)) for _ in range(2)] == [12, 1]


def test_its_default_is_four() -> None:
    assert django_settings.MAX_BATCH == 4


# ---------------------------------------------------------------- the other kinds


def test_layouts_of_another_backend_or_model_are_judged_apart() -> None:
    scorers = [("nima", "starter-nima"), ("nima", "other"), ("clip", "starter-clip"), ("heuristic", None)]
    keys = [key_of("layout_score", {"backend": name, "model_id": model}) for name, model in scorers]
    assert len(set(keys)) == len(keys)
    assert key_of("layout_score", {"backend": "heuristic", "items": []}) == ""


def test_prompts_of_another_model_are_scored_apart() -> None:
    one, other = (key_of("clip_score", {"images": ["a"], "prompts": ["b"], "model_id": model}) for model in ("a", "b"))
    assert one != other


def test_chats_with_another_model_variant_or_backend_are_written_apart() -> None:
    chats: list[dict[str, Any]] = [
        {"backend": "pytorch", "model": "a"},
        {"backend": "pytorch", "model": "b"},
        {"backend": "onnx", "model": "a"},
        {"backend": "onnx", "model": "a", "variant": "int8"},
        {"backend": "remote", "model": "a"},
    ]
    keys = {key_of("chat", {"messages": [], "seed": 1, "metadata": {}, **chat}) for chat in chats}
    assert len(keys) == len(chats)
    assert max(map(len, keys)) <= 64
