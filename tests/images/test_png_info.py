"""POST /api/png-info/: parameters that programs write into their pictures, and the request that they come to here."""

import base64
import io
import json
import random
import struct
import time
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from api.images.metadata import encode_image, infotext
from api.images.spec import Img2ImgSpec
from api.specs import fields_of
from tests.rows import make_picture

pytestmark = pytest.mark.django_db(transaction=True)
PICTURE = Image.new("RGB", (8, 8))

INFOTEXT = """a (red:1.3) lake, <lora:riso:0.7> <lora:Missing Style:1>
second line
Negative prompt: blurry
Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 6.5, Seed: 42, Size: 512x768, Model hash: abc123, Model: starter, \
VAE: my.vae.safetensors, Clip skip: 2, Lora hashes: "riso: aaaa, Missing Style: bbbb", TI hashes: "EasyNegative: cccc", \
Hires upscale: 2, Version: v1.10.1"""

GRAPH = {
    "3": {"class_type": "KSampler", "inputs": {
        "seed": ["20", 0], "steps": 30, "cfg": 7.5, "sampler_name": "euler_ancestral", "scheduler": "karras", "denoise": 1.0,
        "model": ["11", 0], "positive": ["14", 0], "negative": ["7", 0], "latent_image": ["5", 0]}},
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "SD1.5/v1-5-pruned-emaonly.safetensors"}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 640, "batch_size": 1}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": ["21", 0], "clip": ["10", 1]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "bad [x], embedding:EasyNegative", "clip": ["10", 1]}},
    "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["12", 0]}},
    "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0]}},
    "10": {"class_type": "LoraLoader", "inputs": {
        "lora_name": "lcm-lora-sdv1-5.safetensors", "strength_model": 0.8, "strength_clip": 1, "model": ["4", 0], "clip": ["4", 1]}},
    "11": {"class_type": "Power Lora Loader (rgthree)", "inputs": {
        "lora_1": {"on": True, "lora": "gone.safetensors", "strength": 0.5}, "lora_2": {"on": False, "lora": "off", "strength": 1},
        "model": ["10", 0]}},
    "12": {"class_type": "VAELoader", "inputs": {"vae_name": "vae-ft-mse.safetensors"}},
    "14": {"class_type": "ConditioningSetArea", "inputs": {"conditioning": ["6", 0]}},
    "20": {"class_type": "PrimitiveNode", "inputs": {"value": 1234}},
    "21": {"class_type": "StringConstant", "inputs": {"string": "a (red:1.2) cat"}},
}  # fmt: skip

INVOKE = {
    "generation_mode": "txt2img", "positive_prompt": "a (red)++ cat", "negative_prompt": "blurry", "width": 512, "height": 512,
    "seed": 7, "cfg_scale": 7.5, "steps": 12, "scheduler": "dpmpp_2m_k", "clip_skip": 1,
    "model": {"key": "x", "hash": "blake3:abc", "name": "dreamshaper-8", "base": "sd-1", "type": "main"},
    "loras": [{"model": {"name": "nobody", "hash": "blake3:zzz"}, "weight": 0.6}],
}  # fmt: skip

NOVEL = {"prompt": "{{red}} [cat] (x)", "uc": "{bad", "steps": 28, "scale": 5, "seed": 99, "sampler": "k_euler_ancestral",
         "noise_schedule": "native", "width": 832, "height": 1216}  # fmt: skip

FOOOCUS = {"prompt": "a cat", "negative_prompt": "", "steps": 30, "guidance_scale": 4.0, "seed": "123", "sampler": "dpmpp_2m_sde_gpu",
           "scheduler": "karras", "resolution": "(896, 1152)", "base_model": "juggernautXL_v8", "base_model_hash": "aaaa",
           "loras": [["sd_xl_offset.safetensors", 0.1, "bbbb"]], "version": "Fooocus v2.5.5"}  # fmt: skip


def png(**texts: str) -> bytes:
    info = PngInfo()
    for keyword, text in texts.items():
        info.add_text(keyword.replace("__", "-"), text)
    file = io.BytesIO()
    PICTURE.save(file, "PNG", pnginfo=info)
    return file.getvalue()


def with_comment(suffix: str, text: str, order: str = "utf-16-be") -> bytes:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + text.encode(order)
    file = io.BytesIO()
    PICTURE.save(file, suffix, exif=exif.tobytes())
    return file.getvalue()


Ask = Callable[[bytes], dict[str, Any]]


@pytest.fixture
def ask(client: Client) -> Ask:
    def send(data: bytes) -> dict[str, Any]:
        body = {"image": base64.b64encode(data).decode()}
        response = client.post("/api/png-info/", body, content_type="application/json")
        assert response.status_code == 200, response.content
        answer = response.json()
        if answer["request"] is not None:
            made = client.post(
                "/api/txt2img/", answer["request"], content_type="application/json", headers={"Prefer": "respond-async"}
            )
            assert made.status_code == 202, (answer, made.content)
        return answer  # type: ignore[no-any-return]

    return send


@pytest.mark.parametrize(
    "data",
    [
        png(parameters=INFOTEXT),
        with_comment("JPEG", INFOTEXT),
        with_comment("WEBP", INFOTEXT),
        with_comment("JPEG", INFOTEXT, "utf-16-le"),
    ],
)
def test_automatic1111(ask: Ask, data: bytes) -> None:
    answer = ask(data)

    assert answer["source"] == "a1111"
    assert answer["parameters"] == INFOTEXT
    assert answer["request"] == {
        "model_id": "starter",
        "prompt": "a (red:1.3) lake,  \nsecond line",
        "negative_prompt": "blurry",
        "prompt_syntax": "a1111",
        "steps": 20,
        "guidance_scale": 6.5,
        "seed": 42,
        "width": 512,
        "height": 768,
        "clip_skip": 1,
        "scheduler": "dpmpp_2m_karras",
        "loras": [{"id": "riso", "weight": 0.7}],
        "hires": {"scale": 2.0},
    }
    assert answer["missing"] == [{"kind": "lora", "name": "Missing Style"}, {"kind": "embedding", "name": "EasyNegative"}]
    assert any("my.vae" in warning for warning in answer["warnings"])


@pytest.mark.parametrize(
    ("said", "hires", "missing"),
    [
        (
            "Hires upscale: 1.5, Hires steps: 9, Hires upscaler: Latent (bicubic)",
            {"scale": 1.5, "steps": 9, "upscaler": "latent"},
            [],
        ),
        ("Hires upscale: 2, Hires steps: 0, Hires upscaler: Lanczos", {"scale": 2.0, "upscaler": "lanczos"}, []),
        ("Hires upscale: 2, Hires upscaler: 4x-Nobody", {"scale": 2.0}, [{"kind": "upscaler", "name": "4x-Nobody"}]),
        ("Hires upscale: 9", {"scale": 4.0}, []),
    ],
)
def test_a_second_pass_is_read(ask: Ask, said: str, hires: dict[str, Any], missing: list[dict[str, str]]) -> None:
    answer = ask(png(parameters=f"a cat\nSteps: 20, Sampler: Euler a, Denoising strength: 0.6, {said}"))
    assert answer["request"]["hires"] == {**hires, "strength": 0.6}
    assert answer["missing"] == missing
    assert not any("strength" in warning for warning in answer["warnings"])


@pytest.mark.parametrize("as_text", [True, False])
def test_what_a_picture_says_of_its_second_pass_and_its_upscaler_comes_back(ask: Ask, as_text: bool) -> None:
    hires, upscale = {"scale": 1.5, "steps": 9, "strength": 0.5, "upscaler": "latent"}, {"model_id": "lanczos", "scale": 3}
    data = {
        "prompt": "a cat",
        "steps": 20,
        "model_id": "starter",
        "width": 64,
        "height": 64,
        "hires": hires,
        "upscale": upscale,
    }
    text = infotext(data, 288, 288)
    answer = ask(png(parameters=text) if as_text else png(darkroom=json.dumps(data)))
    assert (answer["request"]["hires"], answer["request"]["upscale"]) == (hires, upscale)
    assert (answer["request"]["width"], answer["warnings"], answer["missing"]) == (64, [], [])


def test_forge_is_told_from_its_version(ask: Ask) -> None:
    assert ask(png(parameters=INFOTEXT.replace("v1.10.1", "f2.0.1v1.10.1-previous-636")))["source"] == "forge"


def test_a_model_that_is_not_here_is_missing_and_left_open(ask: Ask) -> None:
    answer = ask(png(parameters="a cat\nSteps: 20, Sampler: Euler a, Model: someones-mix, Model hash: ffff"))

    assert answer["missing"] == [{"kind": "model", "name": "someones-mix"}]
    assert "model_id" not in answer["request"]
    assert answer["request"]["scheduler"] == "euler_a"


def test_comfyui(ask: Ask) -> None:
    answer = ask(png(prompt=json.dumps(GRAPH), workflow="{}"))

    assert answer["source"] == "comfyui"
    assert answer["request"] == {
        "model_id": "stable-diffusion-v1-5",
        "prompt": "a (red:1.2) cat",
        "negative_prompt": "bad \\[x\\], EasyNegative",
        "prompt_syntax": "a1111",
        "seed": 1234,
        "steps": 30,
        "guidance_scale": 7.5,
        "width": 512,
        "height": 640,
        "scheduler": "euler_a",
        "loras": [{"id": "lcm-lora-sdv1-5", "weight": 1, "unet": 0.8}],
    }
    assert {"kind": "lora", "name": "gone.safetensors"} in answer["missing"]
    assert {"kind": "embedding", "name": "EasyNegative"} in answer["missing"]
    assert any("vae-ft-mse" in warning for warning in answer["warnings"])
    assert any("karras" in warning for warning in answer["warnings"])  # which Euler a has none of here


def test_comfyuis_newer_samplers(ask: Ask) -> None:
    graph = {
        "1": {"class_type": "SamplerCustomAdvanced", "inputs": {
            "noise": ["2", 0], "guider": ["3", 0], "sampler": ["4", 0], "sigmas": ["5", 0], "latent_image": ["6", 0]}},
        "2": {"class_type": "RandomNoise", "inputs": {"noise_seed": 5}},
        "3": {"class_type": "BasicGuider", "inputs": {"model": ["7", 0], "conditioning": ["8", 0]}},
        "4": {"class_type": "KSamplerSelect", "inputs": {"sampler_name": "euler"}},
        "5": {"class_type": "BasicScheduler", "inputs": {"scheduler": "simple", "steps": 4, "denoise": 1, "model": ["7", 0]}},
        "6": {"class_type": "EmptySD3LatentImage", "inputs": {"width": 1024, "height": 1024}},
        "7": {"class_type": "UNETLoader", "inputs": {"unet_name": "flux1-schnell.safetensors"}},
        "8": {"class_type": "FluxGuidance", "inputs": {"guidance": 3.5, "conditioning": ["9", 0]}},
        "9": {"class_type": "CLIPTextEncode", "inputs": {"text": "a lake", "clip": ["10", 0]}},
    }  # fmt: skip
    request = ask(png(prompt=json.dumps(graph)))["request"]

    assert {name: request.get(name) for name in ("prompt", "seed", "steps", "scheduler", "width", "model_id")} == {
        "prompt": "a lake", "seed": 5, "steps": 4, "scheduler": "euler", "width": 1024, "model_id": "flux.1-schnell"
    }  # fmt: skip


def test_invokeai(ask: Ask) -> None:
    answer = ask(png(invokeai_metadata=json.dumps(INVOKE)))

    assert answer["source"] == "invokeai"
    assert answer["request"] == {
        "model_id": "dreamshaper-8", "prompt": "a (red)++ cat", "negative_prompt": "blurry", "prompt_syntax": "compel", "steps": 12,
        "guidance_scale": 7.5, "seed": 7, "width": 512, "height": 512, "clip_skip": 1, "scheduler": "dpmpp_2m_karras",
    }  # fmt: skip
    assert answer["missing"] == [{"kind": "lora", "name": "nobody"}]
    older = {
        "model_weights": "starter",
        "image": {"prompt": [{"prompt": "a cat", "weight": 1}], "seed": 3, "steps": 9, "sampler": "k_lms"},
    }
    assert ask(png(sd__metadata=json.dumps(older)))["request"]["prompt"] == "a cat"


def test_novelai(ask: Ask) -> None:
    answer = ask(png(Comment=json.dumps(NOVEL), Description="x", Software="NovelAI", Source="Stable Diffusion XL 7BCCAA2C"))

    assert answer["source"] == "novelai"
    assert answer["request"]["prompt"] == "((red:1.05):1.05) (cat:0.9524) \\(x\\)"
    assert answer["request"]["negative_prompt"] == "bad"
    assert answer["request"]["scheduler"] == "euler_a"
    assert answer["missing"] == [{"kind": "model", "name": "Stable Diffusion XL 7BCCAA2C"}]


def test_fooocus(ask: Ask) -> None:
    answer = ask(png(fooocus_scheme="fooocus", parameters=json.dumps(FOOOCUS)))

    assert answer["source"] == "fooocus"
    assert answer["request"]["width"] == 896
    assert answer["request"]["scheduler"] == "dpmpp_2m_sde_karras"
    assert [entry["kind"] for entry in answer["missing"]] == ["model", "lora"]


@pytest.mark.parametrize(
    ("parts", "read"),
    [
        ({}, {"weight": 0.5}),
        ({"text": 0.2}, {"weight": 0.2, "unet": 0.5}),
        ({"unet": 1.0}, {"weight": 0.5, "unet": 1.0}),
        ({"text": 0.0, "unet": 1.0}, {"weight": 0.0, "unet": 1.0}),
    ],
)
def test_strengths_of_a_loras_parts_come_back(ask: Ask, parts: dict[str, float], read: dict[str, float]) -> None:
    uses = [{"id": "riso", "weight": 0.5, **parts}]
    assert ask(png(darkroom=json.dumps({"prompt": "a lake", "loras": uses})))["request"]["loras"] == [{"id": "riso", **read}]


def test_comfyuis_loader_for_the_denoiser_alone_leaves_the_text_encoders(ask: Ask) -> None:
    graph = json.loads(json.dumps(GRAPH).replace('"LoraLoader"', '"LoraLoaderModelOnly"').replace(', "strength_clip": 1', ""))
    assert ask(png(prompt=json.dumps(graph)))["request"]["loras"] == [{"id": "lcm-lora-sdv1-5", "weight": 0, "unet": 0.8}]


@pytest.mark.parametrize("output_format", ["png", "jpeg", "webp"])
def test_ours_comes_back_as_the_same_request(ask: Ask, client: Client, output_format: str) -> None:
    fields = {
        "prompt": "a (red:1.3) lake <lora:riso:0.5>",
        "prompt_syntax": "a1111",
        "negative_prompt": "(x:1.1)",
        "seed": 5,
        "steps": 3,
    }
    sent = client.post("/api/txt2img/", fields, content_type="application/json", headers={"Prefer": "respond-async"})
    params = sent.json()["params"]
    data = encode_image(PICTURE, output_format, {**params, "job": "x", "scores": {}}, pytest.fail)
    answer = ask(data)

    assert answer["source"] == "darkroom"
    again = client.post(
        "/api/txt2img/", answer["request"], content_type="application/json", headers={"Prefer": "respond-async"}
    )
    assert again.json()["params"] == params
    assert answer["parameters"].startswith("a (red:1.3) lake <lora:riso:0.5>\nNegative prompt: (x:1.1)")
    assert (answer["missing"], answer["warnings"]) == ([], [])


@pytest.mark.parametrize("syntax", ["compel", "a1111"])
def test_ours_is_read_where_only_the_text_is_left(ask: Ask, syntax: str) -> None:
    parameters = {
        "prompt": "a (red)++ lake",
        "prompt_syntax": syntax,
        "steps": 3,
        "seed": 1,
        "loras": [{"id": "riso", "weight": 0.5}],
    }
    answer = ask(png(parameters=infotext(parameters, 64, 64)))

    assert answer["source"] == "darkroom"
    assert {name: answer["request"][name] for name in ("prompt", "prompt_syntax", "loras")} == {
        name: parameters[name] for name in ("prompt", "prompt_syntax", "loras")
    }


def test_a_picture_here_is_read_by_its_id(client: Client) -> None:
    image = make_picture()
    answer = client.post("/api/png-info/", {"image": str(image.pk)}, content_type="application/json").json()

    assert answer["source"] == "darkroom"
    assert answer["request"]["prompt"] == image.prompt


EDITED = {"image": "0192-source", "strength": 1.0}
CONTROL = {"image": "0192-map", "kind": None, "preprocessor": "canny", "model_id": "sd-controlnet-canny", "weight": 1.0}


@pytest.mark.parametrize(
    ("made_with", "named"),
    [
        (EDITED, ["strength 1.0", "image: ", "0192-source"]),
        ({**EDITED, "mask": "0192-mask"}, ["mask: left out"]),
        ({**EDITED, "outpaint": {"left": 0, "right": 64, "top": 0, "bottom": 0}}, ["outpaint: left out"]),
        (
            {
                **EDITED,
                "mask": "m",
                "mask_invert": True,
                "mask_blur": 2.0,
                "inpaint_area": "mask",
                "mask_padding": 8,
                "fill": "blur",
            },
            ["mask, mask_invert, mask_blur, inpaint_area, mask_padding, fill: left out"],
        ),
        ({"control": [CONTROL]}, ["control: left out", "0192-map", "canny", "sd-controlnet-canny"]),
        ({"control": [CONTROL, {**CONTROL, "image": "second"}]}, ["0192-map", "second"]),
    ],
)
@pytest.mark.parametrize("from_the_history", [False, True])
def test_ours_says_what_the_request_can_t_give_back(
    ask: Ask, client: Client, made_with: dict[str, Any], named: list[str], from_the_history: bool
) -> None:
    parameters = {"prompt": "a lake", "model_id": "starter", "seed": 8, **made_with}
    if from_the_history:
        image = make_picture(parameters=parameters)
        answer = client.post("/api/png-info/", {"image": str(image.pk)}, content_type="application/json").json()
    else:
        answer = ask(png(darkroom=json.dumps(parameters)))
    said = " ".join(answer["warnings"])
    assert [part for part in named if part not in said] == [], said


def test_every_field_of_ours_comes_back_or_is_said_to_be_left_out(ask: Ask) -> None:
    """But for what says how the job was to be run, and how many pictures it was to have: the request is for this one."""
    of_the_job = {"num_images", "best_of", "rank_by", "output_format", "tags", "deterministic", "preset"}
    made_with: dict[str, Any] = {
        "prompt": "a lake", "negative_prompt": "fog", "prompt_syntax": "compel", "model_id": "starter", "width": 64, "height": 64,
        "steps": 3, "guidance_scale": 4.0, "seed": 8, "variation": {"seed": 3, "strength": 0.5}, "scheduler": "euler",
        "loras": [{"id": "riso", "weight": 0.5}], "control": [CONTROL], "clip_skip": 1, "hires": {"scale": 2.0},
        "upscale": {"model_id": "lanczos", "scale": 2}, "image": "i", "mask": "m", "mask_invert": True, "mask_blur": 2.0,
        "inpaint_area": "mask", "mask_padding": 8, "fill": "noise", "outpaint": {"left": 8}, "strength": 0.5,
    }  # fmt: skip
    assert {*made_with, *of_the_job} == {one.name for one in fields_of(Img2ImgSpec)}
    answer = ask(png(darkroom=json.dumps(made_with)))
    said = " ".join(answer["warnings"])
    assert [name for name in made_with if name not in answer["request"] and name not in said] == []


def test_an_ordinary_picture_of_ours_has_no_warning(ask: Ask) -> None:
    idle = {
        "control": [],
        "mask_invert": False,
        "mask_blur": 0.0,
        "inpaint_area": "whole",
        "mask_padding": 32,
        "fill": "original",
    }
    answer = ask(png(darkroom=json.dumps({"prompt": "a lake", "model_id": "starter", "seed": 8, **idle})))
    assert (answer["missing"], answer["warnings"]) == ([], [])


@pytest.mark.parametrize("rubbish", [5, "x", {}, [5], [{"image": {}}], [[]] * 100, {"left": []}])
def test_rubbish_in_the_place_of_our_edits_is_no_error(ask: Ask, rubbish: object) -> None:
    names = ("control", "image", "mask", "outpaint", "fill", "mask_blur", "strength")
    answer = ask(png(darkroom=json.dumps({"prompt": "a", "seed": 8, **dict.fromkeys(names, rubbish)})))
    assert answer["request"]["seed"] == 8


def test_an_edit_of_invokeai_s_at_full_strength_is_told(ask: Ask) -> None:
    answer = ask(png(invokeai_metadata=json.dumps({**INVOKE, "generation_mode": "img2img", "strength": 1})))
    assert any("made from another" in warning for warning in answer["warnings"])


def test_a_form_is_read_too(client: Client) -> None:
    answer = client.post("/api/png-info/", {"image": SimpleUploadedFile("a.png", png(parameters=INFOTEXT))}).json()

    assert answer["source"] == "a1111"


@pytest.mark.parametrize("data", [png(), png(parameters="a holiday"), b"", b"no picture", with_comment("JPEG", "hello")])
def test_nothing_is_found_where_nothing_is(client: Client, data: bytes) -> None:
    response = client.post("/api/png-info/", {"image": base64.b64encode(data).decode()}, content_type="application/json")
    answer = response.json()

    assert (response.status_code, answer["source"], answer["request"]) == (200, None, None)
    assert answer["warnings"]


@pytest.mark.parametrize("value", ["!!", 7, None, {}, "0197c0de-0000-7000-8000-000000000000"])
def test_what_is_no_picture_is_an_error_that_names_the_field(client: Client, value: object) -> None:
    response = client.post("/api/png-info/", {"image": value}, content_type="application/json")

    assert response.status_code == 400
    assert response.json()["errors"][0]["field"] == "image"


# ---------------------------------------------------------------- hostile files


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def raw_png(*chunks: bytes) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


CYCLE = {
    str(number): {"class_type": "KSampler", "inputs": {
        "model": [str((number + 1) % 300), 0], "positive": [str((number + 7) % 300), 0], "negative": [str(number), 0],
        "latent_image": [str((number + 3) % 300), 0], "seed": [str((number + 1) % 300), 0], "steps": [str(number), 0]}}
    for number in range(300)
}  # fmt: skip
BOMB = zlib.compress(b"a" * 60_000_000, 9)
HOSTILE = {
    "deep JSON": png(prompt="[" * 200_000),
    "deep objects": png(darkroom='{"a":' * 100_000),
    "a cycle": png(prompt=json.dumps(CYCLE)),
    "a bomb": raw_png(chunk(b"zTXt", b"parameters\0\0" + BOMB), chunk(b"iTXt", b"prompt\0\1\0\0\0" + BOMB)),
    "a lie about its length": raw_png(struct.pack(">I4s", 0xFFFFFFFF, b"tEXt") + b"parameters\0a"),
    "a broken stream": raw_png(chunk(b"zTXt", b"parameters\0\0garbage")),
    "a long text": png(parameters="(" * 1_000_000 + "\nSteps: 20, " + 'a: "' * 20_000),
    "many pairs": png(parameters="a\nSteps: 20, " + ": ," * 30_000 + " " * 50_000),
    "wrong types": png(prompt=json.dumps({"1": {"class_type": "KSampler", "inputs": {
        "latent_image": [[1], 0], "positive": ["1", 0], "model": {"a": 1}, "seed": "x", "steps": [], "cfg": {}, "sampler_name": 7,
        "width": None}}, "2": 7, "3": {"class_type": {}, "inputs": []}, "4": {"class_type": "CLIPTextEncode", "inputs": []}})),
    "wrong types of ours": png(darkroom=json.dumps({"prompt": 7, "loras": {"a": 1}, "seed": {}, "model_id": [], "steps": "x"})),
    "numbers beyond reason": png(darkroom=json.dumps({"prompt": "a\0b", "seed": 10**300, "steps": -5, "width": 1e300, "height": True,
                                                      "guidance_scale": 1e9, "model_id": "a\0b" * 5000, "loras": [{"id": "\0"}, 3]})),
    "no numbers": png(darkroom='{"prompt": "a", "guidance_scale": NaN, "seed": Infinity, "width": -Infinity, "prompt_syntax": []}'),
    "a number of a million digits": png(darkroom='{"prompt": "a", "seed": ' + "9" * 1_000_000 + "}"),
    "an infotext of nonsense": png(parameters="a\nSteps: 9999999999999999999999, Seed: -1, Size: axb, CFG scale: inf, Clip skip: ²"),
    "names that are paths": png(parameters="<lora:../../etc/passwd:1> a\nSteps: 20, Model: ../../../etc/passwd"),
    "a comment of odd length": with_comment("JPEG", "x")[:-3],
    "many brackets of NovelAI": png(Comment=json.dumps({"prompt": "{" * 300_000, "uc": "]" * 9000, "scale": 1}), Software="NovelAI"),
    "types of NovelAI": png(Comment=json.dumps({"prompt": [], "uc": {}, "scale": [], "v4_prompt": 7}), Software="NovelAI"),
    "types of Fooocus": png(parameters=json.dumps({"base_model": [], "loras": [[1, 2, 3], "x", []], "resolution": 7, "version": {}})),
    "types of InvokeAI": png(invokeai_metadata=json.dumps({"model": 7, "loras": [1, {"model": []}], "vae": [], "scheduler": {}})),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_answered_in_bounded_time(ask: Ask, name: str) -> None:
    started = time.process_time()

    answer = ask(HOSTILE[name])

    assert time.process_time() - started < 3
    assert len(json.dumps(answer)) < 1_000_000


def test_damaged_files_are_answered(client: Client) -> None:
    draw = random.Random(1)
    for whole in (
        png(parameters=INFOTEXT),
        png(prompt=json.dumps(GRAPH)),
        with_comment("WEBP", INFOTEXT),
        with_comment("JPEG", INFOTEXT),
    ):
        for _ in range(15):
            data = bytearray(whole[: draw.randint(1, len(whole))])
            for _ in range(draw.randint(1, 8)):
                data[draw.randrange(len(data))] = draw.randrange(256)
            body = {"image": base64.b64encode(bytes(data)).decode()}
            assert client.post("/api/png-info/", body, content_type="application/json").status_code == 200


def test_a_variation_of_automatic1111_s_is_one_here(ask: Ask) -> None:
    varied = INFOTEXT.replace("Seed: 42", "Seed: 42, Variation seed: 77, Variation seed strength: 0.25")
    request = ask(png(parameters=varied))["request"]

    assert (request["seed"], request["variation"]) == (77, {"seed": 42, "strength": 0.25})


def test_a_variation_that_is_rubbish_is_left_out_with_a_word(ask: Ask) -> None:
    answer = ask(png(parameters=INFOTEXT.replace("Seed: 42", "Seed: 42, Variation seed: 77, Variation seed strength: 7")))

    assert "variation" not in answer["request"]
    assert any(warning.startswith("variation") for warning in answer["warnings"])


def test_a_variation_of_ours_is_read_back(ask: Ask) -> None:
    variation = {"seed": 3, "strength": 0.5, "earlier": [{"seed": 9, "strength": 0.25}]}
    parameters = {"prompt": "a lake", "model_id": "starter", "seed": 8, "steps": 5, "variation": variation}

    request = ask(png(darkroom=json.dumps(parameters)))["request"]
    assert (request["seed"], request["variation"]) == (8, variation)


@pytest.mark.parametrize(
    "rubbish", [5, "x", [], {"seed": {}, "strength": []}, {"earlier": "x"}, {"seed": 1, "strength": 0.5, "earlier": 5}]
)
def test_rubbish_in_the_place_of_our_variation_is_no_error(ask: Ask, rubbish: object) -> None:
    parameters = {"prompt": "a lake", "model_id": "starter", "seed": 8, "variation": rubbish}

    assert ask(png(darkroom=json.dumps(parameters)))["request"]["seed"] == 8
