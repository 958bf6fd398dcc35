"""Requests with a name: made, changed, shared, and what a request that begins with one comes to."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from api.access.services import create_key
from api.images.models import Preset
from api.jobs.lifecycle import retry_job
from api.jobs.models import Job
from tests.api.bodies import ASYNC, png, text

pytestmark = pytest.mark.django_db(transaction=True)
Ask = Callable[..., Any]
SHOT = {"prompt": "a photograph of {prompt}, soft light", "steps": 7, "guidance_scale": 4, "negative_prompt": "blurry"}


@pytest.fixture(autouse=True)
def _media(settings: Any, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path / "media"


@pytest.fixture
def ask(client: Client) -> Ask:
    """As this machine itself, or with a key's token."""

    def send(method: str, path: str, body: dict[str, Any] | None = None, token: str = "", **headers: str) -> Any:
        key = {"Authorization": f"Bearer {token}"} if token else {}
        more = {} if method == "get" else {"data": body or {}, "content_type": "application/json"}
        return getattr(client, method)(path, headers={**ASYNC, **key, **headers}, **more)

    return send


@pytest.fixture
def make(ask: Ask) -> Callable[..., dict[str, Any]]:
    def post(name: str = "shot", request: dict[str, Any] = SHOT, token: str = "", **fields: Any) -> dict[str, Any]:
        reply = ask("post", "/api/presets/", {"name": name, "request": request, **fields}, token)
        assert reply.status_code == 201, reply.content
        return reply.json()  # type: ignore[no-any-return]

    return post


@pytest.fixture
def submit(ask: Ask) -> Callable[..., dict[str, Any]]:
    def post(path: str = "/api/txt2img/", token: str = "", **body: Any) -> dict[str, Any]:
        reply = ask("post", path, body, token)
        assert reply.status_code == 202, reply.content
        return reply.json()["params"]  # type: ignore[no-any-return]

    return post


def errors(reply: Any, status: int = 400) -> dict[str, str]:
    assert reply.status_code == status, reply.content
    return {error["field"]: error["detail"] for error in reply.json()["errors"]}


def chosen(params: dict[str, Any], *names: str) -> list[Any]:
    return [params[name] for name in names]


# -- Made and shown -------------------------------------------------------------------------------------------------------------


def test_a_preset_is_made_listed_and_shown(ask: Ask, make: Any) -> None:
    made = make(parameters=["steps"], description="Our products")
    assert (made["name"], made["version"], made["own"], made["shared"], made["request"], made["parameters"]) == (
        "shot", 1, True, False, SHOT, ["steps"],
    )  # fmt: skip
    [listed] = ask("get", "/api/presets/").json()["results"]
    assert ask("get", "/api/presets/shot/").json() == made
    assert {**listed, "versions": made["versions"]} == made


def test_each_change_is_a_version_and_an_older_one_stays(ask: Ask, make: Any, submit: Any) -> None:
    make()
    changed = ask("put", "/api/presets/shot/", {"request": {**SHOT, "steps": 9}}).json()
    assert (changed["version"], [one["version"] for one in changed["versions"]]) == (2, [2, 1])
    same = ask("put", "/api/presets/shot/", {"request": {**SHOT, "steps": 9}, "description": "now with words"}).json()
    assert (same["version"], same["description"]) == (2, "now with words")
    assert ask("get", "/api/presets/shot@1/").json()["request"] == SHOT
    assert [submit(prompt="a cup", preset=name)["steps"] for name in ("shot", "shot@1", "shot@2")] == [9, 7, 9]


def test_a_request_for_a_preset_that_is_sent_again_finds_it(ask: Ask, make: Any) -> None:
    made = make()
    again = ask("post", "/api/presets/", {"name": "shot", "request": SHOT})
    assert (again.status_code, again.json()) == (200, made)
    other = ask("post", "/api/presets/", {"name": "shot", "request": {"steps": 3}})
    assert "There is a preset with this name" in errors(other)["name"]


@pytest.mark.parametrize(
    ("body", "field", "said"),
    [
        ({"request": {"stepps": 3}}, "request.stepps", "Did you mean 'steps'?"),
        ({"request": {"steps": 500}}, "request.steps", "less than or equal to 150"),
        ({"request": {"model_id": "nothing-here"}}, "request.model_id", "There is no model"),
        ({"request": {"loras": [{"id": "nothing-here"}]}}, "request.loras.0.id", "nothing-here"),
        ({"request": {"image": "x"}}, "request.image", "A preset holds no pictures"),
        ({"request": {"mask": None}}, "request.mask", "A preset holds no pictures"),
        ({"request": {"preset": "shot"}}, "request.preset", "by each request alone"),
        ({"request": {"variation": {"seed": 1, "strength": 1}}}, "request.variation", "by each request alone"),
        ({"request": {"scheduler": "lcm", "steps": 100}}, "request.steps", "at most"),
        ({"request": {"prompt": "x" * 2001}}, "request.prompt", "no more than 2000"),
        ({"request": {}}, "request", "one field at least"),
        ({"request": []}, "request", "dictionary"),
        ({"request": {"steps": 3}, "parameters": ["step"]}, "parameters", "Did you mean 'steps'?"),
        ({"request": {"steps": 3}, "name": "with spaces"}, "name", "slug"),
        ({"request": {"steps": 3}, "name": "a@2"}, "name", "slug"),
    ],
)
def test_bad_input_names_its_field(ask: Ask, body: dict[str, Any], field: str, said: str) -> None:
    found = errors(ask("post", "/api/presets/", {"name": "shot", **body}))
    assert list(found) == [field]
    assert said in found[field]


def test_a_preset_may_set_what_only_img2img_has(make: Any, ask: Ask, submit: Any) -> None:
    make("wider", {"outpaint": {"right": 8}, "mask_blur": 2})
    params = submit("/api/img2img/", preset="wider", prompt="a", image=text(png()))
    assert chosen(params, "outpaint", "mask_blur") == [{"left": 0, "right": 8, "top": 0, "bottom": 0}, 2.0]
    refused = errors(ask("post", "/api/txt2img/", {"preset": "wider", "prompt": "a"}))
    assert refused == {"preset": "The preset 'wider@1' sets outpaint, mask_blur: send the request to /api/img2img/."}


# -- A request that begins with one ---------------------------------------------------------------------------------------------


def test_what_it_sets_stands_for_what_is_left_open_and_words_go_to_their_place(make: Any, submit: Any) -> None:
    make(request={**SHOT, "negative_prompt": "blurry, {negative_prompt}"})
    params = submit(preset="shot", prompt="a cup", negative_prompt="hands", seed=4)
    assert chosen(params, "prompt", "negative_prompt", "steps", "guidance_scale", "seed") == [
        "a photograph of a cup, soft light", "blurry, hands", 7, 4.0, 4,
    ]  # fmt: skip


def test_without_a_place_for_words_the_prompt_is_the_preset_s(make: Any, submit: Any, ask: Ask) -> None:
    make("lake", {"prompt": "a lake"})
    assert submit(preset="lake")["prompt"] == "a lake"
    assert (
        "fixes it. A request may change nothing"
        in errors(ask("post", "/api/txt2img/", {"preset": "lake", "prompt": "a sea"}))["prompt"]
    )


def test_a_place_for_words_wants_words(make: Any, ask: Ask) -> None:
    make()
    for body in ({"preset": "shot"}, {"preset": "shot", "prompt": None}):
        found = errors(ask("post", "/api/txt2img/", body))
        assert found == {"prompt": "The preset 'shot@1' has a place for your words: send them here."}


def test_a_prompt_of_null_is_the_preset_s(make: Any, submit: Any) -> None:
    make("lake", {"prompt": "a lake"})
    assert submit(preset="lake", prompt=None)["prompt"] == "a lake"


def test_what_it_sets_is_fixed_unless_it_is_a_parameter(make: Any, submit: Any, ask: Ask) -> None:
    make(parameters=["steps"])
    assert submit(preset="shot", prompt="a cup", steps=3, guidance_scale=4.0)["steps"] == 3
    refused = errors(ask("post", "/api/txt2img/", {"preset": "shot", "prompt": "a cup", "guidance_scale": 9}))
    assert refused == {"guidance_scale": "The preset 'shot@1' fixes it. A request may change: steps, prompt."}


@pytest.mark.parametrize(
    ("path", "name", "value", "written_out", "other"),
    [
        (
            "txt2img",
            "hires",
            {"scale": 1.5},
            {"scale": 1.5, "strength": 0.4, "upscaler": "lanczos", "steps": None},
            {"scale": 2},
        ),
        (
            "txt2img",
            "upscale",
            {"model_id": "lanczos"},
            {"model_id": "lanczos", "scale": 2},
            {"model_id": "lanczos", "scale": 3},
        ),
        (
            "txt2img",
            "loras",
            [{"id": "riso"}],
            [{"id": "riso", "weight": 1, "unet": 1, "text": 1.0}],
            [{"id": "riso", "unet": 0}],
        ),
        ("txt2img", "hires", {"scale": 1.5}, {"scale": 1.5, "steps": 20}, {"scale": 1.5, "steps": 19}),
        ("txt2img", "hires", {"scale": 1.5, "steps": 20}, {"scale": 1.5}, {"scale": 1.5, "steps": 19}),
        ("img2img", "outpaint", {"left": 8}, {"left": 8, "right": 0, "top": 0, "bottom": 0}, {"left": 8, "top": 8}),
        ("txt2img", "model_id", "starter", " starter ", "sdxl-base-1.0"),
        ("txt2img", "steps", 7, "7", "8"),
        ("txt2img", "guidance_scale", 4, "4.00", "4.5"),
        ("txt2img", "deterministic", True, "on", False),
        ("txt2img", "tags", ["a"], [" a"], ["b"]),
        ("txt2img", "steps", 7, 7, "many"),
        ("txt2img", "loras", [{"id": "riso"}], [{"id": "riso"}], [{"id": "nothing-here"}]),
    ],
)
def test_what_means_the_same_is_not_refused(
    make: Any, ask: Ask, path: str, name: str, value: object, written_out: object, other: object
) -> None:
    """Defaults written out, and texts of a form; another value, or none that the field takes, is refused."""
    make("x", {name: value})
    body = {"preset": "x", "prompt": "a", **({"image": text(png())} if path == "img2img" else {})}
    same = ask("post", f"/api/{path}/", {**body, name: written_out})
    assert same.status_code == 202, same.content
    assert "The preset 'x@1' fixes it" in errors(ask("post", f"/api/{path}/", {**body, name: other}))[name]


@pytest.mark.parametrize(
    ("preset", "sent", "steps"),
    [({}, {"steps": 9}, 9), ({"steps": 8}, {}, 8), ({}, {"model_id": "sd-turbo"}, 2), ({}, {}, 20)],
)
def test_steps_of_a_second_pass_are_those_of_the_first_written_out(
    make: Any, ask: Ask, preset: dict[str, Any], sent: dict[str, Any], steps: int
) -> None:
    """By the client, the preset, or the model."""
    make("x", {**preset, "hires": {"scale": 1.5, "strength": 1}})
    body = {"preset": "x", "prompt": "a", **sent}
    same = ask("post", "/api/txt2img/", {**body, "hires": {"scale": 1.5, "strength": 1, "steps": steps}})
    assert same.status_code == 202, same.content
    other = ask("post", "/api/txt2img/", {**body, "hires": {"scale": 1.5, "strength": 1, "steps": steps + 1}})
    assert "The preset 'x@1' fixes it" in errors(other)["hires"]


def test_null_is_not_given(make: Any, submit: Any) -> None:
    make()
    assert submit(preset="shot", prompt="a cup", steps=None, guidance_scale=None)["steps"] == 7
    assert submit(preset=None, prompt="a cup", steps=3)["prompt"] == "a cup"


def test_a_form_names_a_preset_too(make: Any, client: Client) -> None:
    make()
    reply = client.post("/api/txt2img/", {"preset": "shot", "prompt": "a cup", "guidance_scale": "4"}, headers=ASYNC)
    assert reply.status_code == 202, reply.content
    assert reply.json()["params"]["steps"] == 7


def test_the_job_s_params_stand_alone_and_its_row_says_which_version_it_was(make: Any, submit: Any, ask: Ask) -> None:
    make()
    params = submit(preset="shot", prompt="a cup", seed=1)
    assert "preset" not in params
    ask("delete", "/api/presets/shot/")
    assert submit(**params) == params
    job = Job.objects.order_by("pk").first()
    assert job is not None
    assert job.params["preset"] == "shot@1"
    Job.objects.filter(pk=job.pk).update(status="failed")
    assert retry_job(job=job).params == job.params


def test_the_same_idempotency_key_finds_its_job_whatever_the_preset_says_meanwhile(make: Any, ask: Ask) -> None:
    make()
    body = {"preset": "shot", "prompt": "a cup"}
    first = ask("post", "/api/txt2img/", body, **{"Idempotency-Key": "one"}).json()
    ask("put", "/api/presets/shot/", {"request": {**SHOT, "steps": 9}})
    assert ask("post", "/api/txt2img/", body, **{"Idempotency-Key": "one"}).json()["id"] == first["id"]
    other = ask("post", "/api/txt2img/", {**body, "prompt": "a jug"}, **{"Idempotency-Key": "one"})
    assert other.status_code == 422


def test_it_varies_a_picture_within_what_it_sets(make: Any, submit: Any) -> None:
    from tests.rows import make_picture

    image = make_picture(seed=42, parameters={"prompt": "a lake", "steps": 30, "width": 64})
    make("quick", {"steps": 5})
    params = submit(preset="quick", variation={"image": str(image.pk), "strength": 0.5})
    assert chosen(params, "prompt", "steps", "width") == ["a lake", 5, 64]


# -- What has gone --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (5, "There is no preset '5'. Known: shot."),
        ("shoot", "There is no preset 'shoot'. Did you mean 'shot'?"),
        ("shot@2", "The preset 'shot' has the versions 1 to 1."),
        ("shot@0", "'shot@0' is no preset's name; write name, or name@version."),
        ("a b", "'a b' is no preset's name; write name, or name@version."),
    ],
)
def test_a_preset_that_is_not_there_is_an_error_of_the_field(make: Any, ask: Ask, name: object, said: str) -> None:
    make()
    assert errors(ask("post", "/api/txt2img/", {"preset": name, "prompt": "a"})) == {"preset": said}


def test_a_deleted_preset_is_not_found(make: Any, ask: Ask) -> None:
    make()
    assert ask("delete", "/api/presets/shot/").status_code == 204
    assert ask("get", "/api/presets/shot/").status_code == ask("delete", "/api/presets/shot/").status_code == 404
    assert "There is no preset 'shot'." in errors(ask("post", "/api/txt2img/", {"preset": "shot", "prompt": "a"}))["preset"]


def test_what_is_wrong_with_a_preset_s_own_field_names_the_preset(make: Any, ask: Ask) -> None:
    make()
    version = Preset.objects.get().versions.get()
    version.request = {**SHOT, "model_id": "gone", "loras": [{"id": "gone-too"}]}
    version.save()
    found = errors(ask("post", "/api/txt2img/", {"preset": "shot", "prompt": "a"}))
    assert found["model_id"].startswith("There is no model 'gone'")
    assert found["model_id"].endswith("(Set by the preset 'shot@1'.)")


# -- Whose --------------------------------------------------------------------------------------------------------------------


def test_a_preset_is_its_owner_s_unless_it_is_shared(ask: Ask, make: Any, submit: Any) -> None:
    scopes = {"a": ["read", "submit"], "b": ["read", "submit"], "boss": ["staff"]}
    tokens = {name: create_key(name=name, scopes=allowed)[1] for name, allowed in scopes.items()}
    make("mine", {"steps": 3}, token=tokens["a"])
    assert ask("get", "/api/presets/mine/", token=tokens["b"]).status_code == 404
    assert "preset" in errors(ask("post", "/api/txt2img/", {"preset": "mine", "prompt": "a"}, tokens["b"]))
    refused = ask("post", "/api/presets/", {"name": "ours", "request": {"steps": 4}, "shared": True}, tokens["a"])
    assert "scope 'staff'" in errors(refused)["shared"]
    make("ours", {"steps": 4}, token=tokens["boss"], shared=True)
    assert submit(token=tokens["b"], preset="ours", prompt="a")["steps"] == 4
    assert ask("get", "/api/presets/ours/", token=tokens["b"]).json()["own"] is False
    for method in ("put", "delete"):
        assert ask(method, "/api/presets/ours/", {"request": {"steps": 5}}, tokens["b"]).status_code == 403
    assert [one["name"] for one in ask("get", "/api/presets/?shared=true", token=tokens["a"]).json()["results"]] == ["ours"]
    make("ours", {"steps": 6}, token=tokens["b"])
    assert submit(token=tokens["b"], preset="ours", prompt="a")["steps"] == 6
    taken = ask(
        "post",
        "/api/presets/",
        {"name": "ours", "request": {"steps": 1}, "shared": True},
        create_key(name="c", scopes=["staff"])[1],
    )
    assert "name" in errors(taken)
