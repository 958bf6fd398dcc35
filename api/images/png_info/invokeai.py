"""InvokeAI's parameters: `invokeai_metadata`, and `sd-metadata` of its older versions. Its prompts are Compel's."""

from collections.abc import Mapping
from typing import Any

from api.images.png_info.found import Found, FoundLora, as_list, as_mapping, as_text

NAMES = ("steps", "seed", "width", "height", "clip_skip")
VALUES = {**{name: name for name in NAMES}, "cfg_scale": "guidance_scale"}


def read_invokeai(data: Mapping[str, Any]) -> Found:
    found = Found("invokeai", as_text(data.get("positive_prompt")), as_text(data.get("negative_prompt")))
    found.values = {ours: data[theirs] for theirs, ours in VALUES.items() if data.get(theirs) is not None}
    found.sampler = as_text(data.get("scheduler"))
    found.models = names_of(data.get("model"))
    for use in map(as_mapping, as_list(data.get("loras"))):
        if names := names_of(use.get("model") or use.get("lora")):
            found.loras.append(FoundLora(names[0], use.get("weight", 1.0), names[-1]))
    found.vae = (names_of(data.get("vae")) or [""])[0]
    if "img2img" in as_text(data.get("generation_mode")) or data.get("init_image"):
        found.is_edited, found.strength = True, data.get("strength", 1.0)
    if style := as_text(data.get("positive_style_prompt")):
        found.warnings += ["The style prompt of SDXL's second text encoder is left out."] * (style != found.prompt)
    found.warnings += [
        f"{name} is left out." for name in ("controlnets", "ipAdapters", "t2iAdapters", "refiner_model") if data.get(name)
    ]
    return found


def read_older_invokeai(data: Mapping[str, Any]) -> Found:
    image = as_mapping(data.get("image"))
    prompt = image.get("prompt")
    texts = [as_text(as_mapping(part).get("prompt")) for part in prompt] if isinstance(prompt, list) else [as_text(prompt)]
    found = Found("invokeai", " ".join(text for text in texts if text))
    found.values = {ours: image[theirs] for theirs, ours in VALUES.items() if image.get(theirs) is not None}
    found.sampler = as_text(image.get("sampler"))
    found.models = [name for name in (as_text(data.get("model_weights")), as_text(data.get("model_hash"))) if name]
    return found


def names_of(model: object) -> list[str]:
    if isinstance(model, str):
        return [model]
    fields = as_mapping(model)
    names = (as_text(fields.get(name)) for name in ("name", "model_name", "key", "hash"))
    return [name.removeprefix("blake3:") for name in names if name]
