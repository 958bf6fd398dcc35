"""From what a file says to a request that is valid on this server."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from api.catalog import UPSCALING, AdapterEntry, ModelEntry, is_entry_name
from api.errors import DarkroomError
from api.images.hires import LATENT, HiresUse
from api.images.png_info.found import Found, FoundLora, shown
from api.images.prompt_requests import LENIENT, PROMPT
from api.images.sampler_names import find_scheduler
from api.images.scheduler_presets import UNET_FAMILIES
from api.images.serializers import Txt2ImgSerializer, find_default
from api.images.spec import LARGEST_LORA_WEIGHT, LONGEST_PROMPT, MOST_LORAS, TEXT_TO_IMAGE, Txt2ImgSpec
from api.json_types import JsonObject
from api.specs import SpecField, fields_of
from config.catalog import get_catalog

MOST_TRIES = 12
MOST_NAMED = 50
WEIGHTS_FILE = re.compile(r"\.(?:safetensors|ckpt|pt|pth|bin|gguf)$", re.IGNORECASE)
KNOWN_FILES = {
    "v15pruned": "stable-diffusion-v1-5",
    "v15prunedemaonly": "stable-diffusion-v1-5",
    "v21768emapruned": "stable-diffusion-v2-1",
    "sdxlbase10": "sdxl-base-1.0",
    "sdxlbase1009vae": "sdxl-base-1.0",
}
"""What people call the files of models that the catalog has under their hub's names; letters and digits alone."""
NO_VAE = {"", "none", "automatic", "default (model)", "baked vae"}
FIELDS = {one.name: one for one in fields_of(Txt2ImgSpec)}


@dataclass
class Resolved:
    request: JsonObject = field(default_factory=dict)
    missing: list[dict[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def miss(self, kind: str, name: str) -> None:
        entry = {"kind": kind, "name": shown(name)}
        if entry not in self.missing and len(self.missing) < MOST_NAMED:
            self.missing.append(entry)


def resolve(found: Found) -> Resolved:
    resolved = Resolved(request=dict(found.taken), warnings=list(found.warnings))
    entry = put_model(found, resolved)
    put_prompts(found, resolved)
    for name, value in found.values.items():
        put_number(resolved, FIELDS[name], value)
    put_variation(found, resolved)
    put_scheduler(found, resolved)
    put_loras(found.loras, entry, resolved)
    if found.hires:
        put_hires(found.hires, entry, resolved)
    if found.upscale:
        put_upscale(found.upscale, resolved)
    for name in found.embeddings[:MOST_NAMED]:
        if find_entry(get_catalog().find_embedding, names_like(name)) is None:
            resolved.miss("embedding", name)
    if found.vae.lower() not in NO_VAE:
        resolved.warnings.append(f"The picture was decoded by the VAE '{shown(found.vae)}'; a request can't name one.")
    if found.is_edited or (found.strength is not None and number(found.strength) != 1):
        resolved.warnings.append(
            f"The picture was made from another (strength {shown(found.strength)}), which isn't in the file."
        )
    return resolved


def put_model(found: Found, resolved: Resolved) -> ModelEntry:
    names = [name for model in found.models for name in names_like(model)]
    entry = find_model(names)
    if entry is not None:
        resolved.request["model_id"] = entry.id
        return entry
    if found.models:
        resolved.miss("model", found.models[0])
        resolved.warnings.append("The request leaves the model open: it is made with the default one.")
    return find_default(None)


def put_prompts(found: Found, resolved: Resolved) -> None:
    for name, text in (("prompt", found.prompt), ("negative_prompt", found.negative_prompt)):
        text = text.replace("\0", "").strip()
        if len(text) > LONGEST_PROMPT:
            resolved.warnings.append(f"{name} has {len(text)} characters; the first {LONGEST_PROMPT} were kept.")
        if text or (name == PROMPT and found.taken.get(LENIENT)):
            resolved.request[name] = text[:LONGEST_PROMPT].strip()
    resolved.request["prompt_syntax"] = found.syntax


def put_number(resolved: Resolved, one: SpecField, value: object) -> None:
    """Into its range; what is no number is left out. A seed that is out of range is another seed."""
    read, rule = number(value), one.rule
    if read is None:
        resolved.warnings.append(f"{one.name}: '{shown(value)}' is no number; it was left out.")
        return
    kept = read if one.type is float else round(read)
    if one.name == "clip_skip" and kept == 0:
        return
    if rule.multiple_of:
        kept = round(kept / rule.multiple_of) * rule.multiple_of
    low, high = rule.minimum or 0, rule.maximum or math.inf
    if not low <= kept <= high and one.name == "seed":
        resolved.warnings.append(f"seed: {shown(value)} is beyond the seeds here (0 to {high:.0f}); it was left out.")
        return
    kept = type(kept)(min(high, max(low, kept)))
    if not math.isclose(kept, read):
        resolved.warnings.append(f"{one.name}: {shown(value)} became {kept:g}.")
    resolved.request[one.name] = kept


def number(value: object) -> float | int | None:
    """JSON's numbers, and texts of them. A whole number stays one: seeds have up to 20 digits."""
    if isinstance(value, str) and re.fullmatch(r"\s*-?\d{1,25}\s*", value):
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        read = value if isinstance(value, int) else float(value[:40] if isinstance(value, str) else value)
        return read if math.isfinite(read) and abs(read) < 1e30 else None
    except (ValueError, OverflowError):
        return None


def put_variation(found: Found, resolved: Resolved) -> None:
    """As it is said there; what a request may not say of it is left out later."""
    if found.variation is None:
        return
    seed, strength = number(found.variation.get("seed")), number(found.variation.get("strength"))
    earlier = found.variation.get("earlier") or []
    resolved.request["variation"] = {"seed": seed, "strength": strength, **({"earlier": earlier} if earlier else {})}


def put_scheduler(found: Found, resolved: Resolved) -> None:
    if not found.sampler:
        return
    name, sentence = find_scheduler(found.sampler[:100], found.schedule[:100])
    if sentence:
        resolved.warnings.append(sentence)
    if name is not None:
        resolved.request["scheduler"] = name


def put_hires(hires: dict[str, Any], entry: ModelEntry, resolved: Resolved) -> None:
    if entry.family not in UNET_FAMILIES:
        resolved.warnings.append(f"The picture had a second pass (hires), which {entry.name} has not; it was left out.")
        return
    use = Resolved()
    for one in fields_of(HiresUse):
        value = hires.get(one.name)
        if one.name != "upscaler" and value is not None and not (one.name == "steps" and number(value) == 0):
            put_number(use, one, value)  # 0 steps are as many as of the first pass
    resolved.warnings += [f"hires.{warning}" for warning in use.warnings]
    name = str(hires.get("upscaler") or "")
    if name.lower().startswith(LATENT):  # A1111 has several ways to enlarge latents, here is one
        use.request["upscaler"] = LATENT
    elif name and (upscaler := find_upscaler(name, resolved)):
        use.request["upscaler"] = upscaler
    resolved.request["hires"] = use.request


def put_upscale(upscale: dict[str, Any], resolved: Resolved) -> None:
    """By a whole number; where it is none, or nobody has the upscaler, it is left out."""
    scale, upscaler = number(upscale.get("scale")), find_upscaler(str(upscale.get("model_id", "")), resolved)
    if upscaler is None or scale not in (2, 3, 4):
        resolved.warnings.append(f"The picture was enlarged at the end, by {shown(upscale.get('scale'))}; that was left out.")
    else:
        resolved.request["upscale"] = {"model_id": upscaler, "scale": int(scale), **read_blend(upscale.get("blend"), resolved)}


def read_blend(blend: Any, resolved: Resolved) -> JsonObject:
    """The second upscaler, in a file of ours; none where nobody has it."""
    if not isinstance(blend, dict):
        return {}
    weight, upscaler = number(blend.get("weight")), find_upscaler(str(blend.get("model_id", "")), resolved)
    return {"blend": {"model_id": upscaler, "weight": weight}} if upscaler and weight is not None and 0 <= weight <= 1 else {}


def find_upscaler(name: str, resolved: Resolved) -> str | None:
    """Its id here. Our filters have a capital in A1111's files."""
    entry = find_entry(get_catalog().find_model, [*names_like(name), name.lower()])
    if entry is not None and entry.task == UPSCALING:
        return str(entry.id)
    resolved.miss("upscaler", name)
    return None


def put_loras(loras: Iterable[FoundLora], entry: ModelEntry, resolved: Resolved) -> None:
    uses: list[JsonObject] = []
    for lora in list(loras)[:MOST_NAMED]:
        adapter: AdapterEntry | None = find_entry(find_adapter, [*names_like(lora.name), lora.hash])
        if adapter is None:
            resolved.miss("lora", lora.name)
        elif not adapter.fits(entry):
            resolved.warnings.append(f"The adapter '{adapter.id}' does not fit {entry.name}; it was left out.")
        elif len(uses) == MOST_LORAS:
            resolved.warnings.append(f"A request has at most {MOST_LORAS} adapters; '{adapter.id}' was left out.")
        else:
            weight = lora_weight(lora.weight, adapter.id, resolved)
            unet = weight if lora.unet is None else lora_weight(lora.unet, adapter.id, resolved)
            use: JsonObject = {"id": adapter.id, "weight": weight}
            uses.append(use if unet == weight else {**use, "unet": unet})
    if uses:
        resolved.request["loras"] = uses


def lora_weight(value: object, adapter_id: str, resolved: Resolved) -> float:
    read = number(1.0 if value is None else value)
    kept = max(-LARGEST_LORA_WEIGHT, min(LARGEST_LORA_WEIGHT, 1.0 if read is None else float(read)))
    if kept != read:
        resolved.warnings.append(f"The weight of '{adapter_id}', {shown(value)}, became {kept:g}.")
    return kept


def find_model(names: Iterable[str]) -> ModelEntry | None:
    names = list(names)
    catalog = get_catalog()
    entry = find_entry(catalog.find_model, names)
    if entry is None:
        by_letters = {letters(known): one for one in catalog.models.values() for known in (one.name, one.id)}
        known_files = (KNOWN_FILES.get(letters(name)) for name in names)
        ids = [name for name in known_files if name]
        entry = next((by_letters[letters(name)] for name in [*names, *ids] if letters(name) in by_letters), None)
    return entry if entry is not None and entry.task == TEXT_TO_IMAGE else None


def find_adapter(name: str) -> AdapterEntry | None:
    return get_catalog().adapter(name)


def find_entry(find: Any, names: Iterable[str]) -> Any:
    """By the first of these names that is known; a name that several have is none."""
    for name in names:
        if is_entry_name(name):
            try:
                if entry := find(name):
                    return entry
            except DarkroomError:
                continue
    return None


def names_like(name: str) -> list[str]:
    """As it is, without its folder, and without its ending."""
    plain = PurePosixPath(name[:500].replace("\\", "/")).name
    return list(dict.fromkeys([name[:500], plain, WEIGHTS_FILE.sub("", name[:500]), WEIGHTS_FILE.sub("", plain)]))


def letters(name: str) -> str:
    return re.sub(r"[\W_]", "", WEIGHTS_FILE.sub("", name)).lower()


def validate(resolved: Resolved) -> JsonObject | None:
    """The request without what a request may not have; None where no request is left."""
    request = dict(resolved.request)
    for _ in range(MOST_TRIES):
        serializer = Txt2ImgSerializer(data=request)
        if serializer.is_valid():
            return request
        refused = [name for name in serializer.errors if name in request]
        for name, reason in ((name, first_reason(serializer.errors[name])) for name in serializer.errors):
            resolved.warnings.append(f"{name}: {reason}")
        if not refused or "prompt" in refused:
            break
        for name in refused:
            del request[name]
    return None


def first_reason(errors: object) -> str:
    for text in _texts(errors):
        return text
    return "it was left out."


def _texts(errors: object) -> Iterator[str]:
    if isinstance(errors, dict):
        for value in errors.values():
            yield from _texts(value)
    elif isinstance(errors, list):
        for value in errors:
            yield from _texts(value)
    else:
        yield str(errors)
