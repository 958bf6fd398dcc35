"""All that is known of one picture, for its page."""

import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from django.http import HttpRequest
from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from api.access.principals import Principal, visible_to
from api.access.scopes import SUBMIT
from api.access.services import any_key_exists
from api.images.candidates import FACTORS, SHOWN, candidates_context
from api.images.metadata import infotext
from api.images.models import GeneratedImage, ImageSource
from api.jobs.admin.detail import readable
from api.jobs.admin.tools import decimal_text
from api.studio.gallery.snippets import snippets

MOST_RELATED = 24
NOT_REPEATED = ("prompt", "negative_prompt", "model_id", "width", "height", "seed", "num_images", "tags", "index")
"""Parameters that stand elsewhere on the page."""
LABELS: Mapping[str, object] = {
    "steps": gettext_lazy("steps"),
    "guidance_scale": gettext_lazy("guidance"),
    "strength": gettext_lazy("strength"),
    "scheduler": gettext_lazy("scheduler"),
    "clip_skip": gettext_lazy("clip skip"),
    "output_quality": gettext_lazy("output quality"),
    "deterministic": gettext_lazy("deterministic"),
    "variation": gettext_lazy("variation"),
    "hires": gettext_lazy("second pass"),
    "upscale": gettext_lazy("enlarged"),
    "cutout": gettext_lazy("cut out"),
    "control": gettext_lazy("control"),
    "ip_adapter": gettext_lazy("pictures as prompts"),
    "loras": gettext_lazy("LoRAs"),
    "mask_blur": gettext_lazy("mask blur"),
    "outpaint": gettext_lazy("outpainted"),
    "fit": gettext_lazy("fitted"),
    "prompt_syntax": gettext_lazy("weights written as"),
    "output_format": gettext_lazy("format"),
    "best_of": gettext_lazy("the best of"),
    "rank_by": gettext_lazy("best by"),
}


SCORES: Mapping[str, object] = {
    "clip_score_hessel": gettext_lazy("match after Hessel"),
    "clip_model": gettext_lazy("match by"),
}


def picture_context(request: HttpRequest, principal: Principal, image: GeneratedImage) -> dict[str, object]:
    images = visible_to(principal, GeneratedImage.objects.made_here())
    newer = images.filter(pk__gt=image.pk).order_by("pk").values_list("pk", flat=True).first()
    older = images.filter(pk__lt=image.pk).order_by("-pk").values_list("pk", flat=True).first()
    result: Any = image.job.result if image.job else None
    sources = sources_of(principal, image)
    return {
        "image": image,
        "newer": newer,
        "older": older,
        "may_change": principal.may(SUBMIT),
        "facts": facts_of(image),
        "scores": scores_of(image),
        "candidates": candidates_context(result),
        "sources": sources,
        "made_from": next((other.pk for role, other in sources if role == ImageSource.Role.IMAGE.label), None),
        "derived": list(only_shown(visible_to(principal, image.derived.all()))[:MOST_RELATED]),
        "siblings": siblings_of(principal, image),
        "snippets": snippets(image, request.build_absolute_uri("/").rstrip("/"), needs_key=any_key_exists()),
        "infotext": infotext(image.parameters, image.width, image.height) if image.is_generated else "",
        "tag_text": ", ".join(tag.name for tag in image.tags.all()),
    }


def find_picture(principal: Principal, pk: uuid.UUID) -> GeneratedImage | None:
    images = visible_to(principal, GeneratedImage.objects.select_related("file", "job"))
    return images.prefetch_related("tags").filter(pk=pk).first()


def facts_of(image: GeneratedImage) -> list[tuple[object, object]]:
    """Names with values, what matters most first; nothing that is at rest."""
    given = [(name, value) for name, value in image.parameters.items() if name not in NOT_REPEATED and says_something(value)]
    model = [(_("model"), image.model_id)] if image.model_id else []
    seed = [(_("seed"), image.seed)] if image.seed is not None else []
    size = [
        (_("size"), f"{image.width} × {image.height}"),
        (_("file"), file_text(image)),
    ]
    others = [(LABELS.get(name, name.replace("_", " ")), value_text(value)) for name, value in given]
    return [*model, *seed, *size, *others]


def file_text(image: GeneratedImage) -> str:
    size = number_format(image.file.size, force_grouping=True)
    return _("%(type)s, %(size)s bytes") % {"type": image.file.content_type, "size": size}


def value_text(value: object) -> str:
    return number_format(value) if isinstance(value, float) else readable(value)


def says_something(value: object) -> bool:
    return value not in (None, "", [], {}, False)


def scores_of(image: GeneratedImage) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for name, value in sorted(image.scores.items()):
        if name == "clip_cosine" and "clip_score" in image.scores:
            continue  # the same, on another scale
        if isinstance(value, int | float) and not isinstance(value, bool):
            shown = decimal_text(value * FACTORS.get(name, 1), 1)
            found.append((str(SCORES.get(name, SHOWN.get(name, name.replace("_", " ")))), shown))
        elif isinstance(value, str):
            found.append((str(SCORES.get(name, name.replace("_", " "))), value))
    return found


def sources_of(principal: Principal, image: GeneratedImage) -> list[tuple[str, GeneratedImage]]:
    links = image.source_links.select_related("source")
    visible = set(visible_to(principal, image.sources.all()).values_list("pk", flat=True))
    return [(link.get_role_display(), link.source) for link in links if link.source_id in visible]


def siblings_of(principal: Principal, image: GeneratedImage) -> Iterable[GeneratedImage]:
    """Others of the same request."""
    if image.job_id is None:
        return []
    others = visible_to(principal, GeneratedImage.objects.filter(job=image.job_id)).exclude(pk=image.pk)
    return list(only_shown(others).order_by("index")[:MOST_RELATED])


def only_shown(images: Any) -> Any:
    return images.order_by("pk").distinct().only("pk", "prompt", "origin", "width", "height")
