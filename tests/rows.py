"""Jobs and pictures as finished work leaves them: real rows, and real small files."""

import io
from datetime import timedelta
from typing import Any

from django.utils import timezone
from PIL import Image

from api.files import storage
from api.files.services import create_file
from api.images.models import GeneratedImage
from api.images.ranking import Candidate, rank, summarize
from api.images.services import link_sources
from api.jobs.kinds import get_kind
from api.jobs.models import Job
from api.specs import Spec

NO_IMAGE = "0197c0de-0000-7000-8000-000000000000"
PARAMS = {
    "prompt": "a red circle above a blue square",
    "negative_prompt": "blurry",
    "width": 16,
    "height": 16,
    "steps": 4,
    "guidance_scale": 5.0,
    "seed": 42,
    "num_images": 1,
    "scheduler": None,
    "clip_skip": None,
    "loras": [],
    "control": [],
    "ip_adapter": [],
    "output_format": "png",
    "tags": [],
    "deterministic": False,
}


ANY_PARAMS: dict[str, Any] = {
    **PARAMS,
    "image": NO_IMAGE,
    "images": [NO_IMAGE],
    "prompts": ["a lake"],
    "raw_prompts": [{"text": "a lake"}, {"text": "ab", "tokens": [5, 6]}],
    "input": [{"text": "a lake"}, {"image": NO_IMAGE}],
    "messages": [],
    "metadata": {},
    "model": "starter-vlm",
    "model_id": "starter-clip",
    "backend": "heuristic",
    "name": "mine",
    "encoder": "",
    "request": {"prompt": "a lake"},
    "axes": [{"field": "seed", "values": [42]}],
    "cells": [{**PARAMS, "model_id": "starter"}],
    "kind": "canny",
}
"""A valid request of any kind; each reads its own fields."""


def spec_of(kind: str, params: dict[str, Any] | None = None, *, model_id: str = "", prompt: str = "") -> Spec:
    """The request that a row with these columns holds."""
    return get_kind(kind).read_spec(Job(kind=kind, params=params or {}, model_id=model_id, prompt=prompt))


def make_job(status: str = "succeeded", **fields: Any) -> Job:
    prompt = fields.pop("prompt", PARAMS["prompt"])
    now = timezone.now()
    times = {"started_at": now - timedelta(seconds=3), "finished_at": now} if status in ("succeeded", "failed") else {}
    defaults = {"kind": "txt2img", "model_id": "starter", "owner_key": "local", "params": {**PARAMS, "prompt": prompt}, **times}
    return Job.objects.create(**{**defaults, "status": status, "prompt": prompt, **fields})


def make_contest(rank_by: str | dict[str, float] = "clip", cosines: tuple[float | None, ...] = (0.2, 0.3, 0.25)) -> Job:
    """A job that kept the best of several candidates, whose seeds count from 42."""
    found = [
        Candidate(
            42 + number, {} if cosine is None else {"clip_cosine": cosine, "clip_score": 100 * cosine, "layout_score": 70.0}
        )
        for number, cosine in enumerate(cosines)
    ]
    places = rank(found, rank_by)
    job = make_job(params={**PARAMS, "best_of": len(found), "rank_by": rank_by})
    make_picture(job, seed=places[0].candidate.seed, rank=1)
    job.result |= {"candidates": [place.as_json() for place in places], "ranking": summarize(places, rank_by)}
    job.save(update_fields=["result"])
    return job


def make_picture(job: Job | None = None, **fields: Any) -> GeneratedImage:
    source = fields.pop("source", None)
    job = job or make_job(prompt=fields.get("prompt", PARAMS["prompt"]))
    image = Image.new("RGB", (16, 16), "teal")
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    file = create_file(
        storage.write_image_files(buffer.getvalue(), image, "png"), owner_key=job.owner_key, purpose=storage.OUTPUT
    )
    index = job.images.count()
    params = job.params
    copied = {name: params[name] for name in ("negative_prompt", "seed", "steps", "guidance_scale", "width", "height")}
    defaults = {**copied, "prompt": job.prompt, "model_id": job.model_id, "parameters": params, "owner_key": job.owner_key}
    picture = GeneratedImage.objects.create(file=file, job=job, index=index, **{**defaults, **fields})
    link_sources(picture, [("image", source)] if source else [])
    described = {"id": str(picture.pk), "width": 16, "height": 16, "seed": picture.seed, "rank": None, "scores": {}}
    job.result = {"images": [*(job.result or {"images": []})["images"], described], "candidates": []}
    job.save(update_fields=["result"])
    return picture
