"""The files of models that lie in the folders of LIBRARY_DIRS."""

import hashlib
import json
import os
from pathlib import Path
from typing import Self

from django.db import models
from django.db.models.functions import Now

from api.catalog import CONTROLNET, IMAGE_ENCODER, IP_ADAPTER, UPSCALING

LONGEST_ID = 100
ENDING = ".darkroom.json"
IN_FOLDER = "darkroom.json"
"""What holds the owner's settings of a file, and of a folder."""
AUTOV2_DIGITS, AUTOV3_DIGITS = 10, 12


class Kind(models.TextChoices):
    """As api/model_files tells them apart."""

    CHECKPOINT = "checkpoint", "checkpoint"
    DENOISER = "denoiser", "denoiser"
    LORA = "lora", "LoRA"
    EMBEDDING = "embedding", "embedding"
    VAE = "vae", "VAE"
    TEXT_ENCODER = "text_encoder", "text encoder"
    CONTROLNET = "controlnet", "ControlNet"
    IP_ADAPTER = "ip_adapter", "IP-Adapter"
    IMAGE_ENCODER = "image_encoder", "image encoder"
    UPSCALER = "upscaler", "upscaler"
    UNKNOWN = "unknown", "unknown"


MODEL_KINDS = (Kind.CHECKPOINT, Kind.DENOISER)
"""What makes pictures."""
"""What a request may name as its model."""
TASKS = {
    Kind.CONTROLNET: CONTROLNET,
    Kind.UPSCALER: UPSCALING,
    Kind.IP_ADAPTER: IP_ADAPTER,
    Kind.IMAGE_ENCODER: IMAGE_ENCODER,
}
"""Of the kinds besides MODEL_KINDS that are loaded as models, as a catalog's entry has it."""
LOADED_KINDS = (*MODEL_KINDS, *TASKS)
"""What a request names by an id of a model."""


class LibraryFileQuerySet(models.QuerySet["LibraryFile"]):
    def present(self) -> Self:
        return self.filter(missing_since__isnull=True)

    def usable(self) -> Self:
        return self.present().filter(reason="")

    def unhashed(self) -> Self:
        return self.present().filter(sha256="", is_folder=False).exclude(reason_kind=LibraryFile.ReasonKind.UNREADABLE)


class LibraryFile(models.Model):
    """One file of weights, or one folder in diffusers' layout.

    A file that vanishes keeps its row for a while, marked by `missing_since`: a disk that was not mounted comes back with the same ids
    and hashes, and a request that names the file is told what became of it.
    """

    class ReasonKind(models.TextChoices):
        NONE = ""
        UNREADABLE = "unreadable"
        PICKLE = "pickle"
        UNSUPPORTED = "unsupported"

    entry_id = models.CharField("id", max_length=LONGEST_ID, unique=True)
    path = models.TextField()
    path_key = models.CharField(max_length=32, unique=True)
    root = models.TextField("folder", help_text="Of LIBRARY_DIRS, or what its extra_model_paths.yaml names.")
    file_name = models.CharField(max_length=255, db_index=True)
    stem = models.CharField(max_length=255, db_index=True)
    is_folder = models.BooleanField(default=False)
    size = models.PositiveBigIntegerField(help_text="Bytes.")
    mtime_ns = models.BigIntegerField()
    stamp = models.CharField(max_length=40, help_text="Of what lies beside it, and of the version that told what it is.")

    name = models.CharField(max_length=300)
    kind = models.CharField(max_length=16, choices=Kind)
    family = models.CharField(max_length=40, blank=True)
    variant = models.CharField(max_length=40, blank=True)
    prediction = models.CharField(max_length=20, blank=True)
    zero_terminal_snr = models.BooleanField(default=False)
    precision = models.CharField(max_length=20, blank=True)
    few_step = models.CharField(max_length=20, blank=True)
    trigger_words = models.JSONField(default=list, blank=True)
    lacks = models.JSONField(default=list, blank=True, help_text="Parts that a checkpoint doesn't have.")
    parameters = models.PositiveBigIntegerField(default=0)
    licence = models.CharField(max_length=200, blank=True)
    own_settings = models.JSONField(
        default=dict, db_default={}, blank=True, help_text="Of the catalog's keys, what NAME.darkroom.json beside it says."
    )
    preview = models.TextField(blank=True, help_text="The name of the picture beside it.")
    vae = models.TextField(blank=True, help_text="The name of the VAE beside it.")
    reason = models.TextField("why not", blank=True, help_text="Why it can't be used; empty where it can.")
    reason_kind = models.CharField(max_length=12, choices=ReasonKind, blank=True)

    sha256 = models.CharField(max_length=64, blank=True, db_index=True)
    content_sha256 = models.CharField(max_length=64, blank=True, help_text="Of the tensors alone, without the header.")
    short_hash = models.CharField(max_length=8, blank=True, help_text="A1111's first form, of a part of the file.")
    stated_sha256 = models.CharField(max_length=64, blank=True, help_text="What the file beside it says.")

    found_at = models.DateTimeField(db_default=Now())
    missing_since = models.DateTimeField(null=True, blank=True)

    objects = LibraryFileQuerySet.as_manager()

    class Meta:
        ordering = ["kind", "family", "name"]  # as the index has them: a list reads no row that it does not show
        verbose_name = "model file"
        indexes = [models.Index(fields=["kind", "family", "name"], name="library_kind_family")]

    def __str__(self) -> str:
        return self.name

    @property
    def relative_path(self) -> str:
        return os.path.relpath(self.path, self.root)

    @property
    def autov2(self) -> str:
        return self.sha256[:AUTOV2_DIGITS]

    @property
    def autov3(self) -> str:
        return self.content_sha256[:AUTOV3_DIGITS]

    @property
    def is_usable(self) -> bool:
        return not self.reason and self.missing_since is None

    @property
    def why_not(self) -> str:
        """A sentence; "" for what can be used."""
        return f"The file {self.file_name} is not there any more." if self.missing_since else self.reason

    @property
    def name_of_settings(self) -> str:
        """Of the file that its owner may write."""
        return IN_FOLDER if self.is_folder else os.path.splitext(self.file_name)[0] + ENDING

    def stated_settings(self) -> list[tuple[str, str]]:
        """Keys, and values as JSON."""
        return [(key, json.dumps(value, ensure_ascii=False)) for key, value in self.own_settings.items()]

    def beside(self, name: str) -> Path:
        return Path(self.path).parent / name


def path_key(path: str) -> str:
    """A path may be longer than what an index takes."""
    return hashlib.blake2b(path.encode(), digest_size=16).hexdigest()
