"""What a request for pictures may say, and what it comes to once everything left open is decided."""

import math
import secrets
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from django.conf import settings
from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from api.access.principals import Principal, visible_to
from api.catalog import AdapterEntry, ModelEntry, UnknownAdapter, UnknownModel
from api.files.fields import by_content, by_id
from api.files.models import StoredFile
from api.images.best_of import check_best_of
from api.images.control.serializers import choose_controlnets
from api.images.cutout_fields import check_cutout, decide_cutout
from api.images.edit_requests import check_edits, default_strength, describe_coarseness, describe_crop, working_size
from api.images.enlarging_fields import check_enlarging, decide_enlarging
from api.images.family_names import describe_misfit
from api.images.ip_adapter.serializers import choose_ip_adapters
from api.images.models import GeneratedImage, ImageSource
from api.images.presets.applying import AppliedPreset, find_preset
from api.images.prompt_requests import LENIENT, read_request, unknown_lora
from api.images.prompt_syntax.syntaxes import COMPEL
from api.images.ranking import DEFAULT
from api.images.repeated_loras import add_up, refuse_repeated
from api.images.scheduler_presets import SCHEDULERS, most_steps
from api.images.seeds import LARGEST_SEED
from api.images.spec import LONGEST_TAG, MOST_KNOWN, MOST_TAGS, TEXT_TO_IMAGE, Img2ImgSpec, LoraUse, Txt2ImgSpec
from api.images.variations import read_variation
from api.jobs.api.submission import Submission
from api.jobs.api.webhook_field import JobRequest
from api.spec_serializers import SpecSerializer
from api.specs import fields_of
from api.strict import StrictSerializer
from config.catalog import get_catalog


class LoraSerializer(SpecSerializer):
    spec = LoraUse


class Txt2ImgSerializer(JobRequest):
    spec: ClassVar[type[Txt2ImgSpec]] = Txt2ImgSpec

    priority = serializers.IntegerField(
        default=0,
        min_value=-100,
        max_value=100,
        help_text="Of your own jobs those of the highest go first; above 0, before everybody's with a key of the scope `priority`.",
    )

    preset_in_use: AppliedPreset | None = None
    sent: Mapping[str, Any] = MappingProxyType({})
    """What the client itself said."""

    def complete(self, data: dict[str, Any]) -> dict[str, Any]:
        principal = self.principal
        if data.get("prompt", "") is None and (data.get("preset") or data.get("variation")):  # which may have one
            data = {name: value for name, value in data.items() if name != "prompt"}
        self.sent, self.preset_in_use = data, find_preset(data, principal.owner_key if principal else None)
        if self.preset_in_use is not None:
            data = self.preset_in_use.apply(data, self.fields, self.read_value)
        pictures = GeneratedImage.objects.all()
        data = read_variation(data, visible_to(principal, pictures) if principal else pictures.none(), self.fields)
        prompt: Any = self.fields["prompt"]
        prompt.allow_blank = self.is_lenient(data)
        return data

    def is_lenient(self, data: Mapping[str, Any]) -> bool:
        """What is no boolean is left for its field to refuse."""
        try:
            return bool(self.fields[LENIENT].run_validation(data.get(LENIENT) or False))
        except ValidationError:
            return False

    def read_value(self, name: str, value: object) -> object:
        """What the value of one field means, with its defaults filled in. Raises ValidationError."""
        read = self.fields[name].run_validation(value)
        check = getattr(self, f"validate_{name}", None)
        if check is not None and read is not None:
            read = check(read)
        if name == "loras":
            return [describe_lora(lora) for lora in read]
        if name == "hires" and read and self.preset_in_use is not None:
            read = {**read, "steps": read.get("steps") or self.first_steps()}
        return decide_finish({name: read}).get(name, read)

    def first_steps(self) -> int:
        """Of the first pass, by what the client and its preset say. Raises ValidationError."""
        said = {**(self.preset_in_use.request if self.preset_in_use else {}), **self.sent}
        known: dict[str, Any] = {
            name: self.read_value(name, said[name]) for name in ("model_id", "scheduler", "steps") if said.get(name) is not None
        }
        self.entry = find_default(known.get("model_id"))
        return self.steps_of(known)

    @property
    def principal(self) -> Principal | None:
        """None where nobody sent the request."""
        request = self.context.get("request")
        return self.context.get("principal") or (request.auth if request is not None else None)

    def run_validation(self, data: Any = serializers.empty) -> Any:
        try:
            return super().run_validation(data)
        except ValidationError as error:
            if self.preset_in_use is not None:
                error.detail = self.preset_in_use.describe_errors(error.detail, self.sent)
            raise

    def validate_prompt(self, value: str) -> str:
        return value.strip()

    def validate_model_id(self, value: str) -> str:
        try:
            entry = get_catalog().get(value, (TEXT_TO_IMAGE,))
        except UnknownModel as error:
            known = "" if error.nearest or error.reason else known_models()
            raise ValidationError(f"{error}{known}", code="unknown_model") from None
        if entry.task != TEXT_TO_IMAGE:
            raise ValidationError(f"'{value}' makes no pictures (its task is {entry.task}).{known_models()}", code="wrong_task")
        return entry.id

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        self.entry = find_default(data.get("model_id"))
        scheduler = data.get("scheduler") or self.entry.scheduler or None
        if scheduler and not SCHEDULERS[scheduler].fits(self.entry.family):
            raise ValidationError(
                {"scheduler": [f"'{scheduler}' does not work with {self.entry.name}."]}, code="unfit_scheduler"
            )
        if (data.get("steps") or 1) > most_steps(scheduler):
            raise ValidationError(
                {"steps": [f"'{scheduler}' takes at most {most_steps(scheduler)} steps."]}, code="too_many_steps"
            )
        own = len(data["loras"])
        self.prompt_warnings = read_request(data, default_syntax(), self.entry, lenient=bool(data.get(LENIENT)))
        self.check_loras(data["loras"])
        refuse_repeated(data["loras"][:own])
        data["loras"], added = add_up(data["loras"])
        self.prompt_warnings += added
        choose_controlnets(data.get("control", []), self.entry, has_source="image" in data)
        choose_ip_adapters(data.get("ip_adapter", []), self.entry)
        check_best_of(data)
        check_edits(data, self.entry)
        check_seeds(data)
        check_cutout(data)
        check_enlarging(data, self.entry, self.size_of(data), self.steps_of(data))
        if not settings.USE_LOCAL_MODELS:
            self.refuse_remote(data)
        return data

    def check_loras(self, loras: list[dict[str, Any]]) -> None:
        errors = [lora_error(lora["id"], self.entry) for lora in loras]
        if any(errors):
            raise ValidationError({"loras": [{"id": [error]} if error else {} for error in errors]}, code="unknown_lora")
        for lora in loras:
            lora["id"] = get_catalog().adapter(lora["id"]).id  # a file may be named by an alias

    def refuse_remote(self, data: dict[str, Any]) -> None:
        """What a hosted model can't do is an error here, not silence."""
        if self.entry.repo is None and not settings.HF_INFERENCE_ENDPOINT:
            raise ValidationError(
                {"model_id": [f"{self.entry.name} is only on this server, and USE_LOCAL_MODELS is off."]}, code="not_remote"
            )
        wanted = [
            one.name
            for one in fields_of(self.spec)
            if one.rule.local_only and one.name in data and one.is_in_use(data[one.name])
        ]
        if wanted:
            detail = "Not possible while USE_LOCAL_MODELS is off."
            raise ValidationError({name: [detail] for name in wanted}, code="not_remote")

    def resolve(self) -> Submission:
        data = dict(self.validated_data)
        spec = self.spec.from_json({**by_id(data), **self.decide(data)})
        asked = data if self.preset_in_use is None else self.asked(data)
        return Submission(spec, priority=data["priority"], fingerprint=by_content(asked), warnings=tuple(self.prompt_warnings))

    def asked(self, data: dict[str, Any]) -> dict[str, Any]:
        """What the client sent, with files in the place of pictures: the same request, whatever its preset says meanwhile."""
        return {name: data[name] if isinstance(data.get(name), StoredFile) else value for name, value in self.sent.items()}

    def decide(self, data: dict[str, Any]) -> dict[str, Any]:
        """What the client left open."""
        entry = self.entry
        width, height = self.size_of(data)
        guidance = data.get("guidance_scale")
        scheduler = data.get("scheduler") or entry.scheduler or None
        return {
            "model_id": entry.id,
            "width": width,
            "height": height,
            "scheduler": scheduler,
            "steps": self.steps_of(data),
            "guidance_scale": entry.default_guidance_scale if guidance is None else guidance,
            "seed": data["seed"] if "seed" in data else secrets.randbelow(2**32),
            "rank_by": data.get("rank_by", DEFAULT if data.get("best_of") else None),
            **decide_finish(data),
        }

    def size_of(self, data: dict[str, Any]) -> tuple[int, int]:
        width, height = self.default_sides(data)
        return data.get("width") or width, data.get("height") or height

    def steps_of(self, data: dict[str, Any]) -> int:
        """A dialect may ask for a multiple of the model's usual steps (`steps_factor` of the context)."""
        most = most_steps(data.get("scheduler") or self.entry.scheduler or None)
        usual = math.ceil(self.entry.default_steps * self.context.get("steps_factor", 1))
        return data.get("steps") or min(usual, most)

    def default_sides(self, data: dict[str, Any]) -> tuple[int, int]:
        return self.entry.default_size, self.entry.default_size


class Img2ImgSerializer(Txt2ImgSerializer):
    spec = Img2ImgSpec

    def default_sides(self, data: dict[str, Any]) -> tuple[int, int]:
        return working_size(data, self.entry)

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        data = super().validate(data)
        if "image" in data:  # a preset has none
            size = self.size_of(data)
            self.prompt_warnings += [*describe_crop(data, size), *describe_coarseness(data, size)]
        return data

    def decide(self, data: dict[str, Any]) -> dict[str, Any]:
        return {**super().decide(data), "strength": data.get("strength", default_strength(data))}


def decide_finish(data: dict[str, Any]) -> dict[str, Any]:
    """What is done with the pictures that are kept."""
    return {**decide_enlarging(data), **decide_cutout(data)}


def default_syntax() -> str:
    """A hosted model is sent the words as they stand."""
    return settings.PROMPT_SYNTAX if settings.USE_LOCAL_MODELS else COMPEL


def check_seeds(data: dict[str, Any]) -> None:
    """Every picture has a seed of its own, and all of them are in the range."""
    largest = LARGEST_SEED + 1 - (data.get("best_of") or data["num_images"])
    if data.get("seed", 0) > largest:
        detail = f"With so many pictures it must be from 0 to {largest}: image i uses seed + i, up to {LARGEST_SEED}."
        raise ValidationError({"seed": [detail]}, code="max_value")


def known_models() -> str:
    known = [entry.id for entry in get_catalog().of_task(TEXT_TO_IMAGE)]
    return f" Known: {', '.join(known[:MOST_KNOWN])}{' and more' if len(known) > MOST_KNOWN else ''}."


def find_default(model_id: str | None) -> ModelEntry:
    return get_catalog().get(model_id or settings.DEFAULT_IMAGE_MODEL)


def describe_lora(lora: dict[str, Any]) -> tuple[str, tuple[float, float]]:
    """Its id in the catalog and its strengths. Raises ValidationError."""
    try:
        return get_catalog().adapter(lora["id"]).id, LoraUse(**lora).strengths
    except UnknownAdapter as error:
        raise ValidationError(str(error), code="unknown_lora") from None


def lora_error(adapter_id: str, entry: ModelEntry) -> str:
    try:
        adapter: AdapterEntry = get_catalog().adapter(adapter_id)
    except UnknownAdapter as error:
        return unknown_lora(error, entry)
    return "" if adapter.fits(entry) else describe_misfit(adapter, entry)


# ---------------------------------------------------------------- what is read


class GenerationText(serializers.CharField):
    """A text of the request that made the picture; null where no prompt made it."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(read_only=True, allow_null=True, **kwargs)

    def get_attribute(self, image: GeneratedImage) -> str | None:
        return super().get_attribute(image) if image.is_generated else None  # type: ignore[no-any-return]


class ImageSourceSerializer(serializers.ModelSerializer[ImageSource]):
    id = serializers.UUIDField(source="source_id", read_only=True)

    class Meta:
        model = ImageSource
        fields = ("id", "role")


class GeneratedImageSerializer(serializers.ModelSerializer[GeneratedImage]):
    id = serializers.UUIDField(source="pk", read_only=True)
    job = serializers.UUIDField(source="job_id", read_only=True, allow_null=True)
    source = serializers.UUIDField(
        source="source_id",
        read_only=True,
        allow_null=True,
        help_text="The first of `sources`.",  # type: ignore[assignment]
    )
    sources = ImageSourceSerializer(source="source_links", many=True, read_only=True)
    model_id = GenerationText()
    prompt = GenerationText()
    negative_prompt = GenerationText()
    scheduler = GenerationText()
    expires_at = serializers.DateTimeField(
        source="file.expires_at",
        read_only=True,
        allow_null=True,
        help_text="Of an upload: it may go then, if nothing refers to it.",
    )
    tags = serializers.SerializerMethodField()
    url = serializers.SerializerMethodField()
    thumbnail_url = serializers.SerializerMethodField()

    class Meta:
        model = GeneratedImage
        fields = (
            "id", "origin", "job", "index", "source", "sources", "url", "thumbnail_url", "model_id", "prompt", "negative_prompt",
            "seed", "steps", "guidance_scale", "scheduler", "strength", "width", "height", "parameters", "rank", "scores",
            "clip_score", "rating", "favourite", "tags", "created_at", "expires_at",
        )  # fmt: skip
        read_only_fields = fields

    def get_tags(self, image: GeneratedImage) -> list[str]:
        return [tag.name for tag in image.tags.all()]

    def get_url(self, image: GeneratedImage) -> str:
        return self.context["request"].build_absolute_uri(f"/api/images/{image.pk}/file/")

    def get_thumbnail_url(self, image: GeneratedImage) -> str:
        return self.context["request"].build_absolute_uri(f"/api/images/{image.pk}/thumbnail/")


class ImagePatchSerializer(StrictSerializer):
    """What people say of a picture."""

    rating = serializers.IntegerField(required=False, allow_null=True, min_value=1, max_value=5)
    favourite = serializers.BooleanField(required=False)
    tags = serializers.ListField(child=serializers.CharField(max_length=LONGEST_TAG), required=False, max_length=MOST_TAGS)
