"""NovelAI's parameters: the Comment's JSON. Its `{red}` is 1.05, its `[red]` 1 / 1.05."""

from collections.abc import Mapping
from typing import Any

from api.images.png_info.found import Found, as_mapping, as_text
from api.images.prompt_syntax.syntaxes import A1111

VALUES = {"steps": "steps", "scale": "guidance_scale", "seed": "seed", "width": "width", "height": "height"}
STEP = 1.05
CLOSING = {"}": ("{", f":{STEP})"), "]": ("[", f":{1 / STEP:.4f})")}


def read_novelai(data: Mapping[str, Any], texts: Mapping[str, str]) -> Found:
    prompt = as_text(data.get("prompt")) or texts.get("Description", "")
    found = Found("novelai", convert_weights(prompt), convert_weights(as_text(data.get("uc"))), A1111)
    found.values = {ours: data[theirs] for theirs, ours in VALUES.items() if data.get(theirs) is not None}
    found.sampler = as_text(data.get("sampler")).removeprefix("k_")
    found.schedule = as_text(data.get("noise_schedule"))
    found.models = [source] if (source := texts.get("Source", "")) else []
    if as_mapping(data.get("v4_prompt")).get("caption"):
        found.warnings.append("The prompts of single characters are left out.")
    if "::" in prompt:
        found.warnings.append("NovelAI's weights as numbers (1.5::red::) are read as words.")
    if data.get("strength") is not None and data.get("request_type") == "Img2ImgRequest":
        found.strength = data["strength"]
    return found


def convert_weights(prompt: str) -> str:
    """In AUTOMATIC1111's notation; a bracket without its other half is left out, and parentheses are characters."""
    opened: dict[str, list[int]] = {"{": [], "[": []}
    parts: list[str] = []
    for character in prompt:
        if character in opened:
            opened[character].append(len(parts))
            parts.append("")
        elif character in CLOSING:
            opener, weight = CLOSING[character]
            if opened[opener]:
                parts[opened[opener].pop()] = "("
                parts.append(weight)
        else:
            parts.append(f"\\{character}" if character in "()\\" else character)
    return "".join(parts)
