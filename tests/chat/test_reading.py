"""Prompts that are read in pieces, and what is kept of chats for those that go on with them: the answers are the same without."""

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from api.chat.backends import prefill
from api.chat.backends.prefill import TorchPrefiller
from api.chat.backends.prefix_cache import ByteLimitedLRU, CachedPrefix, CacheLimits, PromptCache
from api.chat.backends.prompting import Prompt
from api.chat.backends.request import ChatRequest, MessagePart, Sampling, Turn
from api.chat.backends.sequence_groups import TorchSequenceBatch
from api.chat.backends.torch_backend import TorchBackend
from api.model_loader import ModelLoader, OutOfMemory
from tests.chat.test_torch_backend import LLM, VLM, RecordingCallbacks, loader, text_of  # noqa: F401  (a fixture)

pytestmark = [pytest.mark.models, pytest.mark.usefixtures("one_thread")]
ALL = CacheLimits(2**30, 2**30)
NONE = CacheLimits(0, 0)
LONG = "a red circle above a blue square. " * 40


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefill, "CHUNK_TOKENS", {"cpu": 7})


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many tiles the vision part looked at, call by call."""
    seen: list[int] = []
    look = prefill.ImageTiles.encode

    def counted(self: Any, model: Any, tiles: list[int]) -> torch.Tensor:
        seen.append(len(tiles))
        return look(self, model, tiles)

    monkeypatch.setattr(prefill.ImageTiles, "encode", counted)
    return seen


def picture(shade: int, size: tuple[int, int] = (64, 48)) -> Image.Image:
    return Image.linear_gradient("L").resize(size).convert("RGB").point(lambda value: (value * 3 + shade) % 256)


def say(*said: str | Image.Image, role: str = "user", detail: str = "auto") -> Turn:
    return Turn(
        role,
        tuple(MessagePart(text=part) if isinstance(part, str) else MessagePart(image=part, detail=detail) for part in said),
    )


def ask(backend: TorchBackend, *turns: Turn, owner: str = "me", **sampling: Any) -> RecordingCallbacks:
    options = {"temperature": 0.0, "max_tokens": 12, **sampling}
    heard = RecordingCallbacks()
    backend.admit(ChatRequest(model_id=backend.entry.id, turns=turns, sampling=Sampling(**options), owner=owner), heard)
    while backend.step():
        pass
    assert heard.error is None, heard.error
    return heard


def cached(heard: RecordingCallbacks) -> int:
    assert heard.reply is not None
    return heard.reply.cached_tokens


def fresh(loader: ModelLoader, model: str, *turns: Turn, **sampling: Any) -> str:  # noqa: F811
    """What is answered by a model that keeps nothing and reads in one piece."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prefill, "CHUNK_TOKENS", {"cpu": 10_000})
        loader.unload(model)
        text = text_of(ask(TorchBackend(loader, model, NONE), *turns, **sampling))
        loader.unload(model)
    return text


# ---------------------------------------------------------------- in pieces


@pytest.mark.parametrize("size", [1, 5, 64, 10_000])
@pytest.mark.parametrize("model", [LLM, VLM])
def test_a_prompt_read_in_pieces_gives_the_logits_of_one_read_whole(
    loader: ModelLoader,  # noqa: F811
    model: str,
    size: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from api.chat.backends.prompting import encode

    monkeypatch.setattr(prefill, "CHUNK_TOKENS", {"cpu": size})
    said = [picture(3), "and", picture(90, (30, 64)), "what are these?"] if model == VLM else ["hello " * 9]
    request = ChatRequest(model_id=model, turns=(say(*said, detail="high" if size == 5 else "auto"),))
    with loader.use(model, loader.catalog.get(model).task) as lease:
        prompt = encode(lease.pipeline, request)
        whole = TorchSequenceBatch().add(lease.pipeline.model, prompt.inputs, 1)
        started = TorchPrefiller(TorchSequenceBatch()).start(lease.pipeline.model, prompt, 1)
        assert started is not None
        pieces = 1
        while (logits := started.run_chunk(lease.pipeline.model)) is None:
            pieces += 1
    assert pieces == -(-prompt.length // size)
    assert (logits - whole).abs().max() < 1e-4 * whole.std()


@pytest.mark.parametrize("model", [LLM, VLM])
def test_others_go_on_writing_while_a_long_prompt_is_read(loader: ModelLoader, model: str) -> None:  # noqa: F811
    backend, writing, long = TorchBackend(loader, model), RecordingCallbacks(), RecordingCallbacks()
    turns = (say(LONG, *([picture(1)] if model == VLM else [])),)
    backend.admit(
        ChatRequest(model_id=model, turns=(say("hello"),), sampling=Sampling(temperature=0.0, max_tokens=60)), writing
    )
    backend.admit(ChatRequest(model_id=model, turns=turns, sampling=Sampling(temperature=0.0, max_tokens=5)), long)
    assert backend.rows == 2
    before = writing.tokens
    while not long.texts and long.reply is None:
        assert backend.step()
    assert writing.tokens - before > 10
    while backend.step():
        pass
    assert text_of(long) == fresh(loader, model, *turns, max_tokens=5)
    assert text_of(writing) == fresh(loader, model, say("hello"), max_tokens=60)


def test_a_short_prompt_does_not_wait_for_a_long_one(loader: ModelLoader) -> None:  # noqa: F811
    backend, long, short = TorchBackend(loader, LLM), RecordingCallbacks(), RecordingCallbacks()
    for text, heard in ((LONG, long), ("hello", short)):
        backend.admit(ChatRequest(model_id=LLM, turns=(say(text),), sampling=Sampling(max_tokens=2)), heard)
    while short.reply is None:
        backend.step()
    assert not long.texts


def test_who_leaves_while_the_prompt_is_read_leaves_nothing(loader: ModelLoader) -> None:  # noqa: F811
    backend, heard = TorchBackend(loader, LLM, ALL), RecordingCallbacks(leave_after=2)
    backend.admit(ChatRequest(model_id=LLM, turns=(say(LONG),)), heard)
    steps = 0
    while backend.step():
        steps += 1
    assert steps < 5
    assert (backend.rows, heard.texts, heard.reply) == (0, {}, None)


@pytest.mark.parametrize("fault", [RuntimeError("nobody expected this"), OutOfMemory("too much")])
def test_a_prompt_that_cannot_be_read_fails_alone(
    loader: ModelLoader,  # noqa: F811
    fault: Exception,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backend, writing, broken = TorchBackend(loader, LLM), RecordingCallbacks(), RecordingCallbacks()
    backend.admit(ChatRequest(model_id=LLM, turns=(say("hello"),), sampling=Sampling(temperature=0.0, max_tokens=20)), writing)
    while not writing.texts:
        backend.step()
    backend.admit(ChatRequest(model_id=LLM, turns=(say(LONG),)), broken)

    def fail(self: Any, model: Any) -> None:
        raise fault

    monkeypatch.setattr(prefill.TorchPrefill, "run_chunk", fail)
    while backend.step():
        pass
    assert broken.error is not None
    assert broken.error.status in (500, 507)
    assert text_of(writing)


def test_a_piece_that_found_no_memory_is_read_again(loader: ModelLoader, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """After a shortage in its middle, when half of the layers had it already."""
    backend, expected = TorchBackend(loader, LLM), fresh(loader, LLM, say(LONG))
    calls, update = [0], prefill.PreallocatedLayer.update

    def short_once(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls[0] += 1
        if calls[0] == 10:
            raise torch.OutOfMemoryError("out of memory")
        return update(self, *args, **kwargs)

    monkeypatch.setattr(prefill.PreallocatedLayer, "update", short_once)
    assert text_of(ask(backend, say(LONG))) == expected


# ---------------------------------------------------------------- what is kept


def conversation(model: str) -> list[Turn]:
    first = [
        say("be brief", role="system"),
        say(picture(7), "hello, what is this?") if model == VLM else say("hello, what is this?"),
    ]
    second = say(picture(99), "and this one?") if model == VLM else say("and this one?")
    return [*first, second, say("a third question?")]


@pytest.mark.parametrize("model", [LLM, VLM])
def test_a_conversation_goes_on_the_same_with_and_without(loader: ModelLoader, model: str) -> None:  # noqa: F811
    """Four turns, two pictures."""
    system, one, two, three = conversation(model)
    turns, counts = [system], []
    for question in (one, two, three, say("bye")):
        turns.append(question)
        expected = fresh(loader, model, *turns) if not counts else None
        heard = ask(TorchBackend(loader, model, ALL), *turns)
        counts.append(cached(heard))
        with_nothing = TorchBackend(loader, model, ALL)
        with loader.use(model, loader.catalog.get(model).task) as lease:
            kept, lease.pipeline.cached_objects["memory"] = lease.pipeline.cached_objects["memory"], PromptCache(NONE)
            assert text_of(ask(with_nothing, *turns)) == text_of(heard)
            lease.pipeline.cached_objects["memory"] = kept
        assert expected is None or text_of(heard) == expected
        turns.append(say(text_of(heard), role="assistant"))
    assert counts[0] == 0
    assert counts == sorted(set(counts))  # each turn finds more than the one before


@pytest.mark.parametrize("model", [LLM, VLM])
def test_an_edited_history_is_read_from_the_edit_on(loader: ModelLoader, model: str) -> None:  # noqa: F811
    system, one, two, _ = conversation(model)
    backend = TorchBackend(loader, model, ALL)
    answer = say(text_of(ask(backend, system, one)), role="assistant")
    ask(backend, system, one, answer, two)
    edited = (system, one, say("something else", role="assistant"), two)
    heard = ask(backend, *edited)
    assert heard.reply is not None
    assert 0 < cached(heard) < heard.reply.prompt_tokens
    assert text_of(heard) == fresh(loader, model, *edited)
    map_caches = (say("be brave", role="system"), one, answer, two)
    heard = ask(TorchBackend(loader, model, ALL), *map_caches)
    assert text_of(heard) == fresh(loader, model, *map_caches)


def test_another_picture_in_the_same_place_is_another_prompt(loader: ModelLoader) -> None:  # noqa: F811
    backend = TorchBackend(loader, VLM, ALL)
    ask(backend, say("look:", picture(7), "what?"))
    heard = ask(backend, say("look:", picture(99), "what?"))
    same = ask(backend, say("look:", picture(7), "what?"))
    assert cached(heard) + 4 <= cached(same)  # the picture's own tokens
    assert text_of(heard) == fresh(loader, VLM, say("look:", picture(99), "what?"))


def test_a_picture_is_looked_at_once(loader: ModelLoader, looks: list[int]) -> None:  # noqa: F811
    backend = TorchBackend(loader, VLM, ALL)
    ask(backend, say(picture(7), "what?"))
    ask(backend, say("something before it", picture(7), "what?"))  # no prefix to go on from
    assert looks == [1]
    ask(backend, say(picture(7), "what?", detail="high"))
    assert len(looks) > 1


def test_without_limits_nothing_is_kept(loader: ModelLoader, looks: list[int]) -> None:  # noqa: F811
    backend = TorchBackend(loader, VLM, NONE)
    assert [cached(ask(backend, say(picture(7), "what?"))) for _ in range(2)] == [0, 0]
    assert looks == [1, 1]
    assert loader.loaded()[0]["spare_bytes"] == 0


def test_nothing_passes_from_one_owner_to_another(loader: ModelLoader, looks: list[int]) -> None:  # noqa: F811
    backend = TorchBackend(loader, VLM, ALL)
    assert [cached(ask(backend, say(picture(7), "what?"), owner=owner)) > 0 for owner in ("me", "you", "me")] == [
        False,
        False,
        True,
    ]
    assert looks == [1, 1]


def test_several_answers_and_those_beside_them_are_as_without(loader: ModelLoader) -> None:  # noqa: F811
    """Rows that leave a batch of others, and go on into one."""
    backend, heard = TorchBackend(loader, LLM, ALL), [RecordingCallbacks() for _ in range(3)]
    for place, each in enumerate(heard):
        sampling = Sampling(temperature=1.0, seed=place, n=2, max_tokens=5 + 7 * place)
        backend.admit(ChatRequest(model_id=LLM, turns=(say(f"hello {place}"),), sampling=sampling), each)
    while backend.step():
        pass
    for place, each in enumerate(heard):
        assert each.reply is not None
        answer = say(each.reply.choices[0].text, role="assistant")
        turns = (say(f"hello {place}"), answer, say("go on"))
        assert text_of(ask(backend, *turns, owner="")) == fresh(loader, LLM, *turns)
        with loader.use(LLM, loader.catalog.get(LLM).task):
            pass


def test_it_goes_with_the_model_and_before_any_model(loader: ModelLoader) -> None:  # noqa: F811
    backend = TorchBackend(loader, LLM, ALL)
    ask(backend, say("hello"))
    assert loader.loaded()[0]["spare_bytes"] > 0
    loader.memory_limit = loader.loaded()[0]["bytes"] + 10
    assert loader.make_room(5)
    assert loader.loaded()[0]["spare_bytes"] > 0
    assert loader.make_room(100)
    assert cached(ask(backend, say("hello"))) == 0


def test_a_shortage_of_memory_forgets_it(loader: ModelLoader) -> None:  # noqa: F811
    backend = TorchBackend(loader, LLM, ALL)
    ask(backend, say("hello"))
    with loader.use(LLM, loader.catalog.get(LLM).task) as lease:
        for number, attempt in enumerate(loader.retry_on_oom(lease, batch_size=1)):
            with attempt:
                if not number:
                    raise torch.OutOfMemoryError("out of memory")
    assert loader.loaded()[0]["spare_bytes"] == 0


# ---------------------------------------------------------------- its parts


def prefix(*marks: int, owner: str = "me") -> CachedPrefix:
    states = torch.arange(len(marks), dtype=torch.float32).view(1, 1, -1, 1)
    return CachedPrefix(owner, torch.tensor(marks), [(states, states)])


def test_the_longest_beginning_is_found_and_what_is_covered_goes() -> None:
    memory = PromptCache(ALL)
    for marks in ((1, 2), (1, 2, 3), (5,), (1, 2, 3, 4, 9)):
        memory.add(prefix(*marks))
    assert len(memory.prefixes.entries) == 2
    assert memory.longest_match("me", torch.tensor([1, 2, 3, 7]))[1] == 3
    assert memory.longest_match("you", torch.tensor([1, 2, 3, 7])) == ([], 0)
    assert memory.longest_match("me", torch.tensor([8])) == ([], 0)


def test_a_shelf_lets_the_least_recently_used_go() -> None:
    shelf = ByteLimitedLRU(10)
    for key in "abc":
        shelf.put(key, key, 4 if key != "c" else 3)
        shelf.get("a")
    assert ([shelf.get(key) for key in "abc"], shelf.bytes) == (["a", None, "c"], 7)
    shelf.put("a", "more", 5)
    shelf.put("large", "large", 11)
    assert ([shelf.get(key) for key in ("a", "c", "large")], shelf.bytes) == (["more", "c", None], 8)


def test_llava_is_read_in_pieces_too() -> None:
    torch.manual_seed(0)
    text = LlamaConfig(
        vocab_size=100, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, initializer_range=0.5
    )
    eyes = CLIPVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, image_size=16, patch_size=8
    )
    model = LlavaForConditionalGeneration(LlavaConfig(text_config=text, vision_config=eyes, image_token_id=99)).eval()
    ids = torch.tensor([[1, *[99] * 4, 5, 6, *[99] * 4, 7, 8, 9]])
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": torch.rand(2, 3, 16, 16)}
    whole = TorchSequenceBatch().add(model, inputs, 1)
    prefill = TorchPrefiller(TorchSequenceBatch()).start(model, Prompt(inputs), 1)
    assert prefill is not None
    assert prefill.run_chunk(model) is None
    logits = prefill.run_chunk(model)
    assert logits is not None
    assert (logits - whole).abs().max() < 1e-4 * whole.std()


@pytest.mark.parametrize("window", [None, 4])
def test_a_window_over_what_was_said_is_read_whole(window: int | None, tmp_path: Path) -> None:
    from transformers import MistralConfig, MistralForCausalLM

    config = MistralConfig(
        vocab_size=50, hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2,
        sliding_window=window,
    )  # fmt: skip
    inputs = {"input_ids": torch.tensor([[1, 2, 3]]), "attention_mask": torch.ones(1, 3, dtype=torch.long)}
    prefill = TorchPrefiller(TorchSequenceBatch()).start(MistralForCausalLM(config), Prompt(inputs), 1)
    assert (prefill is None) == (window is not None)
