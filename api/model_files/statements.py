"""What a file says about itself in its metadata and its name, by the field's conventions. No torch, no Django.

kohya's trainers write `ss_…`, the model specification of Stability AI `modelspec.…`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

Metadata = Mapping[str, str]

FEW_STEP = {
    "lcm": re.compile(r"(?<![a-z])lcm(?![a-z])"),
    "lightning": re.compile(r"(?<![a-z])lightning(?![a-z])"),
    "hyper": re.compile(r"(?<![a-z])hyper[-_ ]*(?=sd|flux|vae|inpaint|step|\d|\.|$)"),
    "turbo": re.compile(r"(?<![a-z])turbo(?![a-z])"),
}
"""Ways of distilling a model to few steps, and the words that tell of each; in the order that they are looked for."""
WORD_BORDER = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=XL)(?=[A-Z][a-z])")
"""In names such as dreamshaperXLTurboDPM."""
TITLES = ("modelspec.title", "modelspec.tags", "ss_output_name")
ARCHITECTURES = {
    "stable-diffusion-xl-v1-refiner": "sdxl-refiner",
    "stable-diffusion-xl": "sdxl",
    "stable-diffusion-v1": "sd1",
    "stable-diffusion-v2": "sd2",
    "stable-diffusion-v3": "sd3",
    "stable-diffusion-3": "sd3",
    "flux-1": "flux",
    "sdxl": "sdxl",
    "sd_v1": "sd1",
    "sd_v2": "sd2",
    "sd1": "sd1",
    "sd2": "sd2",
    "sd3": "sd3",
    "flux1": "flux",
    "flux": "flux",
}
"""How `modelspec.architecture` and `ss_base_model_version` begin."""
HASHES = {
    "sshs_model_hash": "sshs_model_hash",
    "sshs_legacy_hash": "sshs_legacy_hash",
    "modelspec.hash_sha256": "sha256",
}
HEXADECIMAL = re.compile(r"(0x)?(?P<digits>[0-9a-fA-F]{8,64})")
LONGEST_TAGS = 5_000_000
MOST_TRIGGERS = 5
YES = ("true", "1", "yes")


def stated_family(metadata: Metadata) -> str:
    """ "" where nothing is said."""
    for key in ("modelspec.architecture", "ss_base_model_version"):
        text = metadata.get(key, "").lower()
        found = next((family for start, family in ARCHITECTURES.items() if text.startswith(start)), "")
        if found:
            return found
    return ""


def stated_prediction(metadata: Metadata) -> str:
    """ "epsilon", "v_prediction", or "" where nothing is said."""
    stated = metadata.get("modelspec.prediction_type", "").lower()
    if stated in ("v", "v_prediction", "vpred", "v-prediction"):
        return "v_prediction"
    if stated == "epsilon":
        return "epsilon"
    architecture = (metadata.get("modelspec.architecture", "") + metadata.get("ss_base_model_version", "")).lower()
    return (
        "v_prediction" if is_true(metadata, "ss_v_parameterization") or re.search(r"768-v|sd_v2_v|-vpred", architecture) else ""
    )


def is_true(metadata: Metadata, key: str) -> bool:
    return metadata.get(key, "").lower() in YES


def few_step_kind(name: str, metadata: Metadata) -> str:
    """A key of FEW_STEP, or "". Names and titles are all that tells; the weights are like those of any model."""
    texts = [WORD_BORDER.sub(" ", text).lower() for text in (name, *(metadata.get(key, "") for key in TITLES))]
    return next((kind for kind, words in FEW_STEP.items() if any(words.search(text) for text in texts)), "")


def trigger_words(metadata: Metadata) -> tuple[str, ...]:
    """What its author names, or else the tags that every picture of its training had."""
    phrase = metadata.get("modelspec.trigger_phrase", "").strip()
    if phrase:
        return tuple(word.strip()[:100] for word in phrase.split(",") if word.strip())[:MOST_TRIGGERS]
    return _tags_of_all(metadata.get("ss_tag_frequency", ""))


def stated_hashes(metadata: Metadata) -> dict[str, str]:
    """In lower case, without 0x: `sha256` is of the tensors alone, not of the file."""
    found = {HASHES[key]: HEXADECIMAL.fullmatch(metadata.get(key, "")) for key in HASHES}
    return {name: match["digits"].lower() for name, match in found.items() if match is not None}


def _tags_of_all(text: str) -> tuple[str, ...]:
    if not text or len(text) > LONGEST_TAGS:
        return ()
    try:
        folders = json.loads(text)
    except (ValueError, RecursionError):
        return ()
    tables = [table for table in folders.values() if isinstance(table, dict)] if isinstance(folders, dict) else []
    found: dict[str, None] = {}
    for table in tables:
        counts = {tag.strip(): count for tag, count in table.items() if type(count) is int and tag.strip()}
        most = max(counts.values(), default=0)
        found |= {tag[:100]: None for tag, count in counts.items() if count == most > 1}
    return tuple(found)[:MOST_TRIGGERS]
