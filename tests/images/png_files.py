"""Pictures whose files carry the parameters of several programs, and how they are sent to POST /api/png-info/."""

import base64
import io
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from PIL import Image
from PIL.PngImagePlugin import PngInfo

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
