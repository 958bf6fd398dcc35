"""From a request's image prompts to what they add to each cross-attention (IP-Adapter, arXiv:2308.06721).  [torch]

An adapter's keys and values depend on the picture alone, not on the step. So they are made once for a request, and neither the adapter
nor what reads its pictures is needed afterwards: rows with other adapters, or none, share their passes (image_attention.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from api.catalog import IMAGE_ENCODER, IP_ADAPTER, ModelEntry
from api.errors import DarkroomError
from api.images.backends.engine.conditioning import is_guided
from api.images.backends.engine.image_attention import ImagePrompt, cross_attentions
from api.images.backends.engine.tasks import Task
from api.images.backends.frames import flatten
from api.loading.ip_adapters import IPAdapter
from api.model_loader import Lease, ModelLoader

OnLoad = Callable[[float, str], None]


def make_image_prompts(loader: ModelLoader, lease: Lease, task: Task, on_load: OnLoad) -> tuple[ImagePrompt, ...]:
    """Of a request; all of its rows have the same. Raises DarkroomError (ip_adapter_mismatch, 400), and what loading raises."""
    if task.image_prompts is None:
        task.image_prompts = tuple(
            make_image_prompt(loader, lease, task, number, on_load)
            for number, use in enumerate(task.request.spec.ip_adapter)
            if use.weight
        )
    return task.image_prompts


def make_image_prompt(loader: ModelLoader, lease: Lease, task: Task, number: int, on_load: OnLoad) -> ImagePrompt:
    unet, guided = lease.pipeline.unet, is_guided(lease.pipeline, task.request.spec)
    use, picture = task.request.spec.ip_adapter[number], flatten(task.request.image_prompts[number])
    with loader.use(use.model_id, IP_ADAPTER, on_load) as adapter_lease:
        adapter: IPAdapter = adapter_lease.pipeline
        check_fit(adapter, adapter_lease.entry, lease, number)
        if adapter.encoder is not None:
            read = adapter.encoder.read(picture, states=adapter.reads_states, guided=guided)
        else:
            with loader.use(encoder_of(loader, adapter_lease.entry).id, IMAGE_ENCODER, on_load) as encoder_lease:
                encoder = encoder_lease.pipeline
                check_features(adapter, adapter_lease.entry, encoder.features, encoder_lease.entry)
                read = encoder.read(picture, states=adapter.reads_states, guided=guided)
        pairs = adapter.project(read)
    device = lease.pipeline._execution_device
    pairs = [(key.to(device, unet.dtype), value.to(device, unet.dtype)) for key, value in pairs]
    return ImagePrompt(
        weight=torch.full((1, 1, 1), use.weight, dtype=unet.dtype, device=device),
        positive=[(key[-1:], value[-1:]) for key, value in pairs],
        negative=[(key[:1], value[:1]) for key, value in pairs] if guided else None,
    )


def encoder_of(loader: ModelLoader, adapter: ModelEntry) -> ModelEntry:
    entry = loader.catalog.image_encoder_for(adapter)
    if entry is None:
        detail = f"{adapter.name} needs an image encoder that makes {' '.join(adapter.features) or 'what it reads'}; there is none here."
        raise DarkroomError("no_image_encoder", 400, detail, field="ip_adapter")
    return entry


def check_fit(adapter: IPAdapter, entry: ModelEntry, lease: Lease, number: int) -> None:
    """By the sizes of both: a family has members of several."""
    wanted = [(layer.inner_dim, layer.cross_attention_dim) for layer in cross_attentions(lease.pipeline.unet)]
    if adapter.layer_shapes != wanted:
        detail = f"ip_adapter[{number}]: {entry.name} is an IP-Adapter for networks of other sizes than {lease.entry.name}."
        raise DarkroomError("ip_adapter_mismatch", 400, detail, field=f"ip_adapter.{number}.model_id")


def check_features(adapter: IPAdapter, entry: ModelEntry, features: Sequence[str], encoder: ModelEntry) -> None:
    if adapter.features not in features:
        detail = f"{entry.name} reads {adapter.features}, and {encoder.name} makes {' and '.join(features)}."
        raise DarkroomError("image_encoder_mismatch", 422, detail)
