"""What A1111 tells of pictures that were made: the `info` of an answer, and the echo of its body."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from api.dialects.a1111.samplers import labels_of
from api.images.metadata import infotext
from api.jobs.models import Job
from api.json_types import JsonObject

VERSION = "Darkroom"
TIMESTAMP = "%Y%m%d%H%M%S"


def make_info(job: Job, body: Mapping[str, Any], images: Sequence[Mapping[str, Any]]) -> str:
    """JSON as text. Ours beside A1111's: `warnings`, `job`."""
    params, variation = job.params, job.params.get("variation")
    own = [image["seed"] for image in images]
    seeds = [variation["seed"]] * len(own) if variation else own
    subseeds = own if variation else [max(0, body["subseed"]) + number for number in range(len(own))]
    count = max(1, len(images))
    skipped, hires = params.get("clip_skip"), params.get("hires") or {}
    sampler, _ = labels_of(params.get("scheduler"))
    info: JsonObject = {
        "prompt": body["prompt"],
        "all_prompts": [body["prompt"]] * count,
        "negative_prompt": body["negative_prompt"],
        "all_negative_prompts": [body["negative_prompt"]] * count,
        "seed": seeds[0] if seeds else -1,
        "all_seeds": seeds,
        "subseed": subseeds[0] if subseeds else -1,
        "all_subseeds": subseeds,
        "subseed_strength": variation["strength"] if variation else 0,
        "width": params["width"],
        "height": params["height"],
        "sampler_name": sampler,
        "cfg_scale": params["guidance_scale"],
        "steps": params["steps"],
        "batch_size": body["batch_size"],
        "restore_faces": body["restore_faces"],
        "face_restoration_model": None,
        "sd_model_name": job.model_id,
        "sd_model_hash": None,
        "sd_vae_name": None,
        "sd_vae_hash": None,
        "seed_resize_from_w": body["seed_resize_from_w"],
        "seed_resize_from_h": body["seed_resize_from_h"],
        "denoising_strength": params.get("strength", hires.get("strength")),
        "extra_generation_params": {},
        "index_of_first_image": 0,
        "infotexts": [infotext({**params, "seed": image["seed"]}, image["width"], image["height"]) for image in images],
        "styles": body["styles"],
        "job_timestamp": job.created_at.strftime(TIMESTAMP),
        "clip_skip": skipped + 1 if skipped else 1,
        "is_using_inpainting_conditioning": False,
        "version": VERSION,
        "warnings": job.warnings,
        "job": str(job.pk),
    }
    return json.dumps(info)


def make_echo(job: Job, body: Mapping[str, Any]) -> JsonObject:
    """The body as it was read, with what it left open. Pictures are left out where it didn't ask for them."""
    params = job.params
    decided = {
        "steps": params["steps"],
        "cfg_scale": params["guidance_scale"],
        "width": params["width"],
        "height": params["height"],
    }
    echo = {**body, **{name: value for name, value in decided.items() if body[name] is None}}
    if not body.get("include_init_images", True):
        echo |= {"init_images": None, "mask": None}
    return echo
