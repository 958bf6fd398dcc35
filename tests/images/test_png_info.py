"""POST /api/png-info/: parameters that programs write into their pictures, and the request that they come to here."""

import base64
import json
import random
import struct
import time
import zlib
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from api.images.metadata import infotext
from tests.images.png_files import FOOOCUS, GRAPH, INFOTEXT, INVOKE, NOVEL, Ask, png, with_comment
from tests.images.png_files import ask as ask  # the fixture

pytestmark = pytest.mark.django_db(transaction=True)


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
