"""The catalog in use: entries of the TOML files, and of a source that is asked when an id is looked up."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from api.catalog.entries import CONTROLNET, IMAGE_ENCODER, AdapterEntry, EmbeddingEntry, ModelEntry
from api.catalog.lookup_errors import UnknownAdapter, UnknownEmbedding, UnknownEntry, UnknownModel, UnknownPart, nearest
from api.catalog.onnx_variants import names_onnx_variant, onnx_variant
from api.catalog.source import EntrySource, PartKind


def fits_model(control: ModelEntry, model: ModelEntry) -> bool:
    """Of a ControlNet or an IP-Adapter."""
    return control.base == model.id if control.base else control.family == model.family


@dataclass(frozen=True)
class Catalog:
    """The tables of the TOML files, which come first, and a `source` of more entries that is asked anew at each look-up."""

    models: dict[str, ModelEntry]
    adapters: dict[str, AdapterEntry]
    embeddings: dict[str, EmbeddingEntry] = field(default_factory=dict)
    source: EntrySource | None = None

    def get(self, model_id: str, tasks: Collection[str] = ()) -> ModelEntry:
        """The model of this id, alias or hub repository name; `id@onnx-int8` is a variant in ONNX. Raises UnknownModel, which proposes
        models of `tasks` alone, where some are named.
        """
        if entry := self.find_model(model_id):
            return entry
        plain, _, variant = model_id.partition("@")
        if names_onnx_variant(variant) or (variant and self.find_model(plain)):
            return onnx_variant(self.get(plain, tasks), variant)
        raise self._unknown(UnknownModel, model_id, self.models, tasks)

    def find_model(self, name: str) -> ModelEntry | None:
        """None where nothing has this name. Raises AmbiguousModel."""
        if name in self.models:
            return self.models[name]
        by_repo = next((entry for entry in self.models.values() if entry.repo == name), None)
        return by_repo or (self.source.find_model(name) if self.source else None)

    def adapter(self, name: str) -> AdapterEntry:
        """Raises UnknownAdapter."""
        entry = self.adapters.get(name) or (self.source.find_adapter(name) if self.source else None)
        if entry is None:
            raise self._unknown(UnknownAdapter, name, self.adapters)
        return entry

    def find_embedding(self, name: str) -> EmbeddingEntry | None:
        """None where nothing has this name: most words of a prompt. Raises AmbiguousEmbedding."""
        by_name = next((entry for entry in self.embeddings.values() if name in (entry.id, *entry.aliases)), None)
        return by_name or (self.source.find_embedding(name) if self.source else None)

    def embedding(self, name: str) -> EmbeddingEntry:
        """Raises UnknownEmbedding."""
        entry = self.find_embedding(name)
        if entry is None:
            raise self._unknown(UnknownEmbedding, name, self.embeddings)
        return entry

    def with_files(self, entry: ModelEntry) -> ModelEntry:
        """The entry with the parts that it names as paths of files. Raises UnknownPart, or AmbiguousPart for a name of several files."""
        vae = self._part("VAE", entry.vae) if entry.vae else ""
        text_encoders = tuple(self._part("text encoder", name) for name in entry.text_encoders)
        return dataclasses.replace(entry, vae=vae, text_encoders=text_encoders)

    def _part(self, kind: PartKind, name: str) -> str:
        if Path(name).is_file():
            return name
        file = self.source.find_part(kind, name) if self.source else None
        if file is not None:
            return str(file)
        near = self.source.similar(kind, name) if self.source else []
        raise UnknownPart(kind, name, near, self.source.why_not(name) if self.source else "")

    def of_task(self, task: str) -> list[ModelEntry]:
        known = [entry for entry in self.models.values() if entry.task == task]
        more = self.source.models(task) if self.source else []
        return known + [entry for entry in more if entry.id not in self.models]

    def controlnets_for(self, model: ModelEntry, kind: str) -> list[ModelEntry]:
        """Those that read maps of this kind, made for this very model before others of its family; of the library those whose names
        tell what they read.
        """
        offered = [entry for entry in self.of_task(CONTROLNET) if kind in entry.control and fits_model(entry, model)]
        return sorted(offered, key=lambda entry: not entry.base)

    def image_encoder_for(self, adapter: ModelEntry) -> ModelEntry | None:
        """What reads the pictures of an IP-Adapter, a file here before a download; None where there is none. Raises UnknownModel."""
        if adapter.image_encoder:
            return self.get(adapter.image_encoder)
        wanted = set(adapter.features)
        offered = self.of_task(IMAGE_ENCODER) if wanted else []
        found = [entry for entry in offered if wanted <= set(entry.features)]
        return min(found, key=lambda entry: entry.path is None, default=None)

    def with_precision(self, precision: str, tasks: Iterable[str]) -> Catalog:
        """The same, with this precision for the models of these tasks that name none."""
        models = {
            entry.id: dataclasses.replace(entry, precision=precision) if entry.task in tasks and not entry.precision else entry
            for entry in self.models.values()
        }
        return dataclasses.replace(self, models=models)

    def with_base(self, entry: ModelEntry) -> list[ModelEntry]:
        """All that is needed to use it: the model, and the one that it stands on."""
        return [entry, self.get(entry.base)] if entry.base else [entry]

    def adapters_for(self, model_id: str) -> list[AdapterEntry]:
        entry = self.get(model_id)
        more = self.source.adapters(entry.family) if self.source else []
        offered = [*self.adapters.values(), *(adapter for adapter in more if adapter.id not in self.adapters)]
        return [adapter for adapter in offered if adapter.fits(entry)]

    def embeddings_for(self, model_id: str) -> list[EmbeddingEntry]:
        family = self.get(model_id).family
        known = [entry for entry in self.embeddings.values() if entry.family == family]
        more = self.source.embeddings(family) if self.source else []
        return known + [entry for entry in more if entry.id not in self.embeddings]

    def _unknown(self, error: type[UnknownEntry], name: str, known: Iterable[str], tasks: Collection[str] = ()) -> UnknownEntry:
        known = [one for one in known if not tasks or self.models[one].task in tasks]
        more = self.source.similar(error.kind, name) if self.source else []
        reason = self.source.why_not(name) if self.source else ""
        fitting = [one for one in more if not tasks or self.has_task(one, tasks)]
        return error(name, list(dict.fromkeys([*nearest(name, known), *fitting]))[:3], reason)

    def has_task(self, name: str, tasks: Collection[str]) -> bool:
        entry = self.find_model(name)
        return entry is not None and entry.task in tasks
