"""What A1111 tells of pictures that were made: the `info` of an answer, and the echo of its body."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from api.catalog import UnknownModel
from api.dialects.a1111.checkpoints import checkpoint_of
from api.images.metadata import infotext
from api.images.png_info.a1111 import split_infotext
from api.images.scheduler_presets import scheduler_labels
from api.jobs.models import Job
from api.json_types import JsonObject
from config.catalog import get_catalog

VERSION = "Darkroom"
TIMESTAMP = "%Y%m%d%H%M%S"
OF_THE_INFO = {"Steps", "Sampler", "CFG scale", "Seed", "Size", "Model", "Model hash", "Clip skip", "Version", "Prompt syntax",
               "Variation seed", "Variation seed strength", "Denoising strength"}  # fmt: skip
"""Settings of the infotext that have a key of their own in `info`."""


def make_info(job: Job, body: Mapping[str, Any], words: tuple[str, str], images: Sequence[Mapping[str, Any]]) -> str:
    """JSON as text; `words`: the prompts with their styles. Beside A1111's keys it has `warnings` and `job`, which are ours."""
    params, count = job.params, max(1, len(images))
    model = describe_model(job.model_id)
    of_all = {**params, "model_hash": model["sd_model_hash"]}
    texts = [infotext({**of_all, "seed": image["seed"]}, image["width"], image["height"]) for image in images]
    hires, skipped = params.get("hires") or {}, params.get("clip_skip")
    info: JsonObject = {
        "prompt": words[0],
        "all_prompts": [words[0]] * count,
        "negative_prompt": words[1],
        "all_negative_prompts": [words[1]] * count,
        **seeds_of(job, body, [image["seed"] for image in images]),
        "seed_resize_from_w": body["seed_resize_from_w"],
        "seed_resize_from_h": body["seed_resize_from_h"],
        "width": params["width"],
        "height": params["height"],
        "sampler_name": scheduler_labels(params.get("scheduler"))[0],
        "cfg_scale": params["guidance_scale"],
        "steps": params["steps"],
        "batch_size": body["batch_size"],
        "restore_faces": body["restore_faces"],
        "face_restoration_model": None,
        **model,
        "denoising_strength": params.get("strength", hires.get("strength")),
        "extra_generation_params": extra_params(texts[0], body) if texts else {},
        "index_of_first_image": 0,
        "infotexts": texts,
        "styles": body["styles"],
        "job_timestamp": job.created_at.strftime(TIMESTAMP),
        "clip_skip": skipped + 1 if skipped else 1,  # theirs counts the last layer as one
        "is_using_inpainting_conditioning": False,
        "version": VERSION,
        "warnings": job.warnings,
        "job": str(job.pk),
    }
    return json.dumps(info)


def seeds_of(job: Job, body: Mapping[str, Any], own: Sequence[int]) -> JsonObject:
    """`own`: the pictures' seeds here. With a subseed these are the subseeds, and the seed is that of the picture that all are near to."""
    variation = job.params.get("variation")
    if variation:
        seeds, subseeds, strength = [variation["seed"]] * len(own), list(own), variation["strength"]
    else:
        seeds, subseeds, strength = list(own), [body["subseed"]] * len(own), 0
    return {
        "seed": seeds[0] if seeds else body["seed"],
        "all_seeds": seeds,
        "subseed": subseeds[0] if subseeds else body["subseed"],
        "all_subseeds": subseeds,
        "subseed_strength": strength,
    }


def describe_model(model_id: str) -> JsonObject:
    """Of a file in the library the hash is known once a worker has read all of it."""
    try:
        checkpoint = checkpoint_of(get_catalog().get(model_id))
    except UnknownModel:  # it left the catalog meanwhile
        return {"sd_model_name": model_id, "sd_model_hash": None, "sd_vae_name": None, "sd_vae_hash": None}
    return {
        "sd_model_name": checkpoint.model_name,
        "sd_model_hash": checkpoint.autov2 or None,
        "sd_vae_name": checkpoint.entry.vae or None,
        "sd_vae_hash": None,
    }


def extra_params(text: str, body: Mapping[str, Any]) -> dict[str, str]:
    """`Hires steps` as it was asked for: there it counts the steps that are run, and in the text here those of the whole schedule."""
    parts = split_infotext(text)
    extra = {name: value for name, value in parts[2].items() if name not in OF_THE_INFO} if parts else {}
    if asked := body.get("hr_second_pass_steps"):
        return {**extra, "Hires steps": str(asked)}
    return {name: value for name, value in extra.items() if name != "Hires steps"}


def make_echo(job: Job, body: Mapping[str, Any]) -> JsonObject:
    """The body as it was read, with what it left open. Pictures are left out where it didn't ask for them."""
    params = job.params
    decided = {
        "steps": params["steps"],
        "cfg_scale": params["guidance_scale"],
        "width": params["width"],
        "height": params["height"],
        "denoising_strength": params.get("strength"),
    }
    echo = {**body, **{name: value for name, value in decided.items() if body[name] is None}}
    if not body.get("include_init_images", True):
        echo |= {"init_images": None, "mask": None}
    return echo
