"""Chats on PyTorch, with real tiny checkpoints: against transformers' own generate, alone and together."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from api.catalog import load_catalog
from api.chat.backends.prompting import encode
from api.chat.backends.request import ChatRequest, ChatResult, MessagePart, PromptScores, Sampling, Turn
from api.chat.backends.torch_backend import TorchBackend
from api.devices import Device
from api.downloads.store import ModelStore
from api.errors import DarkroomError
from api.model_loader import ModelLoader

pytestmark = [pytest.mark.models, pytest.mark.usefixtures("one_thread")]
VLM, LLM = "tiny/vlm", "tiny-llama"
TEXTS = ("What is in this image?", "hello", "a red circle above a blue square " * 4, "x <|im_end|> y")


@pytest.fixture
def loader(chat_catalog: Path, tmp_path: Path) -> ModelLoader:
    device = Device("cpu", 0, "a processor", torch.float32, True, 8 * 2**30)
    return ModelLoader(load_catalog(chat_catalog), ModelStore(tmp_path), device)


@dataclass
class RecordingCallbacks:
    """Keeps what it is told."""

    texts: dict[int, str] = field(default_factory=dict)
    tokens: int = 0
    leave_after: int = 10**9
    reply: ChatResult | None = None
    error: DarkroomError | None = None

    def on_text(self, index: int, text: str, logprobs: list[dict[str, Any]]) -> None:
        self.texts[index] = self.texts.get(index, "") + text

    def cancelled(self) -> bool:
        self.tokens += 1
        return self.tokens > self.leave_after

    def on_end(self, reply: ChatResult) -> None:
        self.reply = reply

    def on_error(self, error: DarkroomError) -> None:
        self.error = error


def request(text: str, model: str = LLM, image: Image.Image | None = None, **sampling: Any) -> ChatRequest:
    parts = (MessagePart(text=text),) if image is None else (MessagePart(image=image), MessagePart(text=text))
    options = {"temperature": 0.0, "max_tokens": 24, **sampling}
    return ChatRequest(model_id=model, turns=(Turn("user", parts),), sampling=Sampling(**options))


def run(loader: ModelLoader, requests: list[ChatRequest], *, apart: int = 0) -> list[RecordingCallbacks]:
    return run_on(TorchBackend(loader, requests[0].model_id), *requests, apart=apart)


def run_on(backend: TorchBackend, *requests: ChatRequest, apart: int = 0) -> list[RecordingCallbacks]:
    """All of them, each joining `apart` tokens after the one before."""
    heard = []
    for each in requests:
        heard.append(RecordingCallbacks())
        backend.admit(each, heard[-1])
        for _ in range(apart):
            backend.step()
    while backend.step():
        pass
    return heard


def text_of(heard: RecordingCallbacks) -> str:
    assert heard.reply is not None, heard.error
    return heard.reply.choices[0].text


def tinted(text: str, model: str) -> Image.Image | None:
    return Image.new("RGB", (64, 40), (len(text) * 3 % 255, 90, 200)) if model == VLM else None


def test_a_raw_prompt_is_written_on_and_scored_as_transformers_does_it(loader: ModelLoader) -> None:
    scores = PromptScores(top_logprobs=2)
    raw = ChatRequest(
        model_id=LLM, prompt=TEXTS[2] * 12, scores=scores, sampling=Sampling(temperature=0.0, max_tokens=8, logprobs=True)
    )
    heard = run(loader, [request(TEXTS[2]), raw])[1]
    with loader.use(LLM, loader.catalog.get(LLM).task) as lease:
        chat = lease.pipeline
        ids = chat.tokenizer(TEXTS[2] * 12, return_tensors="pt").input_ids
        made = chat.model.generate(ids, max_new_tokens=8, do_sample=False)[0]
        expected = chat.model(made[None]).logits[0].log_softmax(-1)
        text = chat.tokenizer.decode(made[ids.shape[1] :], skip_special_tokens=True)
    assert ids.shape[1] > 2 * 128  # more than two chunks
    assert text_of(heard) == text
    assert scores.in_order[0]["logprob"] is None
    assert heard.reply is not None
    told = [entry["logprob"] for entry in [*scores.in_order[1:], *heard.reply.choices[0].logprobs]]
    assert told == pytest.approx([float(expected[place, token]) for place, token in enumerate(made[1:])][: len(told)], abs=1e-3)


@pytest.mark.parametrize("model", [LLM, VLM])
def test_it_writes_what_transformers_own_generate_writes(loader: ModelLoader, model: str) -> None:
    ours = run(loader, [request(TEXTS[0], model, tinted(TEXTS[0], model))])[0]
    with loader.use(model, loader.catalog.get(model).task) as lease:
        chat = lease.pipeline
        prompt = encode(chat, request(TEXTS[0], model, tinted(TEXTS[0], model)))
        banned = [[token] for token in [chat.model.config.image_token_id] if token] if model == VLM else None
        made = chat.model.generate(**prompt.inputs, max_new_tokens=24, do_sample=False, bad_words_ids=banned)
        theirs = chat.tokenizer.decode(made[0, prompt.length :], skip_special_tokens=True)
    assert text_of(ours) == theirs


@pytest.mark.parametrize("apart", [0, 1, 5])
@pytest.mark.parametrize("model", [LLM, VLM])
def test_chats_that_join_and_leave_write_what_each_writes_alone(loader: ModelLoader, model: str, apart: int) -> None:
    requests = [request(text, model, tinted(text, model), max_tokens=8 + 5 * place) for place, text in enumerate(TEXTS)]
    alone = [text_of(run(loader, [each])[0]) for each in requests]
    assert [text_of(heard) for heard in run(loader, requests, apart=apart)] == alone


def test_drawn_answers_depend_on_their_own_seed_alone(loader: ModelLoader) -> None:
    requests = [request(text, temperature=1.0, seed=place) for place, text in enumerate(TEXTS)]
    alone = [text_of(run(loader, [each])[0]) for each in requests]
    assert [text_of(heard) for heard in run(loader, requests, apart=2)] == alone


def test_choice_i_is_the_answer_of_seed_plus_i(loader: ModelLoader) -> None:
    together = run(loader, [request("hello", temperature=1.0, seed=10, n=3)])[0]
    single = [text_of(run(loader, [request("hello", temperature=1.0, seed=10 + place)])[0]) for place in range(3)]
    assert [choice.text for choice in together.reply.choices] == single  # type: ignore[union-attr]


def test_what_is_told_piece_by_piece_is_the_whole(loader: ModelLoader) -> None:
    heard = run(loader, [request("hello", temperature=1.5, seed=place, stop=("a", "e")) for place in range(4)])
    assert all(each.texts.get(0, "") == text_of(each) for each in heard)
    assert not any("a" in text_of(each) or "e" in text_of(each) for each in heard)


def test_a_chat_that_is_cancelled_stops_at_its_next_token_and_frees_its_row(loader: ModelLoader) -> None:
    backend, leaving, staying = TorchBackend(loader, LLM), RecordingCallbacks(leave_after=3), RecordingCallbacks()
    backend.admit(request("hello", max_tokens=200), leaving)
    backend.admit(request("hello", max_tokens=24), staying)
    for _ in range(4):
        backend.step()
    assert backend.rows == 1
    while backend.step():
        pass
    assert leaving.reply is None
    assert text_of(staying) == text_of(run(loader, [request("hello")])[0])


def test_a_model_that_was_evicted_in_between_goes_on_where_it_was(loader: ModelLoader) -> None:
    backend, heard = TorchBackend(loader, LLM), RecordingCallbacks()
    backend.admit(request("hello"), heard)
    for _ in range(5):
        backend.step()
    assert loader.unload(LLM)
    while backend.step():
        pass
    assert text_of(heard) == text_of(run(loader, [request("hello")])[0])


def test_nothing_is_pinned_between_two_tokens(loader: ModelLoader) -> None:
    backend = TorchBackend(loader, LLM)
    backend.admit(request("hello"), RecordingCallbacks())
    assert [model["pinned"] for model in loader.loaded()] == [False]


def test_special_tokens_in_what_people_write_are_plain_text(loader: ModelLoader) -> None:
    for model in (LLM, VLM):
        with loader.use(model, loader.catalog.get(model).task) as lease:
            ids = (
                encode(lease.pipeline, request("x <|im_end|> <image> y", model, tinted("", model)))
                .inputs["input_ids"][0]
                .tolist()
            )
            plain = encode(lease.pipeline, request("x y", model, tinted("", model))).inputs["input_ids"][0].tolist()
            marks = {lease.pipeline.tokenizer.convert_tokens_to_ids(mark) for mark in ("<|im_end|>", "<image>")}
        assert sum(token in marks for token in ids) == sum(token in marks for token in plain)
        assert lease.pipeline.tokenizer.decode(ids).count("x <|im_end|> <image> y") == 1


def test_a_private_character_of_the_clients_own_stays_what_it_is(loader: ModelLoader) -> None:
    with loader.use(LLM, "text-generation") as lease:
        ids = encode(lease.pipeline, request("\ue000 and <|im_end|>")).inputs["input_ids"][0]
        assert "\ue000 and <|im_end|>" in lease.pipeline.tokenizer.decode(ids)


def test_detail_high_splits_a_picture_into_tiles(loader: ModelLoader) -> None:
    image = Image.new("RGB", (128, 96), "red")
    tiles = {}
    with loader.use(VLM, "image-text-to-text") as lease:
        for detail in ("low", "auto", "high"):
            turn = Turn("user", (MessagePart(image=image, detail=detail), MessagePart(text="What?")))
            tiles[detail] = encode(lease.pipeline, ChatRequest(model_id=VLM, turns=(turn,))).inputs["pixel_values"].shape[1]
    assert tiles == {"low": 1, "auto": 1, "high": 13}


def test_pictures_of_one_request_are_looked_at_each_as_closely_as_asked(loader: ModelLoader) -> None:
    """As alone: the same tiles, and as many marks in the text."""
    images = [Image.effect_noise((90, 60), 60 + place).convert("RGB") for place in range(3)]
    parts = [MessagePart(image=image, detail=detail) for image, detail in zip(images, ("low", "high", "auto"), strict=True)]
    with loader.use(VLM, "image-text-to-text") as lease:
        chat = lease.pipeline

        def seen(*shown: MessagePart) -> dict[str, torch.Tensor]:
            return encode(chat, ChatRequest(model_id=VLM, turns=(Turn("user", shown),))).inputs

        alone, together = [seen(part) for part in parts], seen(*parts)
        marks = [int((each["input_ids"] == chat.config.image_token_id).sum()) for each in (*alone, together)]
    assert torch.equal(together["pixel_values"], torch.cat([each["pixel_values"] for each in alone], dim=1))
    assert [each["pixel_values"].shape[1] for each in alone] == [1, 13, 1]
    assert marks[3] == sum(marks[:3])


def test_a_request_that_does_not_fit_says_both_numbers(loader: ModelLoader) -> None:
    with pytest.raises(
        DarkroomError,
        match=r"^This model's maximum context length is 1024 tokens\..* needs 1\d{3}: \d+ of the messages and 1000 of the answer",
    ) as error:
        TorchBackend(loader, LLM).admit(request(TEXTS[2], max_tokens=1000), RecordingCallbacks())
    assert error.value.code == "context_length_exceeded"


def test_without_a_limit_the_answer_ends_with_the_context(loader: ModelLoader) -> None:
    heard = run(loader, [request("hello", temperature=1.0, max_tokens=None, default_max_tokens=10_000, seed=3)])[0]
    reply = heard.reply
    assert reply is not None
    assert reply.choices[0].finish_reason in ("stop", "length")
    assert reply.prompt_tokens + reply.choices[0].completion_tokens <= 1024


def test_an_answer_under_a_schema_fits_it_beside_one_that_is_free(loader: ModelLoader) -> None:
    import json

    schema = {
        "type": "object",
        "properties": {"color": {"enum": ["red", "blue"]}, "count": {"type": "integer", "minimum": 0, "maximum": 9}},
        "required": ["color", "count"],
        "additionalProperties": False,
    }
    free = request("hello")
    heard = run(loader, [request("hello", schema=schema, temperature=1.0, max_tokens=100), free], apart=2)
    answer = json.loads(text_of(heard[0]))
    assert (answer["color"] in ("red", "blue"), answer["count"] in range(10)) == (True, True)
    assert heard[0].reply.choices[0].finish_reason == "stop"  # type: ignore[union-attr]
    assert text_of(heard[1]) == text_of(run(loader, [free])[0])
