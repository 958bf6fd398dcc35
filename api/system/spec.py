"""What is asked of the jobs that load and unload models. See api/specs.py."""

from __future__ import annotations

from dataclasses import dataclass

from api.specs import Spec, param

ALL_WORKERS = "all"


@dataclass(frozen=True, kw_only=True)
class ModelSpec(Spec):
    """A model of the catalog: the address names it."""

    model_id: str = param(decided=True, max_length=200, help="The model of the address; may be left out.")
    worker: str | None = param(
        default=None,
        omitted=True,
        max_length=36,
        help="The id of the worker that it is for (`workers` of /api/status/); `all`: every worker that loads models; "
        "null: whichever is free first.",
    )

    @property
    def history_model(self) -> str:
        return self.model_id


@dataclass(frozen=True, kw_only=True)
class LoadModelSpec(ModelSpec):
    kind = "load_model"


@dataclass(frozen=True, kw_only=True)
class UnloadModelSpec(ModelSpec):
    kind = "unload_model"
