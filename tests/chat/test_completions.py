"""`POST /v1/completions` with OpenAI's SDK against a running server: raw prompts, held against transformers' own model."""

from pathlib import Path
from statistics import fmean
from typing import Any

import openai
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.chat.conftest import ask
from tests.live import LiveServer
from tests.walks import check_each

pytestmark = pytest.mark.models
MODEL = "tiny-llama"
LONG = "a red circle above a blue square and " * 40
"""More tokens than are read at once."""


@pytest.fixture(scope="module")
def reference(chat_catalog: Path) -> tuple[Any, Any]:
    folder = chat_catalog.parent / "llama"
    return AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module", autouse=True)
def loaded(server: LiveServer) -> None:
    """A machine that is busy may take longer to begin than the SDK waits."""
    assert server.client.post("/v1/completions", json={"model": MODEL, "prompt": "a", "max_tokens": 1}).status_code == 200


@pytest.fixture
def complete(sdk: openai.OpenAI) -> Any:
    return lambda prompt, **options: sdk.completions.create(model=MODEL, prompt=prompt, **options)


def test_an_echo_is_scored_and_says_where_its_tokens_are(complete: Any, reference: tuple[Any, Any]) -> None:
    tokens = [reference[1].decode([token]) for token in reference[1](LONG).input_ids]
    assert len(tokens) > 128
    reply = complete(LONG, max_tokens=8, temperature=0, echo=True, logprobs=3)
    [choice], told = reply.choices, reply.choices[0].logprobs
    assert choice.text.startswith(LONG)
    assert told.tokens[: len(tokens)] == tokens
    assert told.token_logprobs[0] is told.top_logprobs[0] is None
    for place, (token, one, top) in enumerate(zip(told.tokens, told.token_logprobs, told.top_logprobs, strict=True)):
        if place:
            assert 1 <= len(top) <= 3  # two parts of characters are written alike
            assert max(top.values()) >= one
            assert top.get(token, one) == one
        if "\ufffd" not in token + told.tokens[max(0, place - 1)]:  # a part of a character, which ends with the next token
            assert choice.text[told.text_offset[place] :].startswith(token)
    assert (reply.object, reply.usage.prompt_tokens, reply.model) == ("text_completion", len(tokens), MODEL)
    alone = complete(LONG, max_tokens=0, echo=True, logprobs=0)
    assert (alone.choices[0].text, alone.choices[0].finish_reason, alone.usage.completion_tokens) == (LONG, "length", 0)
    assert alone.choices[0].logprobs.token_logprobs == told.token_logprobs[: len(tokens)]
    assert alone.choices[0].logprobs.top_logprobs is None


def test_a_stream_of_several_prompts_says_what_the_whole_does(complete: Any) -> None:
    options: Any = {"n": 2, "seed": 3, "temperature": 1, "echo": True, "logprobs": 1, "stop": "e"}
    prompts = ["a red", "What is", "What is"]
    whole = complete(prompts, **options)
    assert [choice.index for choice in whole.choices] == list(range(6))
    assert len({choice.text for choice in whole.choices}) > 3  # each has a seed of its own
    assert all(choice.text.startswith(prompts[choice.index // 2]) for choice in whole.choices)
    assert [choice.text for choice in complete(prompts[:1], **options).choices] == [one.text for one in whole.choices[:2]]
    chunks = list(complete(prompts, **options, stream=True, stream_options={"include_usage": True}))
    parts = [chunk.choices[0] for chunk in chunks[:-1]]
    for choice in whole.choices:
        mine = [part for part in parts if part.index == choice.index]
        assert "".join(part.text for part in mine) == choice.text
        assert [place for part in mine if part.logprobs for place in part.logprobs.text_offset] == choice.logprobs.text_offset
        assert [part.finish_reason for part in mine] == [None] * (len(mine) - 1) + [choice.finish_reason]
    assert (chunks[-1].choices, chunks[-1].usage.total_tokens) == ([], whole.usage.total_tokens)
    assert {chunk.id[:5] for chunk in chunks} == {"cmpl-"}


def test_text_is_no_special_token_and_token_ids_are_what_they_are(complete: Any, reference: tuple[Any, Any]) -> None:
    text = "x <|im_end|> y"
    ids = reference[1](text).input_ids
    as_text, as_ids = complete(text, max_tokens=1), complete([ids, ids[:1]], max_tokens=1, echo=True)
    assert as_text.usage.prompt_tokens > len(ids)
    assert as_ids.usage.prompt_tokens == len(ids) + 1
    assert as_ids.choices[0].text.startswith(text)
    assert complete("", max_tokens=1).usage.prompt_tokens == 1


def test_the_best_of_several_are_the_likeliest(complete: Any) -> None:
    options: Any = {"seed": 5, "temperature": 1, "max_tokens": 6, "logprobs": 0}
    every = complete("a red", n=6, **options).choices
    ranked = sorted(every, key=lambda choice: fmean(choice.logprobs.token_logprobs), reverse=True)
    best = complete("a red", n=2, best_of=6, **options)
    assert [choice.text for choice in best.choices] == [choice.text for choice in ranked[:2]]
    assert best.usage.completion_tokens > sum(len(choice.logprobs.tokens) for choice in best.choices)


def test_a_logit_bias_forces_and_forbids_tokens(complete: Any, sdk: openai.OpenAI, reference: tuple[Any, Any]) -> None:
    [wanted] = reference[1]("c", add_special_tokens=False).input_ids
    options: Any = {"max_tokens": 5, "temperature": 0}
    assert complete("a", logit_bias={wanted: 100}, **options).choices[0].text == "ccccc"
    chat: Any = {"model": MODEL, "messages": ask("hello"), **options}
    assert sdk.chat.completions.create(**chat, logit_bias={wanted: 100}).choices[0].message.content == "ccccc"
    usual = reference[0](reference[1]("a", return_tensors="pt").input_ids).logits[0, -1]
    first, second = torch.topk(usual, 2).indices.tolist()
    told = [complete("a", logprobs=0, logit_bias=bias, **options).choices[0].logprobs.tokens[0] for bias in ({}, {first: -100})]
    assert told == [reference[1].decode([token]) for token in (first, second)]
    for ask_it in (sdk.completions.create, sdk.chat.completions.create):
        body = chat if ask_it == sdk.chat.completions.create else {"model": MODEL, "prompt": "a"}
        with pytest.raises(openai.BadRequestError, match="There is no token 99999") as refused:
            ask_it(**body, logit_bias={99999: 1})  # type: ignore[call-overload]
        assert (refused.value.param, refused.value.code) == ("logit_bias", "unknown_token")


BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"prompt": []}, "prompt", "no prompt"),
    ({"prompt": ["a"] * 129}, "prompt", "128 is the limit"),
    ({"prompt": ["a", [1, "b"]]}, "prompt[1]", "list of token ids"),
    ({"prompt": [1, 99999]}, "prompt", "There is no token 99999"),
    ({"prompt": "a b c " * 600}, "prompt", "This model's maximum context length is"),
    ({"prompt": "a" * 400_001}, "prompt", "The prompt is too long"),
    ({"suffix": "b"}, "suffix", "fills a gap"),
    ({"logprobs": 6}, "logprobs", "5"),
    ({"logprobs": True}, "logprobs", "integer"),
    ({"best_of": 1, "n": 2}, "best_of", "at least n"),
    ({"best_of": 2, "stream": True}, "best_of", "streamed"),
    ({"stream_options": {"include_usage": True}}, "stream_options", "stream: true"),
    ({"logit_bias": {"x": 1}}, "logit_bias.x", "no token id"),
    ({"logit_bias": {"5": 100.5}}, "logit_bias[5]", "-100 to 100"),
    ({"logit_bias": {"5": True}}, "logit_bias[5]", "-100 to 100"),
    ({"messages": ask("hello")}, "messages", "Unknown field"),
    ({"min_tokens": 3}, "min_tokens", "can't be used here"),
]


def test_what_is_wrong_is_named(server: LiveServer) -> None:
    def check(body: dict[str, Any], param: str, said: str) -> None:
        reply = server.client.post("/v1/completions", json={"model": MODEL, "prompt": "a", **body})
        error = reply.json()["error"]
        assert (reply.status_code, error["param"]) == (400, param)
        assert said in error["message"]
        assert (error["code"] == "context_length_exceeded") == ("context length" in error["message"])

    check_each(BAD, check)


def test_what_asks_for_nothing_is_taken(server: LiveServer) -> None:
    neutral = {
        "suffix": "", "logit_bias": {}, "best_of": 1, "echo": False, "stop": None, "user": "al", "top_k": 0, "min_p": 0, "tools": [],
        "repetition_penalty": 1.0, "add_special_tokens": True, "use_beam_search": False, "stream_options": None, "messages": None,
    }  # fmt: skip
    body = {"model": MODEL, "prompt": "a", "seed": 1, "temperature": 1}
    plain, full = (server.client.post("/v1/completions", json={**body, **more}).json() for more in ({}, neutral))
    assert full["choices"] == plain["choices"]
    assert (plain["usage"]["completion_tokens"] <= 16, plain["choices"][0]["logprobs"]) == (True, None)
