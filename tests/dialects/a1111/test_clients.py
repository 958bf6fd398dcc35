"""webuiapi as it is, and Open WebUI's and SillyTavern's calls, against a live server that has keys: their password is one."""

import asyncio
import base64
import io
import threading
import time
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.dialects.a1111.conftest import KeyedServer
from tests.dialects.a1111.other_clients import OpenWebUI, SillyTavern

webuiapi = pytest.importorskip("webuiapi")
pytestmark = [pytest.mark.models]
SMALL: dict[str, Any] = {"width": 64, "height": 64, "steps": 2}


def opened(encoded: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(encoded)))


@pytest.fixture
def api(keyed: KeyedServer) -> Any:
    return webuiapi.WebUIApi(host="127.0.0.1", port=keyed.live.port, username="anyone", password=keyed.token)


@pytest.fixture
def gradient() -> Image.Image:
    return Image.linear_gradient("L").resize((64, 64)).convert("RGB")


# ---------------------------------------------------------------- webuiapi


@pytest.mark.parametrize("password", ["wrong", "drk_abcdefgh_" + "x" * 43])
def test_a_wrong_password_is_told_with_its_challenge(keyed: KeyedServer, password: str) -> None:
    api = webuiapi.WebUIApi(host="127.0.0.1", port=keyed.live.port, username="anyone", password=password)
    reply = api.session.get(f"{api.baseurl}/options")
    assert (reply.status_code, reply.headers["WWW-Authenticate"][:12]) == (401, "Basic realm=")
    with pytest.raises(RuntimeError, match="401"):
        api.txt2img(prompt="x", **SMALL)


LISTS = ("samplers", "schedulers", "sd_vae", "upscalers", "latent_upscale_modes", "loras", "sd_models", "hypernetworks",
         "face_restorers", "realesrgan_models", "prompt_styles")  # fmt: skip
OBJECTS = ("options", "cmd_flags", "progress", "scripts", "embeddings", "memory")


@pytest.mark.parametrize(("names", "kind"), [(LISTS, list), (OBJECTS, dict)])
def test_webuiapi_gets_all_that_it_knows_of(api: Any, names: tuple[str, ...], kind: type) -> None:
    for name in names:
        assert isinstance(getattr(api, f"get_{name}")(), kind), name


def test_webuiapi_sets_options_and_models(api: Any) -> None:
    assert api.set_options({"CLIP_stop_at_last_layers": 2}) is None
    assert api.get_options()["CLIP_stop_at_last_layers"] == 2
    api.set_options({"CLIP_stop_at_last_layers": 1})
    api.util_set_model("start")
    assert api.util_get_current_model() == "starter"
    assert {"Euler a", "DPM++ 2M"} <= set(api.util_get_sampler_names())
    assert "karras" in api.util_get_scheduler_names()
    api.util_wait_for_ready(check_interval=0.1)


@pytest.mark.parametrize("name", ["interrupt", "skip", "refresh_checkpoints"])
def test_webuiapi_reads_json_where_there_is_nothing_to_say(api: Any, name: str) -> None:
    assert getattr(api, name)() in (None, {})


def test_webuiapi_makes_pictures_from_words(api: Any) -> None:
    made = api.txt2img(prompt="a red circle", negative_prompt="blurry", seed=42, batch_size=2, **SMALL)
    assert [one.size for one in made.images] == [(64, 64)] * 2
    assert made.info["all_seeds"] == [42, 43]
    assert made.parameters["steps"] == 2


def test_webuiapi_makes_pictures_from_pictures(api: Any, gradient: Image.Image) -> None:
    made = api.img2img(images=[gradient], prompt="a red circle", denoising_strength=0.5, seed=1, **SMALL)
    assert (made.image.size, made.info["denoising_strength"]) == ((64, 64), 0.5)
    mask = Image.new("L", gradient.size)
    mask.paste(255, (0, 0, 32, 64))
    assert api.img2img(images=[gradient], mask_image=mask, prompt="a red circle", seed=1, **SMALL).image.size == (64, 64)


def test_webuiapi_makes_a_second_pass(api: Any) -> None:
    upscaler = webuiapi.HiResUpscaler.Latent
    made = api.txt2img(prompt="a red circle", enable_hr=True, hr_scale=2, hr_upscaler=upscaler, hr_second_pass_steps=2, **SMALL)
    assert made.image.size == (128, 128)


def test_webuiapi_enlarges_one_and_several(api: Any, gradient: Image.Image) -> None:
    one = api.extra_single_image(gradient, upscaler_1=webuiapi.Upscaler.Lanczos, upscaling_resize=1.5)
    assert (one.image.size, "Lanczos" in one.info) == ((96, 96), True)
    several = api.extra_batch_images([gradient, gradient.resize((32, 32))], upscaler_1="Lanczos", upscaling_resize=2)
    assert [picture.size for picture in several.images] == [(128, 128), (64, 64)]
    assert api.extra_single_image(gradient).image.size == gradient.size
    with pytest.raises(RuntimeError, match="There is no upscaler"):
        api.extra_single_image(gradient, upscaler_1=webuiapi.Upscaler.LDSR)


def test_webuiapi_reads_what_a_picture_says(api: Any) -> None:
    made = api.txt2img(prompt="a red circle", seed=7, **SMALL)
    read = api.png_info(made.image)
    assert read.info == made.info["infotexts"][0]
    assert (read.parameters["Prompt"], read.parameters["Seed"]) == ("a red circle", "7")


def test_webuiapi_asks_what_is_on_a_picture(api: Any, gradient: Image.Image) -> None:
    assert api.interrogate(gradient).info
    with pytest.raises(RuntimeError, match="404"):
        api.interrogate(gradient, model="deepdanbooru")


def test_webuiapi_asks_what_controlnet_has_and_uses_it(api: Any, gradient: Image.Image) -> None:
    assert api.controlnet_version() == 3
    assert "canny" in api.controlnet_module_list()
    [model] = [name for name in api.controlnet_model_list() if name.startswith("starter-control")]
    maps = api.controlnet_detect([gradient, gradient.rotate(90)], module="canny")
    assert [picture.size for picture in maps.images] == [(64, 64)] * 2
    assert maps.info == "Success"
    same = api.controlnet_detect([gradient], module="none")
    assert same.image.convert("RGB").tobytes() == gradient.tobytes()
    unit = webuiapi.ControlNetUnit(image=gradient, module="canny", model=model)
    made = api.txt2img(prompt="a lake", controlnet_units=[unit], **SMALL)
    assert "ControlNet 0" in made.info["infotexts"][0]
    with pytest.raises(RuntimeError, match="no such"):
        api.controlnet_detect([gradient], module="no such")


def test_webuiapi_does_several_things_at_once(api: Any, gradient: Image.Image) -> None:
    pytest.importorskip("aiohttp", reason="webuiapi's own way to do several things at once")

    async def ask() -> list[Any]:
        return await asyncio.gather(
            api.txt2img(prompt="a red circle", seed=1, use_async=True, **SMALL),
            api.img2img(images=[gradient], prompt="a blue square", seed=2, use_async=True, **SMALL),
            api.extra_single_image(gradient, upscaler_1="Lanczos", use_async=True),
            api.extra_batch_images([gradient], upscaler_1="Lanczos", use_async=True),
        )

    made = asyncio.run(ask())
    assert [one.image.size for one in made] == [(64, 64), (64, 64), (128, 128), (128, 128)]


def test_what_webuiapi_asked_for_is_its_keys_alone(api: Any, keyed: KeyedServer) -> None:
    api.txt2img(prompt="a picture of one key", **SMALL)
    [job] = keyed.jobs(q="a picture of one key")
    other = keyed.live.manage("create_key", "another").strip()
    reply = keyed.live.client.get(f"/api/jobs/{job['id']}/", headers={"Authorization": f"Bearer {other}"})
    assert (reply.status_code, job["source"]) == (404, "a1111")


# ---------------------------------------------------------------- Open WebUI


def test_open_webui_from_its_settings_to_a_picture(keyed: KeyedServer) -> None:
    client = OpenWebUI(keyed.live.url, f"open-webui:{keyed.token}")
    assert client.verify()
    assert {"id": "starter", "name": "starter"} in client.models()
    client.set_model("stable-diffusion-v1-5")
    assert client.get_model() == "stable-diffusion-v1-5"
    client.set_model("starter")
    assert client.get_model() == "starter"
    told = client.generate("a red circle", steps=2, batch_size=2, negative_prompt="blurry")
    assert [opened(one).size for one in told["images"]] == [(64, 64)] * 2
    assert isinstance(told["info"], str)


def test_open_webui_with_its_model_chosen_gets_that_models_picture(keyed: KeyedServer) -> None:
    client = OpenWebUI(keyed.live.url, f":{keyed.token}")
    client.set_model("starter")
    told = client.generate("by the model that was chosen", steps=1)
    [job] = keyed.jobs(q="by the model that was chosen")
    assert (job["model_id"], len(told["images"])) == ("starter", 1)


def test_open_webui_without_a_password_is_told_to_bring_one(keyed: KeyedServer) -> None:
    assert not OpenWebUI(keyed.live.url, None).verify()


# ---------------------------------------------------------------- SillyTavern


def test_sillytavern_from_its_settings_to_a_picture(keyed: KeyedServer) -> None:
    client = SillyTavern(keyed.live.url, f"tavern:{keyed.token}")
    assert client.ping()
    assert client.upscalers()[:2] == ["None", "Latent"]
    assert client.vaes() == []
    assert "Euler a" in client.names("samplers")
    assert "automatic" in client.names("schedulers")
    assert "starter" in client.models()
    assert client.set_model("starter") == 1
    assert client.get_model() == "starter"
    told = client.generate("a red circle", seed=5)
    assert opened(told["images"][0]).size == (64, 64)


def test_sillytavern_with_all_that_its_page_offers_is_told_what_was_not_done(keyed: KeyedServer) -> None:
    client = SillyTavern(keyed.live.url, f"tavern:{keyed.token}")
    faces = {"ADetailer": {"args": [True, True, {"ad_model": "face_yolov8n.pt"}]}}
    told = client.generate(
        "a red circle", alwayson_scripts=faces, override_settings={"CLIP_stop_at_last_layers": 1, "sd_vae": "x"}
    )
    assert "ADetailer" in told["info"]
    assert "sd_vae" in told["info"]


def test_sillytavern_whose_page_is_closed_interrupts_its_own_picture_alone(keyed: KeyedServer) -> None:
    client = SillyTavern(keyed.live.url, f"tavern:{keyed.token}")
    staff = {"Authorization": f"Bearer {keyed.staff}"}
    other = keyed.live.client.post(
        "/api/txt2img/", json={"prompt": "somebody else's", "steps": 60}, headers={**staff, "Prefer": "respond-async"}
    ).json()

    def ask() -> None:
        with pytest.raises(httpx.TimeoutException):
            httpx.post(
                f"{client.url}/sdapi/v1/txt2img",
                json=client.body("to be interrupted", steps=150, width=512, height=512),
                auth=("tavern", keyed.token),
                timeout=1.0,
            )

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert client.post("interrupt").json() in (None, {})
    keyed.live.wait_until(lambda: keyed.jobs(q="to be interrupted")[0]["finished_at"], "it was interrupted", 60)
    began = time.monotonic()
    keyed.live.wait_until(lambda: keyed.jobs(q="somebody else's")[0]["finished_at"], "the other is made", 120)
    assert keyed.jobs(q="to be interrupted")[0]["status"] == "cancelled"
    assert keyed.jobs(q="somebody else's")[0]["status"] == "succeeded", (other, began)
