"""What of a body of A1111's becomes which request here, and which sentence."""

from typing import Any

import pytest
from django.test import Client
from PIL import Image

from api.access.services import create_key
from api.images.presets.services import create_preset
from api.jobs.models import Job
from tests.dialects.a1111.conftest import encoded

pytestmark = pytest.mark.django_db(transaction=True)
SQUARE = encoded(Image.new("RGB", (64, 64), "blue"))
WIDE = encoded(Image.new("RGB", (128, 64), "blue"))


def job_for(client: Client, path: str = "txt2img", **body: Any) -> Job:
    reply = client.post(
        f"/sdapi/v1/{path}",
        {"prompt": "a lake", **body},
        content_type="application/json",
        headers={"Prefer": "respond-async"},
    )
    assert reply.status_code == 202, reply.content
    return Job.objects.get(pk=reply.json()["job"])


def refused(client: Client, path: str = "txt2img", **body: Any) -> tuple[int, Any]:
    reply = client.post(f"/sdapi/v1/{path}", {"prompt": "a lake", **body}, content_type="application/json")
    assert reply.headers["Content-Type"] == "application/json"
    assert reply.json().keys() == {"error", "detail", "body", "errors"}
    return reply.status_code, reply.json()


def test_what_nobody_said_is_the_model_s(client: Client) -> None:
    params = job_for(client).params
    assert (params["width"], params["steps"], params["prompt_syntax"]) == (128, 20, "a1111") or params["model_id"] == "starter"


@pytest.mark.parametrize(
    ("fields", "scheduler"),
    [
        ({"sampler_name": "Euler a"}, "euler_a"),
        ({"sampler_index": "Euler a", "scheduler": "automatic"}, "euler_a"),
        ({"sampler_name": "DPM++ 2M", "scheduler": "Karras"}, "dpmpp_2m_karras"),
        ({"sampler_name": "DPM++ 2M", "scheduler": "karras"}, "dpmpp_2m_karras"),
        ({"sampler_name": "DPM++ 2M Karras"}, "dpmpp_2m_karras"),
        ({"sampler_name": "DPM++ 2M"}, "dpmpp_2m_karras"),
        ({"sampler_name": "DPM++ 2M", "scheduler": "Uniform"}, "dpmpp_2m"),
        ({"sampler_name": "Euler", "scheduler": "Automatic"}, "euler"),
        ({"sampler_name": "k_euler_a"}, "euler_a"),
        ({"sampler_name": "dpmpp_2m_karras"}, "dpmpp_2m_karras"),
        ({"sampler_name": "Euler", "sampler_index": "DDIM"}, "euler"),
        ({"sampler_name": None, "sampler_index": "PLMS"}, "pndm"),
    ],
    ids=str,
)
def test_samplers_by_their_labels(client: Client, fields: dict[str, Any], scheduler: str) -> None:
    job = job_for(client, **fields)
    assert (job.params["scheduler"], job.warnings) == (scheduler, [])


def test_a_noise_schedule_that_is_not_here_is_said(client: Client) -> None:
    [warning] = job_for(client, sampler_name="Euler", scheduler="Exponential").warnings
    assert "Exponential" in warning


def test_sizes_are_rounded_down_as_there(client: Client) -> None:
    job = job_for(client, width=100, height=71)
    assert (job.params["width"], job.params["height"]) == (96, 64)
    assert job.warnings == ["width: 100 became 96, a multiple of 8.", "height: 71 became 64, a multiple of 8."]


def test_a_seed_of_minus_one_is_drawn(client: Client) -> None:
    assert job_for(client, seed=-1).params["seed"] != job_for(client, seed=-1).params["seed"]


def test_a_subseed_makes_a_variation(client: Client) -> None:
    params = job_for(client, seed=4, subseed=9, subseed_strength=0.3).params
    assert params["seed"] == 9
    assert {"seed": 4, "strength": 0.3}.items() <= params["variation"].items()
    assert "variation" not in job_for(client, seed=4, subseed=9).params


def test_a_request_that_is_sent_again_is_the_same_whatever_was_drawn(client: Client) -> None:
    body = {"prompt": "a lake", "seed": -1, "subseed_strength": 0.3}
    headers = {"Prefer": "respond-async", "Idempotency-Key": "once"}
    jobs = {
        client.post("/sdapi/v1/txt2img", body, content_type="application/json", headers=headers).json()["job"] for _ in range(2)
    }
    assert len(jobs) == 1


def test_networks_in_the_prompt_are_read_and_what_isn_t_done_is_said(client: Client) -> None:
    job = job_for(client, prompt="((a lake)) <lora:riso:0.5> BREAK [a|b] <lora:none such:1> <lora:riso:99> <hypernet:x:1>")
    assert job.params["loras"] == [{"id": "riso", "weight": 0.5}]
    said = " ".join(job.warnings)
    assert all(tag in said for tag in ("<lora:none such:1>", "<lora:riso:99>", "<hypernet:x:1>"))
    assert len(job.warnings) == 3


def test_a_style_may_name_networks(client: Client) -> None:
    create_preset(name="riso", owner_key="local", request={"prompt": "{prompt} <lora:riso:0.7>", "prompt_syntax": "a1111"})
    job = job_for(client, styles=["riso"])
    assert (job.params["prompt"], job.params["loras"]) == ("a lake", [{"id": "riso", "weight": 0.7}])


@pytest.mark.parametrize(
    "fields",
    [
        {"tiling": True}, {"restore_faces": True}, {"refiner_checkpoint": "x"}, {"s_churn": 0.5}, {"s_noise": 1.1},
        {"seed_resize_from_w": 64}, {"eta": 0.5, "sampler_name": "Euler a"}, {"disable_extra_networks": True},
        {"override_settings": {"sd_vae": "x.pt"}}, {"override_settings": {"no_such": 1}}, {"styles": ["none such"]},
        {"alwayson_scripts": {"ADetailer": {"args": [True, {"ad_model": "face"}]}}},
        {"override_settings": {"samples_format": "png"}, "override_settings_restore_afterwards": False},
    ],
    ids=str,
)  # fmt: skip
def test_what_has_no_effect_is_said(client: Client, fields: dict[str, Any]) -> None:
    [warning] = job_for(client, **fields).warnings
    assert next(iter(fields)) in warning


@pytest.mark.parametrize(
    "fields",
    [
        {"tiling": False, "eta": 1.0, "sampler_name": "Euler a", "s_noise": 1, "s_tmax": 0},
        {"alwayson_scripts": {"ADetailer": {"args": [False]}, "ControlNet": {"args": []}, "animatediff": {"args": [False]}}},
        {"alwayson_scripts": {}, "script_name": None, "script_args": [], "styles": [], "hr_prompt": ""},
        {"script_name": "None", "infotext": " ", "refiner_checkpoint": "", "override_settings": {"sd_vae": "Automatic"}},
        {"url": "http://127.0.0.1:7860", "auth": "user:password", "anything": {"else": [1]}},
        {"save_images": True, "do_not_save_grid": True, "comments": {"a": "b"}, "firstphase_width": 0},
    ],
)
def test_what_asks_for_nothing_is_not_spoken_of(client: Client, fields: dict[str, Any]) -> None:
    assert job_for(client, **fields).warnings == []


def test_a_hosted_model_is_sent_what_it_can_do(client: Client, settings: Any) -> None:
    settings.USE_LOCAL_MODELS, settings.DEFAULT_IMAGE_MODEL = False, "stable-diffusion-v1-5"
    job = job_for(client, sampler_name="Euler a", prompt="(a lake:1.2)")
    assert (job.params["scheduler"], job.params["prompt_syntax"], job.params["prompt"]) == (None, "compel", "(a lake:1.2)")
    assert "The sampler 'Euler a' has no effect: a hosted model uses its own." in job.warnings
    job = job_for(client, "img2img", init_images=[WIDE], resize_mode=1)
    assert "resize_mode has no effect: a hosted model is sent the picture as it is." in job.warnings


def test_a_model_without_the_sampler_is_run_with_its_own(client: Client) -> None:
    job = job_for(client, sampler_name="DDIM", override_settings={"sd_model_checkpoint": "flux.1-schnell"})
    assert job.params["scheduler"] in (None, "euler")
    assert any("DDIM" in one for one in job.warnings)


INFOTEXT = """a (red:1.3) lake
Negative prompt: blurry
Steps: 9, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 6.5, Seed: 42, Size: 64x128, Model hash: 0123456789, Model: nobody's, \
Clip skip: 2, Denoising strength: 0.5, Hires upscale: 2, Hires steps: 4, Hires upscaler: Latent, Version: v1.10.1"""


def test_an_infotext_stands_for_the_fields_that_were_not_sent(client: Client) -> None:
    """A body without a prompt of its own."""
    reply = client.post(
        "/sdapi/v1/txt2img",
        {"infotext": INFOTEXT, "steps": 3, "cfg_scale": None},
        content_type="application/json",
        headers={"Prefer": "respond-async"},
    )
    params = Job.objects.get(pk=reply.json()["job"]).params
    expected = {
        "prompt": "a (red:1.3) lake", "negative_prompt": "blurry", "steps": 3, "scheduler": "dpmpp_2m_karras", "guidance_scale": 6.5,
        "seed": 42, "width": 64, "height": 128, "clip_skip": 1, "model_id": "starter",
        "hires": {"scale": 2.0, "steps": 8, "strength": 0.5, "upscaler": "latent"},
    }  # fmt: skip
    assert expected.items() <= params.items()


@pytest.mark.parametrize("text", ["just words", "Steps: many", "Steps: 4, Size: axb", "x" * 30_000, 5, [], {"a": 1}])
def test_an_infotext_that_says_nothing_of_use_is_words_or_refused(client: Client, text: Any) -> None:
    reply = client.post(
        "/sdapi/v1/txt2img", {"infotext": text}, content_type="application/json", headers={"Prefer": "respond-async"}
    )
    assert reply.status_code in (202, 422)
    if text == "just words":
        assert Job.objects.get(pk=reply.json()["job"]).params["prompt"] == "just words"


# ---------------------------------------------------------------- options


def test_override_settings_choose_for_this_request_alone(client: Client) -> None:
    params = job_for(client, override_settings={"CLIP_stop_at_last_layers": 2, "samples_format": "jpg"}).params
    assert (params["clip_skip"], params["output_format"]) == (1, "jpeg")
    params = job_for(client).params
    assert (params["clip_skip"], params["output_format"]) == (None, "png")


def test_a_key_s_options_act_on_its_requests(client: Client) -> None:
    client.post("/sdapi/v1/options", {"CLIP_stop_at_last_layers": 3}, content_type="application/json")
    assert job_for(client).params["clip_skip"] == 2
    assert job_for(client, override_settings={"CLIP_stop_at_last_layers": 1}).params["clip_skip"] is None


def test_a_checkpoint_that_is_not_here_is_refused_by_name(client: Client) -> None:
    status, body = refused(client, override_settings={"sd_model_checkpoint": "nobody knows.safetensors [0123456789]"})
    assert status == 422
    assert body["detail"][0]["loc"] == ["body", "override_settings", "sd_model_checkpoint"]
    assert "nobody knows" in body["errors"]


# ---------------------------------------------------------------- the second pass


def test_the_second_pass_runs_as_many_steps_as_it_says(client: Client) -> None:
    """There they are those that are run; here those of a schedule of which the strength runs a part."""
    fields = {"width": 64, "height": 64, "steps": 4, "denoising_strength": 0.5}
    hires = job_for(client, enable_hr=True, hr_second_pass_steps=10, hr_upscaler="Latent", **fields).params["hires"]
    assert hires == {"scale": 2.0, "steps": 20, "strength": 0.5, "upscaler": "latent"}
    hires = job_for(client, enable_hr=True, hr_scale=1.5, hr_upscaler="Lanczos", **fields).params["hires"]
    assert hires == {"scale": 1.5, "steps": 8, "strength": 0.5, "upscaler": "lanczos"}
    nearest = job_for(client, enable_hr=True, hr_upscaler="Nearest", **fields)
    assert (nearest.params["hires"]["upscaler"], nearest.warnings) == ("nearest", [])


def test_without_enable_hr_there_is_none(client: Client) -> None:
    job = job_for(client, hr_scale=2, hr_upscaler="Latent", denoising_strength=0.7, hr_prompt="x")
    assert ("hires" in job.params, job.warnings) == (False, [])


@pytest.mark.parametrize(
    ("fields", "scale"),
    [
        ({"hr_resize_x": 192}, 3.0),
        ({"hr_resize_y": 128}, 2.0),
        ({"hr_resize_x": 128, "hr_resize_y": 128}, 2.0),
        ({"width": 128, "height": 128, "firstphase_width": 64, "firstphase_height": 64}, 2.0),
    ],
)
def test_the_size_to_come_to(client: Client, fields: dict[str, Any], scale: float) -> None:
    params = job_for(client, enable_hr=True, **{"width": 64, "height": 64, "steps": 4, **fields}).params
    assert (params["hires"]["scale"], params["width"], params["height"]) == (scale, 64, 64)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"hr_resize_x": 128, "hr_resize_y": 192}, "hr_resize_x"),
        ({"hr_scale": 5}, "hr_scale"),
        ({"hr_upscaler": "No such"}, "hr_upscaler"),
    ],
)
def test_a_second_pass_that_can_t_be_is_refused_by_its_field(client: Client, fields: dict[str, Any], field: str) -> None:
    status, body = refused(client, enable_hr=True, width=64, height=64, steps=4, **fields)
    assert (status, body["detail"][0]["loc"]) == (422, ["body", field])


def test_what_differs_in_the_second_pass_is_said(client: Client) -> None:
    fields = {"width": 64, "height": 64, "steps": 4, "sampler_name": "Euler", "hr_sampler_name": "DDIM", "hr_prompt": "b"}
    job = job_for(client, enable_hr=True, hr_upscaler="Latent (bicubic)", **fields)
    assert [one.partition(" ")[0].strip(":") for one in job.warnings] == ["hr_upscaler", "hr_sampler_name", "hr_prompt"]


# ---------------------------------------------------------------- styles


def test_styles_are_presets_whose_words_are_used(client: Client) -> None:
    create_preset(name="noir", owner_key="local", request={"prompt": "{prompt}, film noir", "negative_prompt": "colour"})
    create_preset(name="fog", owner_key="local", request={"prompt": "fog", "steps": 9})
    job = job_for(client, styles=["noir", "fog"], negative_prompt="blurry", steps=4)
    assert (job.params["prompt"], job.params["negative_prompt"]) == ("a lake, film noir, fog", "blurry, colour")
    assert job.params["steps"] == 4
    assert job.warnings == ["styles: of 'fog' the prompts alone were used, and not steps."]


def test_another_owner_s_styles_are_not_found(client: Client) -> None:
    create_preset(name="mine", owner_key="somebody", request={"prompt": "secret"})
    [warning] = job_for(client, styles=["mine"]).warnings
    assert "there is no style 'mine'" in warning


# ---------------------------------------------------------------- ControlNet


def controls(*units: Any) -> dict[str, Any]:
    return {"alwayson_scripts": {"controlnet": {"args": list(units)}}}


UNIT = {"image": WIDE, "module": "canny", "model": "starter-control [0123456789]", "weight": 0.5}


@pytest.mark.parametrize(
    "unit",
    [
        {**UNIT, "guidance_start": 0.1, "guidance_end": 0.9},
        {"input_image": WIDE, "module": "canny", "model": "None", "weight": 0.5, "guidance_start": 0.1, "guidance_end": 0.9},
        {**UNIT, "image": {"image": WIDE, "mask": None}, "guidance_start": 0.1, "guidance_end": 0.9, "enabled": True},
    ],
)
def test_a_unit_is_a_control_map(client: Client, unit: dict[str, Any]) -> None:
    [control] = job_for(client, **controls(unit)).params["control"]
    expected = {"preprocessor": "canny", "model_id": "starter-control", "weight": 0.5, "start": 0.1, "end": 0.9}
    assert expected.items() <= control.items()


def test_a_unit_that_is_switched_off_says_nothing(client: Client) -> None:
    assert job_for(client, **controls({**UNIT, "enabled": False}, {"enabled": False})).params["control"] == []


def test_scribbles_and_maps_that_are_maps_already(client: Client) -> None:
    units = [{**UNIT, "module": "none"}, {**UNIT, "module": "scribble_pidinet"}]
    first, second = job_for(client, **controls(*units)).params["control"]
    assert (first["preprocessor"], second["preprocessor"]) == (None, "scribble")


@pytest.mark.parametrize(
    ("unit", "place"),
    [
        ({**UNIT, "module": "openpose_full"}, "module"),
        ({**UNIT, "model": "no such model"}, "model"),
        ({**UNIT, "image": None}, "image"),
        ({**UNIT, "weight": 9}, "weight"),
        ({**UNIT, "guidance_start": 0.9, "guidance_end": 0.2}, "guidance_end"),
    ],
)
def test_a_unit_that_can_t_be_is_refused_by_its_place(client: Client, unit: dict[str, Any], place: str) -> None:
    status, body = refused(client, **controls({"enabled": False}, unit))
    assert status == 422
    assert body["detail"][0]["loc"] == ["body", "alwayson_scripts", "controlnet", "args", 1, place]


def test_a_unit_s_picture_that_is_none_is_a_bad_picture(client: Client) -> None:
    status, body = refused(client, **controls({**UNIT, "image": "no picture"}))
    assert (status, body["detail"]) == (500, "Invalid encoded image")
    assert "alwayson_scripts.controlnet.args.0.image" in body["errors"]


def test_what_of_a_unit_is_not_done_is_said(client: Client) -> None:
    unit = {**UNIT, "control_mode": "My prompt is more important", "mask": WIDE}
    said = " ".join(job_for(client, **controls(unit)).warnings)
    assert "control_mode" in said
    assert "mask has no effect" in said


# ---------------------------------------------------------------- other owners' pictures, names of tasks


def test_a_task_may_have_a_name(client: Client) -> None:
    job = job_for(client, force_task_id="task(mine)")
    asked = {"id_task": "task(mine)"}
    told = client.post("/internal/progress", asked, content_type="application/json").json()
    assert (told["queued"], told["active"], told["completed"], told["textinfo"]) == (True, False, False, "In queue...")
    assert client.get("/internal/pending-tasks").json() == {"size": 1, "tasks": ["task(mine)"]}
    assert client.get("/internal/ping").json() == {}
    assert client.post("/internal/progress", {"id_task": str(job.pk)}, content_type="application/json").json()["queued"]


def test_other_keys_see_nothing_of_it(client: Client) -> None:
    tokens = [create_key(name=name)[1] for name in ("one", "other")]
    first, other = ({"Authorization": f"Bearer {token}"} for token in tokens)
    body = {"prompt": "a lake", "force_task_id": "named"}
    client.post("/sdapi/v1/txt2img", body, content_type="application/json", headers={**first, "Prefer": "respond-async"})
    assert client.get("/internal/pending-tasks", headers=other).json() == {"size": 0, "tasks": []}
    told = client.post("/internal/progress", {"id_task": "named"}, content_type="application/json", headers=other).json()
    assert (told["queued"], told["textinfo"]) == (False, "Waiting...")
    assert client.get("/sdapi/v1/progress", headers=other).json()["state"]["job_count"] == 0
    assert client.get("/sdapi/v1/progress", headers=first).json()["state"]["job_count"] == 1
    assert client.post("/sdapi/v1/interrupt", content_type="application/json", headers=other).json() == {}
    assert Job.objects.get().status == "queued"
    assert client.post("/sdapi/v1/interrupt", content_type="application/json", headers=first).json() == {}
    assert Job.objects.get().status == "cancelled"
