"""Whatever is sent to A1111's addresses, the answer is JSON, in its form where it says no."""

import json
from typing import Any

import pytest
from django.test import Client
from django.urls import get_resolver
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api.addresses import addresses, json_endpoints
from tests.api.bodies import png, text
from tests.dialects.a1111.test_extras import SENT
from tests.walks import check_each

pytestmark = pytest.mark.django_db(transaction=True)
OURS = ("/sdapi/", "/internal/", "/controlnet/")
POSTS = [address for method, address in json_endpoints() if method == "post" and address.startswith(OURS)]
GETS = [address for address in addresses() if address.startswith(OURS) and address not in POSTS]
PICTURE = text(png())
NAMES = [*SENT, "image", "imageList", "model", "prompt", "negative_prompt", "init_images", "mask", "sampler_name", "scheduler", "seed",
         "subseed", "subseed_strength", "steps", "width", "height", "batch_size", "n_iter", "override_settings", "alwayson_scripts",
         "script_name", "styles", "enable_hr", "hr_scale", "hr_upscaler", "denoising_strength", "mask_blur", "inpainting_fill",
         "controlnet_module", "controlnet_input_images",
         "force_task_id", "id_task", "sd_model_checkpoint", "sd_vae", "CLIP_stop_at_last_layers", "samples_format"]  # fmt: skip
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(
        ["", "None", "Lanczos", "Euler a", "starter", "x" * 5000, PICTURE, f"data:image/png;base64,{PICTURE}", "\u2028é"]
    ),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from([*NAMES, "data", "name", "args"]), inner, max_size=3)
    ),
    max_leaves=6,
)
BODIES = st.one_of(st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=5), VALUES)
FIELDS = {"error", "detail", "body", "errors"}


def check(reply: Any, body: Any) -> None:
    told = json.loads(reply.content)
    assert reply["Content-Type"] == "application/json", body
    if reply.status_code >= 400:
        assert told.keys() == FIELDS, (body, told)
        assert reply.status_code < 500 or told["detail"] == "Invalid encoded image", (body, told)


def test_these_are_all() -> None:
    assert len(POSTS) + len(GETS) >= 35
    assert get_resolver().resolve("/sdapi/v1/options").url_name == "a1111-options"


@pytest.mark.parametrize("address", POSTS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=BODIES)
def test_a_body_is_taken_or_refused(client: Client, address: str, body: Any) -> None:
    client.raise_request_exception = False
    sent = json.dumps(body)
    check(client.post(address, sent, content_type="application/json", headers={"Prefer": "respond-async"}), body)


@pytest.mark.parametrize(
    "content_type", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
)
def test_another_content_type_is_answered_too(client: Client, content_type: str) -> None:
    client.raise_request_exception = False
    sent = {"content_type": content_type, "headers": {"Prefer": "respond-async"}}
    check_each(POSTS, lambda address: check(client.generic("POST", address, b'{"prompt": 1}', **sent), content_type))


@pytest.mark.parametrize("query", ["", "?skip_current_image=true", "?skip_current_image=maybe", "?x=%00&y=%ff"])
def test_a_list_is_given_whatever_the_query(client: Client, query: str) -> None:
    client.raise_request_exception = False

    def check_list(address: str) -> None:
        reply = client.get(f"{address}{query}")
        check(reply, query)
        assert reply.status_code == 200 or "maybe" in query

    check_each(GETS, check_list)


@pytest.mark.parametrize("method", ["put", "patch", "delete"])
@pytest.mark.parametrize("address", ["/sdapi/v1/options", "/sdapi/v1/samplers", "/sdapi/v1/nothing", "/internal/nothing"])
def test_what_is_not_there_is_said_in_its_form(client: Client, method: str, address: str) -> None:
    reply = getattr(client, method)(address)
    check(reply, address)
    assert reply.status_code in (404, 405)
