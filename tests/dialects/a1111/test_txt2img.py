"""POST /sdapi/v1/txt2img: with the starter's weights; the bodies of A1111's own tests are in test_a1111s_own.py."""

from typing import Any

import numpy as np
import pytest

from tests.dialects.a1111.conftest import ask, decoded, info, job_of, pictures
from tests.live import LiveServer

pytestmark = [pytest.mark.models]
ASKED: dict[str, Any] = {"prompt": "a red circle", "steps": 2, "width": 64, "height": 64}
OF_THE_INFO = (
    "prompt", "all_prompts", "negative_prompt", "all_negative_prompts", "seed", "all_seeds", "subseed", "all_subseeds",
    "subseed_strength", "width", "height", "sampler_name", "cfg_scale", "steps", "batch_size", "restore_faces",
    "face_restoration_model", "sd_model_name", "sd_model_hash", "sd_vae_name", "sd_vae_hash", "seed_resize_from_w",
    "seed_resize_from_h", "denoising_strength", "extra_generation_params", "index_of_first_image", "infotexts", "styles",
    "job_timestamp", "clip_skip", "is_using_inpainting_conditioning", "version",
)  # fmt: skip


def test_a_prompt_becomes_a_picture_an_echo_and_an_info(server: LiveServer) -> None:
    reply = ask(server, "txt2img", **ASKED, seed=42, negative_prompt="blurry", cfg_scale=6.5, sampler_name="Euler a")
    [picture] = pictures(reply)
    told = info(reply)
    assert picture.size == (64, 64)
    assert picture.text["parameters"] == told["infotexts"][0]  # type: ignore[attr-defined]
    assert told["infotexts"][0].startswith(
        "a red circle\nNegative prompt: blurry\nSteps: 2, Sampler: Euler a, CFG scale: 6.5, Seed: 42, Size: 64x64, Model: starter"
    )
    assert {"seed": 42, "all_seeds": [42], "steps": 2, "cfg_scale": 6.5, "sampler_name": "Euler a"}.items() <= told.items()
    assert {"seed": 42, "cfg_scale": 6.5, "negative_prompt": "blurry", "n_iter": 1}.items() <= reply.json()[
        "parameters"
    ].items()
    assert reply.json().keys() == {"images", "parameters", "info"}
    assert [name for name in OF_THE_INFO if name not in told] == []
    job = job_of(server, reply)
    assert (job["source"], job["id"], job["warnings"]) == ("a1111", told["job"], told["warnings"])


def test_pictures_of_a_batch_have_seeds_in_a_row(server: LiveServer) -> None:
    reply = ask(server, "txt2img", **ASKED, seed=7, batch_size=2, n_iter=2)
    told = info(reply)
    assert len(pictures(reply)) == 4
    assert (told["all_seeds"], told["batch_size"], len(told["infotexts"])) == ([7, 8, 9, 10], 2, 4)
    [alone] = pictures(ask(server, "txt2img", **ASKED, seed=9))
    third = pictures(reply)[2]
    assert np.abs(np.asarray(alone, np.int16) - np.asarray(third, np.int16)).max() <= 2


def test_a_second_pass_makes_the_picture_larger(server: LiveServer) -> None:
    hires = {"enable_hr": True, "hr_scale": 1.5, "hr_upscaler": "Latent", "hr_second_pass_steps": 3, "denoising_strength": 0.6}
    reply = ask(server, "txt2img", **ASKED, **hires)
    told = info(reply)
    assert pictures(reply)[0].size == (96, 96)
    assert (told["width"], told["height"], told["denoising_strength"]) == (64, 64, 0.6)
    extra = told["extra_generation_params"]
    assert {"Hires upscale": "1.5", "Hires steps": "3", "Hires upscaler": "Latent"}.items() <= extra.items()
    job = job_of(server, reply)
    assert job["progress"]["steps"] == 2 + 3


def test_a_subseed_is_mixed_in_as_there(server: LiveServer) -> None:
    """Each picture begins with the noise of the seed, and has a subseed of its own."""
    told = info(ask(server, "txt2img", **ASKED, seed=7, subseed=100, subseed_strength=0.25, batch_size=2))
    assert {"all_seeds": [7, 7], "all_subseeds": [100, 101], "subseed_strength": 0.25}.items() <= told.items()
    assert "Seed: 7, Variation seed: 101, Variation seed strength: 0.25" in told["infotexts"][1]


def test_without_words_a_picture_is_made_too(server: LiveServer) -> None:
    reply = ask(server, "txt2img", prompt="", steps=1, width=64, height=64)
    assert len(pictures(reply)) == 1
    assert job_of(server, reply)["params"]["prompt"] == ""


def test_a_picture_in_another_format(server: LiveServer) -> None:
    [picture] = pictures(ask(server, "txt2img", **ASKED, override_settings={"samples_format": "webp"}))
    assert picture.format == "WEBP"


def test_who_wants_no_pictures_gets_none(server: LiveServer) -> None:
    reply = ask(server, "txt2img", **ASKED, send_images=False)
    assert (reply.status_code, reply.json()["images"]) == (200, [])
    assert info(reply)["all_seeds"]


def test_a_client_that_leaves_cancels_nothing(server: LiveServer) -> None:
    with pytest.raises(Exception, match="timed out"):
        server.client.post("/sdapi/v1/txt2img", json={**ASKED, "prompt": "left alone", "steps": 60}, timeout=0.4)
    [job] = server.client.get("/api/jobs/", params={"q": "left alone"}).json()["results"]
    server.wait_until(lambda: server.client.get(job["links"]["self"]).json()["finished_at"], "it has ended")
    assert server.client.get(job["links"]["self"]).json()["status"] == "succeeded"


def test_what_is_not_done_is_said_in_the_info(server: LiveServer) -> None:
    told = info(
        ask(server, "txt2img", **ASKED, tiling=True, styles=["none such"], override_settings={"eta_noise_seed_delta": 31337})
    )
    said = " ".join(told["warnings"])
    assert all(name in said for name in ("tiling", "none such", "override_settings.eta_noise_seed_delta"))


def test_the_same_seed_of_the_other_api_is_the_same_picture(server: LiveServer) -> None:
    theirs = ask(server, "txt2img", **ASKED, seed=5, cfg_scale=4, sampler_name="Euler").json()["images"][0]
    body = {**ASKED, "seed": 5, "guidance_scale": 4, "scheduler": "euler", "prompt_syntax": "a1111"}
    ours = server.client.post("/api/txt2img/?include=base64", json=body, headers={"Prefer": "wait=60"}).json()
    pixels = [decoded(one).tobytes() for one in (theirs, ours["result"]["images"][0]["image_base64"])]
    assert pixels[0] == pixels[1]
