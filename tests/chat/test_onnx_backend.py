"""Chats on onnxruntime, with real tiny checkpoints exported here: against the same checkpoints on PyTorch, alone and together."""

import dataclasses
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from PIL import Image

from api.catalog import load_catalog
from api.chat.backends import onnx_backend
from api.chat.backends.onnx_backend import OnnxBackend, padding_side_of
from api.chat.backends.prefix_cache import CacheLimits
from api.chat.backends.request import ChatRequest, MessagePart, PromptScores, Sampling, Turn
from api.chat.backends.torch_backend import TorchBackend
from api.chat.export import ExportError, export_onnx
from api.devices import Device
from api.downloads.store import ModelStore
from api.errors import DarkroomError
from api.loading.onnx import OnnxModel
from api.loading.onnx import OnnxSession as OnnxSession
from api.model_loader import ModelLoader
from tests.chat.conftest import Exported
from tests.chat.test_torch_backend import LLM, TEXTS, VLM, RecordingCallbacks, request, run, run_on, text_of, tinted
from tests.models.tiny_chat import build_tiny_llama

pytestmark = [pytest.mark.models, pytest.mark.timeout(600), pytest.mark.usefixtures("one_thread")]


@pytest.fixture
def loader(exported: Exported, tmp_path: Path) -> ModelLoader:
    return make_loader(exported[0], tmp_path)


def make_loader(catalog: Path, folder: Path, memory_limit: int | None = None) -> ModelLoader:
    device = Device("cpu", 0, "a processor", torch.float32, True, 8 * 2**30)
    return ModelLoader(load_catalog(catalog), ModelStore(folder), device, memory_limit)


def on_onnx(loader: ModelLoader, *requests: ChatRequest, variant: str = "fp32", apart: int = 0) -> list[RecordingCallbacks]:
    return run_on(OnnxBackend(loader, f"{requests[0].model_id}@onnx-{variant}"), *requests, apart=apart)


def on_torch(loader: ModelLoader, *requests: ChatRequest) -> list[RecordingCallbacks]:
    return run(loader, list(requests))


def several(count: int, detail: str = "auto") -> ChatRequest:
    pictures = [
        MessagePart(image=Image.effect_noise((90, 60), 60 + place).convert("RGB"), detail=detail) for place in range(count)
    ]
    turn = Turn("user", (*pictures, MessagePart(text="Which of them is red?")))
    return ChatRequest(model_id=VLM, turns=(turn,), sampling=Sampling(temperature=0.0, max_tokens=24))


def test_a_raw_prompt_is_scored_as_pytorch_scores_it(loader: ModelLoader) -> None:
    def scored(backend: TorchBackend) -> list[tuple[str, float | None]]:
        scores = PromptScores(top_logprobs=1)
        raw = ChatRequest(model_id=LLM, prompt=TEXTS[2], scores=scores, sampling=Sampling(temperature=0.0, max_tokens=4))
        heard = run_on(backend, request(TEXTS[2]), raw, raw)  # nothing of it is taken from the cache
        assert text_of(heard[1]) == text_of(heard[2])
        return [(entry["token"], entry["logprob"]) for entry in scores.in_order]

    ours, theirs = scored(OnnxBackend(loader, f"{LLM}@onnx-fp32")), scored(TorchBackend(loader, LLM))
    assert [token for token, _ in ours] == [token for token, _ in theirs]
    assert [logprob for _, logprob in ours[1:]] == pytest.approx([logprob for _, logprob in theirs[1:]], abs=1e-3)
    assert ours[0][1] is None


@pytest.mark.parametrize("model", [LLM, VLM])
def test_in_fp32_it_writes_what_pytorch_writes(loader: ModelLoader, model: str) -> None:
    requests = [request(text, model, tinted(text, model)) for text in TEXTS]
    assert [text_of(heard) for heard in on_onnx(loader, *requests)] == [text_of(heard) for heard in on_torch(loader, *requests)]


@pytest.mark.parametrize(("count", "detail"), [(0, "auto"), (1, "low"), (1, "high"), (3, "auto"), (2, "high")])
def test_any_number_of_pictures_is_seen_as_on_pytorch(loader: ModelLoader, count: int, detail: str) -> None:
    asked = several(count, detail)
    assert text_of(on_onnx(loader, asked)[0]) == text_of(on_torch(loader, asked)[0])


def test_pictures_that_are_looked_at_differently_are_seen_as_on_pytorch(loader: ModelLoader) -> None:
    [turn] = several(2).turns
    parts = tuple(replace(part, detail=detail) for part, detail in zip(turn.parts, ("low", "high", "auto"), strict=True))
    asked = replace(several(2), turns=(replace(turn, parts=parts),))
    assert text_of(on_onnx(loader, asked)[0]) == text_of(on_torch(loader, asked)[0])


@pytest.mark.parametrize(("count", "detail"), [(1, "auto"), (2, "high")])
def test_an_encoder_that_wants_to_know_where_there_is_picture_is_told(
    exported: Exported, tmp_path: Path, count: int, detail: str
) -> None:
    """As those on the hub: `pixel_attention_mask` (rows, tiles, height, width) beside the pixels."""
    shutil.copytree(exported[0].parent, tmp_path / "hub")
    file = tmp_path / "hub" / "vlm" / "onnx" / "vision_encoder.onnx"
    model = onnx.load(file)
    [found] = model.graph.output
    for node in model.graph.node:
        node.output[:] = ["unmasked" if name == found.name else name for name in node.output]
    shape = ["rows", "tiles", *(size.dim_value for size in model.graph.input[0].type.tensor_type.shape.dim[-2:])]
    model.graph.input.append(helper.make_tensor_value_info("pixel_attention_mask", onnx.TensorProto.BOOL, shape))
    model.graph.node.extend(
        [
            helper.make_node("Cast", ["pixel_attention_mask"], ["seen"], to=onnx.TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["seen"], ["share"], keepdims=0),
            helper.make_node("Mul", ["unmasked", "share"], [found.name]),
        ]
    )
    onnx.save(model, file)
    loader, asked = make_loader(tmp_path / "hub" / "models.toml", tmp_path), several(count, detail)
    assert text_of(on_onnx(loader, asked)[0]) == text_of(on_torch(loader, asked)[0])


@pytest.mark.parametrize("model", [LLM, VLM])
def test_what_was_exported_in_fp32_answers_as_the_original_and_int8_nearly_so(exported: Exported, model: str) -> None:
    found = exported[1][model]
    assert found["fp32"].same_answers == found["fp32"].answers
    assert found["fp32"].largest_difference < 1e-3
    assert found["int8"].same_tokens > 0.7 * found["int8"].tokens  # weights without any training tell no answer from the next


@pytest.mark.parametrize("apart", [0, 1, 5])
@pytest.mark.parametrize("variant", ["fp32", "int8"])
@pytest.mark.parametrize("model", [LLM, VLM])
def test_chats_that_join_and_leave_write_what_each_writes_alone(
    loader: ModelLoader, model: str, variant: str, apart: int
) -> None:
    requests = [request(text, model, tinted(text, model), max_tokens=8 + 5 * place) for place, text in enumerate(TEXTS)]
    alone = [text_of(on_onnx(loader, each, variant=variant)[0]) for each in requests]
    assert [text_of(heard) for heard in on_onnx(loader, *requests, variant=variant, apart=apart)] == alone


def test_the_rows_of_one_model_share_a_batch(loader: ModelLoader) -> None:
    backend = OnnxBackend(loader, f"{LLM}@onnx-fp32")
    for text in TEXTS:
        backend.admit(request(text), RecordingCallbacks())
    assert [len(group.lengths) for group in backend.decode_loop.batch.groups] == [len(TEXTS)]  # type: ignore[attr-defined]


def test_a_decoder_whose_answers_change_in_a_batch_steps_its_rows_one_by_one(
    loader: ModelLoader, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = [request(text) for text in TEXTS]
    expected = [text_of(heard) for heard in on_onnx(loader, *requests)]
    with loader.use(f"{LLM}@onnx-fp32", "text-generation") as lease:
        model = lease.pipeline.model
        assert padding_side_of(model) == "right"
        model.padding = ""
    assert [text_of(heard) for heard in on_onnx(loader, *requests)] == expected


def test_choices_seeds_and_stop_strings_are_as_on_pytorch(loader: ModelLoader) -> None:
    asked = request("hello", temperature=1.2, seed=10, n=3, stop=("a", "e"))
    mine, theirs = on_onnx(loader, asked)[0].reply, on_torch(loader, asked)[0].reply
    assert mine is not None
    assert theirs is not None
    assert [choice.text for choice in mine.choices] == [choice.text for choice in theirs.choices]


def test_a_chat_that_is_cancelled_stops_at_its_next_token_and_frees_its_row(loader: ModelLoader) -> None:
    backend, leaving, staying = OnnxBackend(loader, f"{LLM}@onnx-fp32"), RecordingCallbacks(leave_after=3), RecordingCallbacks()
    backend.admit(request("hello there, you", max_tokens=200), leaving)
    backend.admit(request("hello", max_tokens=24), staying)
    for _ in range(4):
        backend.step()
    assert backend.rows == 1
    while backend.step():
        pass
    assert leaving.reply is None
    assert text_of(staying) == text_of(on_torch(loader, request("hello"))[0])


def test_a_json_schema_is_followed(loader: ModelLoader) -> None:
    schema = {"type": "object", "properties": {"count": {"type": "integer", "maximum": 9}}, "required": ["count"]}
    schema["additionalProperties"] = False
    heard = on_onnx(loader, request("How many?", VLM, tinted("x", VLM), schema=schema, max_tokens=80))[0]
    assert set(json.loads(text_of(heard))) == {"count"}


def test_log_probabilities_are_those_of_pytorch(loader: ModelLoader) -> None:
    asked = request("hello", logprobs=True, top_logprobs=3)
    tables = [heard.reply.choices[0].logprobs for heard in (*on_onnx(loader, asked), *on_torch(loader, asked))]  # type: ignore[union-attr]
    mine, theirs = (np.array([each["logprob"] for each in table]) for table in tables)
    assert len(mine) == 24
    assert np.abs(mine - theirs).max() < 1e-3


# ---------------------------------------------------------------- reading


@pytest.mark.parametrize("size", [1, 5, 10_000])
@pytest.mark.parametrize("variant", ["fp32", "int8"])
def test_a_prompt_read_in_pieces_is_answered_as_one_read_whole(
    loader: ModelLoader, variant: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = several(3, "high" if size == 5 else "auto")
    whole = text_of(on_onnx(loader, asked, variant=variant)[0])
    monkeypatch.setattr(onnx_backend, "CHUNK_TOKENS", {"cpu": size})
    assert text_of(on_onnx(loader, asked, variant=variant)[0]) == whole


def test_a_conversation_goes_on_where_it_was_and_its_pictures_are_looked_at_once(
    loader: ModelLoader, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []
    look = OnnxModel.encode_images
    monkeypatch.setattr(OnnxModel, "encode_images", lambda self, inputs: (looks.append(1), look(self, inputs))[1])
    first = several(2)
    backend = OnnxBackend(loader, f"{VLM}@onnx-fp32", CacheLimits(2**30, 2**30))
    answer = text_of(run_on(backend, first)[0])
    more = (Turn("assistant", (MessagePart(text=answer),)), Turn("user", (MessagePart(text="And now?"),)))
    second = dataclasses.replace(first, turns=(*first.turns, *more))
    heard = run_on(backend, second)[0]
    assert looks == [1]
    assert heard.reply is not None
    assert heard.reply.cached_tokens > 10
    loader.unload(f"{VLM}@onnx-fp32")
    assert text_of(heard) == text_of(on_torch(loader, second)[0])


# ---------------------------------------------------------------- memory


def test_freed_memory_is_handed_back_as_answers_grow_and_once_they_have_ended(
    loader: ModelLoader, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed_back: list[tuple[int, int]] = []
    backend = OnnxBackend(loader, f"{LLM}@onnx-int8")
    monkeypatch.setattr(
        onnx_backend,
        "trim_heap",
        lambda: handed_back.append(
            (backend.decode_loop.answers, sum(group.width for group in backend.decode_loop.batch.groups))
        ),
    )
    run_on(backend, request("hello", max_tokens=3 * onnx_backend.TRIM_EVERY_TOKENS))
    *meanwhile, last = handed_back
    assert len(meanwhile) == 3
    assert {answers for answers, _ in meanwhile} == {1}
    assert last == (0, 0)


def test_its_weights_are_counted_and_it_goes_on_after_it_was_evicted(loader: ModelLoader) -> None:
    backend, heard, name = OnnxBackend(loader, f"{VLM}@onnx-int8"), RecordingCallbacks(), f"{VLM}@onnx-int8"
    backend.admit(request("hello", VLM, tinted("hello", VLM)), heard)
    files = (loader.catalog.get(VLM).path / "onnx").glob("*_int8.onnx")  # type: ignore[operator]
    assert [(model["id"], model["bytes"]) for model in loader.loaded()] == [(name, sum(file.stat().st_size for file in files))]
    for _ in range(5):
        backend.step()
    assert loader.unload(name)
    while backend.step():
        pass
    assert text_of(heard) == text_of(on_onnx(loader, request("hello", VLM, tinted("hello", VLM)), variant="int8")[0])


def test_it_is_pushed_out_for_another_model_and_pushes_that_out_again(exported: Exported, tmp_path: Path) -> None:
    largest = sum(file.stat().st_size for file in (exported[0].parent / "vlm" / "onnx").iterdir())
    loader = make_loader(exported[0], tmp_path, memory_limit=largest)
    for name in (f"{VLM}@onnx-fp32", LLM, f"{VLM}@onnx-fp32"):
        loader.load(name)
        assert [model["id"] for model in loader.loaded()] == [name]


def test_a_failed_allocation_is_a_shortage_of_memory(tmp_path: Path) -> None:
    value = helper.make_tensor_value_info
    node = helper.make_node("Expand", ["x", "shape"], ["y"])
    graph = helper.make_graph([node], "g", [value("x", 1, [1]), value("shape", 7, [2])], [value("y", 1, ["a", "b"])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "expand.onnx")
    with pytest.raises(MemoryError, match="allocate"):
        OnnxSession(tmp_path / "expand.onnx").run({"x": np.ones(1), "shape": np.array([2**30, 2**14])})


# ---------------------------------------------------------------- the export


def test_it_goes_into_a_folder_of_its_own_with_all_that_is_needed(exported: Exported, tmp_path: Path) -> None:
    source = exported[0].parent / "llama"
    export_onnx(source, tmp_path / "new", "int4", task="text-generation", check=False)
    names = {file.relative_to(tmp_path / "new").as_posix() for file in (tmp_path / "new").rglob("*") if file.is_file()}
    assert names == {
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
        "onnx/model_q4.onnx",
    }


def test_what_cant_be_exported_is_refused_with_a_reason_and_leaves_nothing(exported: Exported, tmp_path: Path) -> None:
    source = exported[0].parent / "llama"
    with pytest.raises(ExportError, match="There is no precision int2 in ONNX; there are fp32, fp16, int8, int4"):
        export_onnx(source, tmp_path / "new", "int2")
    odd = tmp_path / "odd"
    build_tiny_llama(odd)
    (odd / "config.json").write_text(json.dumps(json.loads((odd / "config.json").read_text()) | {"model_type": "gpt2"}))
    with pytest.raises((ExportError, DarkroomError), match="its weights lack the tensor transformer"):
        export_onnx(odd, tmp_path / "new", "int8", task="text-generation")
    assert not list((tmp_path / "new").iterdir())
