"""Parameters of AUTOMATIC1111, Forge, and all that write as they do: the prompt, what to leave out, a line of settings."""

import json
import re

from api.images.png_info.found import Found, FoundLora
from api.images.prompt_syntax.networks import take_networks
from api.images.prompt_syntax.syntaxes import A1111, COMPEL, SYNTAXES

LONGEST_LINE = 100_000
NEGATIVE = "Negative prompt:"
_NAME = re.compile(r"([\w \-/]{1,60}):")
_QUOTED = re.compile(r' ?("(?:\\.|[^"\\])*")')
_PLAIN = re.compile(r"[^,]*")
_SETTINGS = re.compile(r"(?:^|\n)(Steps: \d[^\n]*)(?:\n|$)")
VALUES = {"Steps": "steps", "CFG scale": "guidance_scale", "Seed": "seed"}
HIRES = {"Hires upscale": "scale", "Hires steps": "steps", "Hires upscaler": "upscaler"}
UPSCALE = {"Postprocess upscale by": "scale", "Postprocess upscaler": "model_id"}
READ = {*VALUES, *HIRES, *UPSCALE, "Sampler", "Schedule type", "Size", "Model", "Model hash", "Clip skip",
        "Denoising strength", "VAE", "VAE hash",
        "Lora hashes", "TI hashes", "Version", "Hashes", "RNG", "Prompt syntax", "Variation seed", "Variation seed strength"}  # fmt: skip
NOTHING_LOST = {"Template", "Negative Template", "NGMS", "Emphasis", "Module 1", "Module 2", "Module 3", "Civitai resources",
                "Civitai metadata", "Created Date", "Diffusion in Low Bits", "User", "Discard penultimate sigma"}  # fmt: skip


def read_infotext(text: str) -> Found | None:
    """None where it is no such text."""
    parts = split_infotext(text)
    if parts is None:
        return None
    prompt, negative, pairs = parts
    found = Found(source_of(pairs.get("Version", "")), prompt, negative, A1111)
    if found.source == "darkroom":
        syntax = pairs.get("Prompt syntax", "")
        found.syntax = syntax if syntax in SYNTAXES else COMPEL
    found.values = {ours: pairs[theirs] for theirs, ours in VALUES.items() if theirs in pairs}
    read_variation(pairs, found)
    width, by, height = pairs.get("Size", "").partition("x")
    if by:
        found.values |= {"width": width, "height": height}
    if re.fullmatch(r"[1-9][0-9]?", skipped := pairs.get("Clip skip", "")):
        found.values["clip_skip"] = int(skipped) - 1  # theirs counts the last layer as one
    found.sampler, found.schedule = pairs.get("Sampler", ""), pairs.get("Schedule type", "")
    found.models = [pairs[name] for name in ("Model", "Model hash") if pairs.get(name)]
    found.vae, found.strength = pairs.get("VAE", ""), pairs.get("Denoising strength")
    found.hires = read_hires(pairs)
    found.upscale = {ours: pairs[theirs] for theirs, ours in UPSCALE.items() if theirs in pairs}
    if "strength" in found.hires:
        found.strength = None
    hashes = read_hashes(pairs.get("Lora hashes", ""))
    found.prompt, tags = take_networks(found.prompt)
    found.loras = [FoundLora(tag.name, tag.text, hashes.get(tag.name, ""), tag.unet) for tag in tags if tag.is_lora]
    found.warnings += [f"{tag.source} is left out: hypernetworks can't be used here." for tag in tags if not tag.is_lora]
    found.embeddings = list(read_hashes(pairs.get("TI hashes", "")))
    if pairs.get("RNG") not in (None, "CPU"):
        found.warnings.append(f"The noise came from the {pairs['RNG']}'s generator: the same seed gives another picture here.")
    found.warnings += describe_unread(pairs)
    return found


def split_infotext(text: str) -> tuple[str, str, dict[str, str]] | None:
    """The prompt, what to leave out, the settings as texts; None where it is no such text."""
    matches = list(_SETTINGS.finditer(text))
    if not matches:
        return None
    line = matches[-1]
    prompt, _, negative = text[: line.start()].partition(NEGATIVE)
    return prompt.strip(), negative.strip(), read_pairs(line[1])


def read_variation(pairs: dict[str, str], found: Found) -> None:
    """Their `Seed` is that of the picture that is varied; here `seed` is the picture's own."""
    if "Variation seed" in pairs and "Variation seed strength" in pairs:
        found.variation = {"seed": pairs.get("Seed"), "strength": pairs["Variation seed strength"]}
        found.values["seed"] = pairs["Variation seed"]


def read_hires(pairs: dict[str, str]) -> dict[str, str]:
    """The strength of a picture with a second pass is that pass's."""
    if "Hires upscale" not in pairs:
        return {}
    hires = {ours: pairs[theirs] for theirs, ours in HIRES.items() if theirs in pairs}
    return hires | ({"strength": pairs["Denoising strength"]} if "Denoising strength" in pairs else {})


def describe_unread(pairs: dict[str, str]) -> list[str]:
    unread = [name for name in pairs if name not in READ and name not in NOTHING_LOST and not name.startswith("Lora ")]
    return [f"Not read: {', '.join(unread[:20])}."] if unread else []


def read_pairs(line: str) -> dict[str, str]:
    """One pass over the line, whatever is in it."""
    line = line[:LONGEST_LINE]
    pairs: dict[str, str] = {}
    place, quotes_end = 0, True
    while place < len(line):
        if (name := _NAME.match(line, place)) is None:
            place = (line.find(",", place) + 1) or len(line)
            continue
        place = name.end()
        quoted = _QUOTED.match(line, place) if quotes_end else None
        quotes_end = quotes_end and (quoted is not None or not line.startswith('"', place + 1))
        value = quoted or _PLAIN.match(line, place)
        assert value is not None
        pairs.setdefault(name[1].strip(), unquote(value[0].strip()))
        place = value.end() + 1
    return pairs


def unquote(value: str) -> str:
    if not value.startswith('"'):
        return value
    try:
        return str(json.loads(value))
    except ValueError:
        return value.strip('"')


def read_hashes(text: str) -> dict[str, str]:
    """`name: hash, name: hash`"""
    pairs = (part.rpartition(":") for part in text.split(","))
    return {name.strip(): value.strip() for name, colon, value in pairs if colon and name.strip()}


def source_of(version: str) -> str:
    if version == "Darkroom":
        return "darkroom"
    return "forge" if re.match(r"f\d", version) else "a1111"
