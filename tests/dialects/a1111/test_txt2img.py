"""POST /sdapi/v1/txt2img."""

from typing import Any

import pytest

from tests.dialects.a1111.conftest import ask, info, job_of, pictures
from tests.live import LiveServer

pytestmark = [pytest.mark.models]
ASKED: dict[str, Any] = {"prompt": "a red circle", "steps": 2, "width": 64, "height": 64}


def test_a_prompt_becomes_a_picture_an_echo_and_an_info(server: LiveServer) -> None:
    reply = ask(server, "txt2img", **ASKED, seed=42, negative_prompt="blurry", cfg_scale=6.5, sampler_name="Euler a")
    [picture] = pictures(reply)
    told = info(reply)
    assert picture.size == (64, 64)
    assert picture.text["parameters"] == told["infotexts"][0]  # type: ignore[attr-defined]
    assert {"seed": 42, "all_seeds": [42], "steps": 2, "cfg_scale": 6.5, "sampler_name": "Euler a"}.items() <= told.items()
    assert {"seed": 42, "cfg_scale": 6.5, "negative_prompt": "blurry", "n_iter": 1}.items() <= reply.json()[
        "parameters"
    ].items()
    assert job_of(server, reply)["source"] == "a1111"
