"""All that a model is given is read, as the model is given it."""

from typing import Any

import pytest
from django.test import Client
from tokenizers import Tokenizer

from api.safety.models import PromptMatch
from api.starter.architecture import WEIGHTS
from tests.safety.prompts import ASYNC, DATABASE, PARTS, PATHS, make_rule


@DATABASE
def test_the_cells_of_a_grid_are_read(client: Client) -> None:
    make_rule()
    body = {"request": {"prompt": "a fork"}, "axes": [{"field": "prompt", "part": "fork", "values": ["spoon", "knife"]}]}
    reply = client.post("/api/grids/", body, content_type="application/json", headers=ASYNC)
    assert (reply.status_code, reply.json()["code"]) == (400, "prompt_refused")
    assert PromptMatch.objects.get().prompt == "a knife"


@DATABASE
@pytest.mark.parametrize(
    ("syntax", "prompt"),
    [
        ("a1111", "a kn(i:1.0)fe"),
        ("a1111", "a kn(if:1.2)e, a (table:1.1)"),
        ("a1111", "a kn[i|i]fe"),
        ("a1111", "a kn[i:i:0.5]fe"),
        ("a1111", "a kn[:ife:0.5]"),
        ("a1111", "a [spoon|kn[ife::9]] (shining:1.2)"),
        ("a1111", "a fork AND a kn[i|o]fe"),
        ("a1111", "a kni<hypernet:x:0>fe"),
        ("auto", "a kn(i:1.0)fe"),
        ("compel", "a (kn)1.0ife"),
        ("compel", "a (kn)1.3ife"),
    ],
)
def test_a_word_in_pieces_is_read_as_the_model_is_given_it(client: Client, syntax: str, prompt: str) -> None:
    make_rule()
    body = {"prompt": prompt, "prompt_syntax": syntax, "steps": 10}
    reply = client.post("/api/txt2img/", body, content_type="application/json", headers=ASYNC)
    assert (reply.status_code, reply.json()["code"]) == (400, "prompt_refused")
    match = PromptMatch.objects.get()
    assert (match.matched, match.prompt) == ("knife", prompt.replace("<hypernet:x:0>", ""))


@DATABASE
@pytest.mark.parametrize(
    "more",
    [
        {"messages": [PARTS]},
        {"messages": [PARTS, {"role": "user", "content": "a kni\nfe"}]},
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "a", "schema": {"type": "object", "properties": {"a": {"enum": ["a knife"]}}}},
            }
        },
    ],
    ids=["parts", "parts and the same in one", "schema"],
)
def test_a_chat_s_parts_are_read_together_and_the_form_of_its_answer_too(client: Client, more: dict[str, Any]) -> None:
    make_rule(requests="chats")
    body = {"model": "starter-vlm", "messages": [{"role": "user", "content": "Answer."}], **more}
    reply = client.post(PATHS[2], body, content_type="application/json", headers=ASYNC)
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "content_policy_violation")


@DATABASE
def test_raw_prompts_are_read_as_chats_are_token_ids_too(client: Client) -> None:
    make_rule(requests="chats")
    tokenizer = Tokenizer.from_file(str(WEIGHTS / "starter-vlm" / "tokenizer.json"))
    prompts: list[Any] = ["a knife", ["a table", tokenizer.encode("a knife", add_special_tokens=False).ids]]
    for prompt in prompts:
        body = {"prompt": prompt, "model": "starter-vlm"}
        reply = client.post("/v1/completions", body, content_type="application/json", headers=ASYNC)
        error = reply.json()["error"]
        assert (reply.status_code, error["code"], error["param"]) == (400, "content_policy_violation", "prompt")


@DATABASE
def test_what_is_left_out_of_a_picture_is_not_read(client: Client) -> None:
    make_rule()
    body = {"prompt": "a table", "negative_prompt": "knife"}
    assert client.post("/api/txt2img/", body, content_type="application/json", headers=ASYNC).status_code == 202
