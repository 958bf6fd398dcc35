"""Fooocus's own JSON."""

import re
from collections.abc import Mapping
from typing import Any

from api.images.png_info.found import Found, FoundLora, as_list, as_text
from api.images.prompt_syntax.syntaxes import A1111

VALUES = {"steps": "steps", "guidance_scale": "guidance_scale", "seed": "seed"}


def read_fooocus(data: Mapping[str, Any]) -> Found:
    found = Found("fooocus", as_text(data.get("prompt")), as_text(data.get("negative_prompt")), A1111)
    found.values = {ours: data[theirs] for theirs, ours in VALUES.items() if data.get(theirs) is not None}
    if size := re.fullmatch(r"\((\d{1,5}), (\d{1,5})\)", as_text(data.get("resolution"))):
        found.values |= {"width": size[1], "height": size[2]}
    found.sampler, found.schedule = as_text(data.get("sampler")), as_text(data.get("scheduler"))
    found.models = [name for name in (as_text(data.get("base_model")), as_text(data.get("base_model_hash"))) if name]
    for lora in as_list(data.get("loras")):
        if isinstance(lora, list) and len(lora) >= 2 and isinstance(lora[0], str):
            found.loras.append(FoundLora(lora[0], lora[1], as_text(lora[2]) if len(lora) > 2 else ""))
    if as_list(data.get("styles")) or as_text(data.get("styles")).strip("[]"):
        found.warnings.append("Fooocus's styles are left out; `full_prompt` in the parameters has their words.")
    return found
