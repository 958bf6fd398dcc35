"""`prompt_syntax` of a request, adapters and embeddings in a prompt, and POST /api/prompt/."""

import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import pytest
from django.test import Client, override_settings

from api.access.services import create_key
from api.catalog import EmbeddingEntry
from api.images import prompt_requests
from api.images.prompt_syntax.reading import AND_IS_NOT_DONE
from api.jobs.kinds import read_spec
from api.jobs.models import Job
from config.catalog import get_catalog

pytestmark = pytest.mark.django_db(transaction=True)


def post(client: Client, path: str, **body: Any) -> Any:
    return client.post(path, json.dumps(body), content_type="application/json", headers={"Prefer": "respond-async"})


def submit(client: Client, prompt: str, **fields: Any) -> dict[str, Any]:
    response = post(client, "/api/txt2img/", prompt=prompt, **fields)
    assert response.status_code == 202, response.content
    return response.json()  # type: ignore[no-any-return]


@pytest.fixture
def embeddings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two in the catalog, one for the starter's family and one for SDXL."""
    head = json.dumps({"emb_params": {"dtype": "F32", "shape": [3, 8], "data_offsets": [0, 96]}}).encode()
    file = tmp_path / "tok.safetensors"
    file.write_bytes(len(head).to_bytes(8, "little") + head + bytes(96))
    known = [
        EmbeddingEntry(id="bad-hands", name="Bad hands", path=file, family="sd1", aliases=("BadHands-v2",)),
        EmbeddingEntry(id="xl-style", name="XL style", path=file, family="sdxl", aliases=("XL_Style",)),
    ]
    catalog = dataclasses.replace(get_catalog(), embeddings={entry.id: entry for entry in known})
    monkeypatch.setattr(prompt_requests, "get_catalog", lambda: catalog)


def test_the_default_is_compels_and_another_by_the_setting(client: Client) -> None:
    assert submit(client, "a lake")["params"]["prompt_syntax"] == "compel"
    with override_settings(PROMPT_SYNTAX="a1111"):
        assert submit(client, "a lake")["params"]["prompt_syntax"] == "a1111"
        assert submit(client, "a lake", prompt_syntax="plain")["params"]["prompt_syntax"] == "plain"
        assert submit(client, "a lake", prompt_syntax=None)["params"]["prompt_syntax"] == "a1111"


def test_an_unknown_syntax_is_an_error_that_names_the_field(client: Client) -> None:
    response = post(client, "/api/txt2img/", prompt="a lake", prompt_syntax="comfy")

    assert response.status_code == 400
    assert [error["field"] for error in response.json()["errors"]] == ["prompt_syntax"]


def test_notation_has_a_warning_only_where_it_is_read_as_words(client: Client) -> None:
    warnings = {
        syntax: submit(client, "a (red:1.5) lake", prompt_syntax=syntax)["warnings"] for syntax in ("compel", "plain", "a1111")
    }

    assert warnings["a1111"] == []
    assert all("read as words" in warnings[syntax][0] for syntax in ("compel", "plain"))


def test_auto_says_what_it_took_the_prompt_for(client: Client) -> None:
    theirs, ours = (submit(client, prompt, prompt_syntax="auto") for prompt in ("a (red:1.5) lake", "a (red)++ lake"))

    assert (theirs["params"]["prompt_syntax"], ours["params"]["prompt_syntax"]) == ("a1111", "compel")
    assert "(red:1.5)" in theirs["warnings"][0]
    assert ours["warnings"] == []


def test_an_adapter_in_the_prompt_is_one_of_the_request(client: Client) -> None:
    job = submit(client, "a lake <lora:riso:0.5>, red", prompt_syntax="a1111")

    assert job["params"]["prompt"] == "a lake , red"
    assert job["params"]["loras"] == [{"id": "riso", "weight": 0.5}]
    named = submit(client, "a lake", loras=[{"id": "riso", "weight": 0.5}])
    tagged = submit(client, "a lake <lora:riso:0.5>", prompt_syntax="auto")
    assert tagged["params"]["prompt_syntax"] == "compel"
    assert "riso" in tagged["warnings"][0]
    assert len(set(Job.objects.filter(pk__in=[named["id"], tagged["id"]]).values_list("batch_key", flat=True))) == 1


def test_an_adapter_that_is_named_twice_acts_with_the_sum_or_is_refused_in_loras(client: Client) -> None:
    """In a prompt as in AUTOMATIC1111's program, with a warning; twice in `loras` is a mistake."""
    twice = submit(client, "a lake <lora:riso:0.5:0.25><lora:riso:0.3>", prompt_syntax="a1111")
    assert twice["params"]["loras"] == [{"id": "riso", "weight": 0.8, "unet": 0.55}]
    assert twice["warnings"] == [
        "loras: 'riso' is named 2 times; its weights were added up to 0.55 on the denoiser, 0.8 on the text."
    ]
    both = submit(client, "a lake <lora:riso:-0.5>", prompt_syntax="a1111", loras=[{"id": "riso", "weight": 0.1, "text": 1}])
    assert both["params"]["loras"] == [{"id": "riso", "weight": 0.5, "unet": -0.4}]
    assert len(both["warnings"]) == 1
    response = post(client, "/api/txt2img/", prompt="a lake", loras=[{"id": "riso"}, {"id": "riso", "weight": 0.2}])
    assert (response.status_code, response.json()["errors"]) == (
        400,
        [{"field": "loras.1.id", "detail": "'riso' is named twice; give it once, with one weight.", "code": "repeated_lora"}],
    )


def test_what_comes_out_goes_in_again(client: Client) -> None:
    job = submit(client, "a (red:1.2) lake <lora:riso:0.5:0.7:9>", prompt_syntax="a1111", negative_prompt="[x] <lora:riso:1>")
    again = submit(client, **job["params"])

    assert again["params"] == job["params"]
    assert job["params"]["loras"] == [{"id": "riso", "weight": 0.5, "unet": 0.7}]
    assert len(job["warnings"]) == 2
    assert again["warnings"] == []


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("a lake <lora:ris:1>", "Did you mean riso?"),
        ("a lake <lora:zzzz:1>", "For starter there are: riso."),
        ("a lake <lora:riso:3>", "from -2 to 2"),
        ("a lake <lora:riso:x>", "from -2 to 2"),
        ("a lake <lora:riso:1.5><lora:riso:1>", "add up to 2.5; they must stay from -2 to 2"),
        ("a lake <lora:riso:nan>", "from -2 to 2"),
        ("a lake <lora:lcm-lora-sdxl:1>", "made for SDXL"),
        ("<lora:riso:1>", "no words"),
        ("[a|b|c] [d|e|f|g] [h|i|j|k|l] [m|n|o|p|q|r|s]", "different texts"),
    ],
)
def test_what_a_prompt_may_not_have_is_an_error_that_names_it(client: Client, prompt: str, said: str) -> None:
    for path in ("/api/txt2img/", "/api/prompt/"):
        response = post(client, path, prompt=prompt, prompt_syntax="a1111")

        assert response.status_code == 400
        [error] = response.json()["errors"]
        assert error["field"] == "prompt"
        assert said in error["detail"]


def test_more_adapters_than_a_request_may_have(client: Client) -> None:
    response = post(client, "/api/txt2img/", prompt="a lake <lora:riso:1>", prompt_syntax="a1111", loras=[{"id": "riso"}] * 8)

    assert response.status_code == 400
    assert response.json()["errors"][0]["field"] == "loras"


@pytest.mark.parametrize(
    ("prompt", "said"),
    [("a cat <hypernet:x:1>", "hypernetworks"), ("a cat <lora:riso:1:0.5:dyn=3>", "dyn=3")],
)
def test_what_is_not_done_is_a_warning(client: Client, prompt: str, said: str) -> None:
    [warning] = submit(client, prompt, prompt_syntax="a1111")["warnings"]

    assert said in warning


@pytest.mark.parametrize(
    ("fields", "is_told"),
    [
        ({}, False),
        ({"guidance_scale": 1}, True),
        ({"model_id": "flux.1-schnell"}, True),
        ({"negative_prompt": "a AND b"}, True),
    ],
)
def test_where_and_composes_nothing_it_is_told(client: Client, fields: dict[str, Any], is_told: bool) -> None:
    told = submit(client, "a cat AND a dog :0.7", prompt_syntax="a1111", **fields)["warnings"]

    assert (AND_IS_NOT_DONE in told) == is_told


def test_there_is_a_bound_to_the_parts_of_a_composed_prompt(client: Client) -> None:
    assert submit(client, " AND ".join("abcdefgh"), prompt_syntax="a1111")["warnings"] == []

    response = post(client, "/api/txt2img/", prompt=" AND ".join("abcdefghi"), prompt_syntax="a1111")

    assert response.status_code == 400
    [error] = response.json()["errors"]
    assert (error["field"], error["code"]) == ("prompt", "prompt_parts")
    assert "9 prompts" in error["detail"]


def test_rows_of_earlier_versions_are_in_compels_syntax(client: Client) -> None:
    job = Job.objects.get(pk=submit(client, "a lake", prompt_syntax="a1111")["id"])
    del job.params["prompt_syntax"]

    assert read_spec(job).prompt_syntax == "compel"  # type: ignore[attr-defined]


def test_an_embedding_of_another_family_is_an_error_that_names_both(client: Client, embeddings: None) -> None:
    response = post(client, "/api/txt2img/", prompt="a lake, XL_Style")

    assert response.status_code == 400
    detail = response.json()["errors"][0]["detail"]
    assert all(word in detail for word in ("XL_Style", "SDXL", "SD 1.x"))
    assert submit(client, "a lake, badhands-v2")["warnings"] == []


def test_a_name_that_two_embeddings_have_is_an_error(client: Client, embeddings: None, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog = prompt_requests.get_catalog()
    twin = dataclasses.replace(catalog.embeddings["bad-hands"], id="bad-hands-2")
    monkeypatch.setattr(
        prompt_requests, "get_catalog", lambda: dataclasses.replace(catalog, embeddings={**catalog.embeddings, twin.id: twin})
    )
    response = post(client, "/api/txt2img/", prompt="a lake, BadHands-v2")

    assert response.status_code == 400
    assert "bad-hands, bad-hands-2" in response.json()["errors"][0]["detail"]
    assert submit(client, "a lake, bad-hands-2")["warnings"] == []


# ---------------------------------------------------------------- POST /api/prompt/


def read(client: Client, prompt: str, **fields: Any) -> dict[str, Any]:
    response = post(client, "/api/prompt/", prompt=prompt, **{"prompt_syntax": "a1111", **fields})
    assert response.status_code == 200, response.content
    return response.json()  # type: ignore[no-any-return]


def test_a_prompt_is_shown_in_pieces_with_its_tokens(client: Client, embeddings: None) -> None:
    told = read(client, "a (red:1.5) circle, badhands-v2 BREAK [blue] <lora:riso:0.7>", negative_prompt="green")

    [stretch] = told["prompt"]["stretches"]
    assert [(piece.get("text"), piece.get("weight")) for piece in stretch["pieces"]] == [
        ("a ", 1.0),
        ("red", 1.5),
        (" circle, BadHands-v2", 1.0),
        (None, None),
        ("blue", pytest.approx(1 / 1.1)),
    ]
    assert told["tokenizer"] == "model"
    assert told["window"] == 75
    assert len(stretch["chunks"]) == 2
    assert sum(stretch["chunks"]) == stretch["tokens"] == told["prompt"]["tokens"]
    assert told["loras"] == [{"id": "riso", "weight": 0.7}]
    assert told["embeddings"] == [{"name": "BadHands-v2", "id": "bad-hands", "vectors": 3}]
    assert told["negative_prompt"]["tokens"] >= 1
    assert not Job.objects.exists()


def test_a_prompt_that_changes_is_shown_for_each_stretch(client: Client) -> None:
    stretches = read(client, "a [red:blue:0.5] circle", steps=10)["prompt"]["stretches"]

    assert [(one["last_step"], one["pieces"][0]["text"]) for one in stretches] == [(5, "a red circle"), (10, "a blue circle")]


def test_a_composed_prompt_is_shown_part_by_part(client: Client) -> None:
    told = read(client, "a [red:blue:0.5] circle AND a lake :0.7", steps=10, negative_prompt="a AND b")

    assert [(one["part"], one["weight"], one["last_step"]) for one in told["prompt"]["stretches"]] == [
        (0, 1.0, 5), (0, 1.0, 10), (1, 0.7, 10)
    ]  # fmt: skip
    assert [one["pieces"][0]["text"] for one in told["prompt"]["stretches"]] == ["a red circle", "a blue circle", "a lake"]
    assert [one["part"] for one in told["negative_prompt"]["stretches"]] == [0]
    assert AND_IS_NOT_DONE in told["warnings"]


def test_other_syntaxes_are_shown_too(client: Client) -> None:
    pieces = {
        syntax: read(client, "a (red)++ (blue)0.5 circle", prompt_syntax=syntax)["prompt"]["stretches"][0]["pieces"]
        for syntax in ("compel", "plain")
    }

    assert [(piece["text"], piece["weight"]) for piece in pieces["compel"]] == [
        ("a ", 1.0), ("red", 1.21), (" ", 1.0), ("blue", 0.5), (" circle", 1.0)
    ]  # fmt: skip
    assert pieces["plain"] == [{"text": "a (red)++ (blue)0.5 circle", "weight": 1.0}]


def test_without_the_models_tokenizer_the_count_is_an_estimate_or_clips(client: Client) -> None:
    told = read(client, "a red circle", model_id="flux.1-schnell")
    assert told["tokenizer"] == "estimate"
    assert told["prompt"]["tokens"] == 3
    assert any("estimates" in warning for warning in told["warnings"])
    assert read(client, "a red circle", model_id="sdxl-base-1.0")["tokenizer"] == "clip"


def test_it_needs_the_scope_to_read(client: Client) -> None:
    _, secret = create_key(name="reader", scopes=["read"])
    headers = {"Authorization": f"Bearer {secret}"}

    assert client.post("/api/prompt/", {"prompt": "a"}, "application/json", headers=headers).status_code == 200
    _, other = create_key(name="other", scopes=["submit"])
    assert (
        client.post(
            "/api/prompt/", {"prompt": "a"}, "application/json", headers={"Authorization": f"Bearer {other}"}
        ).status_code
        == 403
    )


@pytest.mark.parametrize(
    "prompt",
    ["(" * 2000, "[a|" * 600, "(a:1.1" * 330, "<lora:" * 330, "\U00100000\U00100005 a", "a\\", "[a:b:1e999]", "AND " * 500],
)
def test_no_prompt_is_too_much(client: Client, prompt: str) -> None:
    started = time.process_time()

    for syntax in ("a1111", "compel", "plain", "auto"):
        assert post(client, "/api/prompt/", prompt=prompt, prompt_syntax=syntax).status_code in (200, 400)

    assert time.process_time() - started < 4
