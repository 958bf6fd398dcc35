"""Memory that runs out while answers are written: all of them go on, in smaller groups; a chat that doesn't fit alone fails alone.

The shortages are injected into the last layer of real tiny models, when the layers before it have written their caches already.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch

from api.catalog import Catalog, ModelEntry, load_catalog
from api.chat.backends.onnx_backend import OnnxBackend
from api.chat.backends.prefix_cache import CacheLimits, PromptCache
from api.chat.backends.sequence_groups import SequenceGroup
from api.chat.backends.torch_backend import TorchBackend
from api.chat.export import export_onnx
from api.devices import Device
from api.downloads.store import ModelStore
from api.loading.onnx import OnnxModel
from api.model_loader import ModelLoader
from tests.chat.test_torch_backend import LLM, TEXTS, VLM, RecordingCallbacks, request, run, text_of, tinted
from tests.models.tiny_chat import build_tiny_llama
from tests.models.tiny_families import FAMILIES

pytestmark = [pytest.mark.models, pytest.mark.usefixtures("one_thread")]
Fails = Callable[[int, int], bool]
"""By the rows that are stepped together, and the highest position among them."""
Inject = Callable[[str, Fails], list[int]]
"""By the model's name, and when its steps fail."""


@pytest.fixture(scope="module", autouse=True)
def quick_collections() -> Iterator[None]:
    """Every shortage collects garbage: among what is made from now on, not among all of the libraries' objects."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="module")
def loader(chat_catalog: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelLoader:
    device = Device("cpu", 0, "a processor", torch.float32, True, 8 * 2**30)
    return ModelLoader(load_catalog(chat_catalog), ModelStore(tmp_path_factory.mktemp("store")), device)


@pytest.fixture
def inject(loader: ModelLoader) -> Iterator[Inject]:
    """Only into steps, never into the reading of prompts. Returns the rows of each step that was made."""
    with ExitStack() as injected:

        def inject(model: str, fails: Fails) -> list[int]:
            stepped: list[int] = []
            with loader.use(model, loader.catalog.get(model).task) as lease:
                chat = lease.pipeline.model
            text = chat.model.text_model if model == VLM else chat.model

            def before(module: torch.nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
                rows, tokens = inputs[0].shape[:2]
                if tokens > 1:
                    return
                if fails(rows, int(named["position_ids"].max())):
                    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 MiB.")
                stepped.append(rows)

            injected.callback(text.layers[-1].register_forward_pre_hook(before, with_kwargs=True).remove)
            return stepped

        yield inject


def times(count: int) -> Fails:
    left = [count]

    def fails(rows: int, position: int) -> bool:
        left[0] -= 1
        return left[0] >= 0

    return fails


def requests_of(model: str) -> list[Any]:
    return [request(text, model, tinted(text, model), max_tokens=8 + 5 * place) for place, text in enumerate(TEXTS)]


@pytest.fixture(scope="module", params=[LLM, VLM])
def model(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def alone(loader: ModelLoader, model: str) -> list[str]:
    return [text_of(run(loader, [each])[0]) for each in requests_of(model)]


def test_after_one_shortage_all_go_on_together_as_if_there_had_been_none(
    loader: ModelLoader, inject: Inject, model: str, alone: list[str]
) -> None:
    stepped = inject(model, times(1))
    assert [text_of(heard) for heard in run(loader, requests_of(model))] == alone
    assert max(stepped) == 4


@pytest.mark.parametrize("most", [1, 3])
def test_rows_that_don_t_fit_together_are_stepped_in_smaller_groups(
    loader: ModelLoader, inject: Inject, model: str, alone: list[str], most: int
) -> None:
    stepped = inject(model, lambda rows, position: rows > most)
    assert [text_of(heard) for heard in run(loader, requests_of(model))] == alone
    assert max(stepped) == min(most, 2)


def test_a_chat_that_does_not_fit_alone_fails_alone(loader: ModelLoader, inject: Inject, model: str, alone: list[str]) -> None:
    long = request(TEXTS[2] * 3, model, tinted("", model))
    length = run(loader, [long])[0].reply.prompt_tokens  # type: ignore[union-attr]
    inject(model, lambda rows, position: rows > 1 or position > length + 5)
    requests = requests_of(model)
    *heard, failed, last = run(loader, [*requests[:3], long, requests[3]])
    assert (failed.error.code, failed.error.status) == ("out_of_memory", 507)  # type: ignore[union-attr]
    assert failed.texts[0]
    assert [text_of(each) for each in (*heard, last)] == alone


def test_several_answers_of_one_chat_fail_together_and_no_other(loader: ModelLoader, inject: Inject) -> None:
    wanted = text_of(run(loader, [request("hello")])[0])
    long = request(TEXTS[2] * 3, n=3)
    length = run(loader, [long])[0].reply.prompt_tokens  # type: ignore[union-attr]
    inject(LLM, lambda rows, position: rows > 1 or position > length + 5)
    first, second = run(loader, [long, request("hello")])
    assert (first.reply, first.error.code) == (None, "out_of_memory")  # type: ignore[union-attr]
    assert text_of(second) == wanted


def test_what_was_dropped_leaves_the_backend_ready_for_the_next_chat(loader: ModelLoader, inject: Inject) -> None:
    wanted, short = text_of(run(loader, [request("hello")])[0]), [True]
    inject(LLM, lambda rows, position: short[0])
    backend, failed, works = TorchBackend(loader, LLM, CacheLimits(2**20, 2**20)), RecordingCallbacks(), RecordingCallbacks()
    backend.admit(request("hello"), failed)
    while backend.step():
        pass
    assert (failed.error.code, backend.rows) == ("out_of_memory", 0)  # type: ignore[union-attr]
    short[0] = False
    backend.admit(request("hello"), works)
    while backend.step():
        pass
    assert text_of(works) == wanted


def test_other_models_are_unloaded_before_a_batch_is_split(
    loader: ModelLoader, inject: Inject, alone: list[str], model: str
) -> None:
    other = LLM if model == VLM else VLM
    stepped = inject(model, times(2))
    loader.load(other)
    assert [text_of(heard) for heard in run(loader, requests_of(model))] == alone
    assert [each["id"] for each in loader.loaded()] == [model]
    assert max(stepped) == 4


@pytest.mark.parametrize(("owner", "name"), [(SequenceGroup, "select"), (PromptCache, "add")])
def test_a_shortage_when_a_chat_ends_costs_no_other(
    loader: ModelLoader, model: str, alone: list[str], monkeypatch: pytest.MonkeyPatch, owner: Any, name: str
) -> None:
    def short(*given: Any) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(owner, name, short)
    backend, heard = TorchBackend(loader, model, CacheLimits(2**24, 2**24)), []
    for each in requests_of(model):
        heard.append(RecordingCallbacks())
        backend.admit(each, heard[-1])
    while backend.step():
        pass
    assert [text_of(each) for each in heard] == alone


def test_an_ordinary_error_is_no_shortage(loader: ModelLoader, inject: Inject) -> None:
    def broken(rows: int, position: int) -> bool:
        raise KeyError("ordinary")

    inject(LLM, broken)
    with pytest.raises(KeyError):
        run(loader, requests_of(LLM))


@pytest.mark.parametrize("family", ["mistral-window", "qwen2-vl"])
def test_caches_of_other_kinds_are_as_they_were_before_the_step(tmp_path: Path, family: str) -> None:
    task, build = FAMILIES[family]
    catalog = Catalog({family: ModelEntry(id=family, name="Tiny", family=family, task=task, path=build(tmp_path / "it"))}, {})
    loader = ModelLoader(catalog, ModelStore(tmp_path), Device("cpu", 0, "", torch.float32, True, 2**33))
    asked = request(TEXTS[2], family, n=3, temperature=1.0, max_tokens=40)
    wanted = [choice.text for choice in run(loader, [asked])[0].reply.choices]  # type: ignore[union-attr]
    with loader.use(family, task) as lease:
        layers = getattr(lease.pipeline.model.model, "language_model", lease.pipeline.model.model).layers

    def before(module: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
        rows, tokens = inputs[0].shape[:2]
        if tokens == 1 and rows > 1:
            raise torch.OutOfMemoryError

    layers[-1].register_forward_pre_hook(before)
    assert [choice.text for choice in run(loader, [asked])[0].reply.choices] == wanted  # type: ignore[union-attr]


@pytest.fixture(scope="module")
def onnx_loader(tmp_path_factory: pytest.TempPathFactory) -> ModelLoader:
    """Of the language model alone, in fp32, and not compared: `exported` takes a minute."""
    folder = tmp_path_factory.mktemp("onnx")
    export_onnx(build_tiny_llama(folder), folder, "fp32", task="text-generation", check=False)
    entry = ModelEntry(id=LLM, name="Tiny", family="llama", task="text-generation", path=folder, onnx=("fp32",))
    return ModelLoader(Catalog({LLM: entry}, {}), ModelStore(folder), Device("cpu", 0, "", torch.float32, True, 2**33))


@pytest.mark.parametrize("longest_fails", [False, True])
def test_onnx_chats_are_split_and_fail_alone_too(
    onnx_loader: ModelLoader, monkeypatch: pytest.MonkeyPatch, longest_fails: bool
) -> None:
    requests = [request(text, max_tokens=8 + 5 * place) for place, text in enumerate((*TEXTS, TEXTS[2] * 3))]

    def heard_on_onnx() -> list[RecordingCallbacks]:
        backend, heard = OnnxBackend(onnx_loader, f"{LLM}@onnx-fp32"), [RecordingCallbacks() for _ in requests]
        for each, hearing in zip(requests, heard, strict=True):
            backend.admit(each, hearing)
        while backend.step():
            pass
        return heard

    alone = heard_on_onnx()
    limit = alone[-1].reply.prompt_tokens + 5 if longest_fails else 10**6  # type: ignore[union-attr]
    decode = OnnxModel.decode

    def short(self: OnnxModel, embedded: Any, mask: Any, positions: Any, caches: Any, **options: Any) -> Any:
        if positions.shape[1] == 1 and (len(positions) > 1 or positions.max() > limit):
            raise MemoryError("onnxruntime could not allocate memory")
        return decode(self, embedded, mask, positions, caches, **options)

    monkeypatch.setattr(OnnxModel, "decode", short)
    *heard, last = heard_on_onnx()
    assert [text_of(each) for each in heard] == [text_of(each) for each in alone[:-1]]
    if longest_fails:
        assert last.error.code == "out_of_memory"  # type: ignore[union-attr]
    else:
        assert text_of(last) == text_of(alone[-1])
