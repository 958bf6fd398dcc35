"""What a pass makes a GPU wait for: on the device "meta", where nothing has a value, a read can't hide, and each copy is seen."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only

from api.images.backends.engine.conditioning import Guide
from api.images.backends.engine.image_attention import ImagePrompt, cross_attentions
from api.images.backends.engine.new_rows import make_row
from api.images.backends.engine.passes import advance_by_scheduler, advance_by_tables, join, predict
from api.images.backends.engine.rows import Row
from api.images.backends.engine.tasks import Task
from api.images.backends.local import generate
from api.images.scheduler_presets import SCHEDULER_NAMES
from api.model_loader import ModelLoader
from tests.backends.recorder import Recorder, request
from tests.backends.test_engine_equality import Hooks

META = torch.device("meta")
DRAW_NOISE = {
    *("euler_a", "euler_a_trailing", "dpm2_a", "dpm2_a_karras", "dpmpp_sde", "dpmpp_sde_karras"),
    *("dpmpp_2m_sde", "dpmpp_2m_sde_karras", "ddpm", "lcm", "tcd"),
}
"""Schedulers whose step adds noise: it is drawn on the CPU and copied to the device."""
COPY_COEFFICIENTS = {"unipc", "unipc_karras"}
"""Their step puts a few numbers into tensors on the device. The other schedulers copy nothing."""


class Audit(TorchDispatchMode):
    """Refuses to read from the device; notes copies between it and the host, and operations on the host."""

    def __init__(self) -> None:
        super().__init__()
        self.copies: list[str] = []
        self.on_host: list[str] = []
        self.operations = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), options: Any = None) -> Any:
        given = [leaf for leaf in tree_flatten((args, options or {}))[0] if isinstance(leaf, torch.Tensor)]
        name = function.overloadpacket.__name__
        if name in ("_local_scalar_dense", "item", "is_nonzero", "equal") and any(one.device == META for one in given):
            raise AssertionError(f"{name} reads from the device")
        result = function(*args, **(options or {}))
        made = [leaf for leaf in tree_flatten(result)[0] if isinstance(leaf, torch.Tensor)]
        devices = {tensor.device for tensor in (*given, *made)}
        self.operations += 1
        if name in ("_to_copy", "copy_", "copy") and len(devices) > 1:
            if given[1 if name == "copy_" else 0].device == META:
                raise AssertionError(f"{name} copies from the device")
            self.copies.append(name)
        elif torch.device("cpu") in devices:
            self.on_host.append(name)
        return result


def on_device(guide: Guide | None) -> Any:
    return guide and Guide(*(part if part is None else part.to(META) for part in (guide.embeds, guide.pooled, guide.sizes)))


def meta_row(loader: ModelLoader, model: str, *, by_table: bool = False, **fields: Any) -> Row:
    """As `make_row` makes it, its tensors for the device on "meta"."""
    with loader.use(model, "text-to-image") as lease:
        task = Task(request(model_id=model, steps=4, **fields), Hooks(), lambda number, picture: None)
        row = make_row(lease, task, 0, by_table=by_table)
    told = row.conditioning
    row.conditioning = replace(
        told,
        positive=on_device(told.positive),
        negative=on_device(told.negative),
        scale=told.scale.to(META),
        parts=tuple(replace(part, guide=on_device(part.guide), scale=part.scale.to(META)) for part in told.parts),
    )
    row.latents, row.device_timesteps = row.latents.to(META), tuple(one.to(META) for one in row.device_timesteps)
    return row


@contextmanager
def audited_forward(module: torch.nn.Module, audit: Audit) -> Iterator[None]:
    forward = module.forward

    def run(*args: Any, **options: Any) -> Any:
        with audit:
            return forward(*args, **options)

    module.forward = run
    try:
        yield
    finally:
        del module.forward


@pytest.mark.parametrize("model", ["sd1", "sdxl"])
@torch.no_grad()
def test_a_unet_pass_runs_on_the_device_alone(loader: ModelLoader, model: str) -> None:
    rows = [meta_row(loader, model, guidance_scale=scale, scheduler=name) for scale, name in ((5.0, "euler"), (1.0, "lms"))]
    with loader.use(model, "text-to-image") as lease:
        unet = copy.deepcopy(lease.pipeline.unet).to(META)
    inside, around = Audit(), Audit()
    with audited_forward(unet, inside), around:
        output = predict(unet, rows, join(rows, unet.dtype))
    assert output.shape == (2, *rows[0].latents.shape[1:])
    assert inside.operations > 100
    assert (inside.on_host, inside.copies, around.copies) == ([], [], [])


@pytest.mark.parametrize("model", ["sd1", "sdxl"])
@torch.no_grad()
def test_a_pass_with_image_prompts_and_composed_prompts_runs_there_too(loader: ModelLoader, model: str) -> None:
    composed = {"prompt": "a AND b :0.5", "prompt_syntax": "a1111"}
    rows = [
        meta_row(loader, model, guidance_scale=scale, **fields) for scale, fields in ((5.0, composed), (5.0, {}), (1.0, {}))
    ]
    with loader.use(model, "text-to-image") as lease:
        unet = copy.deepcopy(lease.pipeline.unet).to(META)
    pairs = [(torch.empty(1, 4, layer.inner_dim, device=META),) * 2 for layer in cross_attentions(unet)]
    rows[1].image_prompts = (ImagePrompt(torch.empty(1, 1, 1, device=META), pairs, pairs),)
    inside, around = Audit(), Audit()
    with audited_forward(unet, inside), around:
        output = predict(unet, rows, join(rows, unet.dtype))
    assert output.shape == (3, *rows[0].latents.shape[1:])
    assert (inside.on_host, inside.copies, around.copies) == ([], [], [])


@pytest.mark.parametrize("model", ["sd3", "flux"])
@torch.no_grad()
def test_a_transformer_s_pass_runs_on_the_device_alone(loader: ModelLoader, model: str) -> None:
    inputs: list[Any] = []
    with loader.use(model, "text-to-image") as lease:
        transformer = lease.pipeline.transformer
        on_meta = copy.deepcopy(transformer).to(META)
    handle = transformer.register_forward_pre_hook(lambda _, *given: inputs.append(given), with_kwargs=True)
    generate(loader, [request(model_id=model, steps=1)], Recorder())
    handle.remove()
    args, options = tree_map_only(torch.Tensor, lambda tensor: tensor.to(META), inputs[0])
    with Audit() as audit:
        on_meta(*args, **options)
    assert audit.operations > 100
    assert (audit.on_host, audit.copies) == ([], [])


@pytest.mark.parametrize("name", [None, *SCHEDULER_NAMES])
@torch.no_grad()
def test_no_scheduler_s_step_reads_from_the_device_and_few_copy_to_it(loader: ModelLoader, name: str | None) -> None:
    row, audit = meta_row(loader, "sd1", scheduler=name), Audit()
    with audit:
        while not row.is_done:
            advance_by_scheduler(row, torch.empty_like(row.latents))
    assert bool(audit.copies) == (name in DRAW_NOISE | COPY_COEFFICIENTS)


@pytest.mark.parametrize("name", [None, *SCHEDULER_NAMES])
@torch.no_grad()
def test_a_step_by_coefficient_tables_copies_nothing_but_noise(loader: ModelLoader, name: str | None) -> None:
    rows, audit = [meta_row(loader, "sd1", scheduler=name, by_table=True) for _ in range(2)], Audit()
    assert all(row.table_row for row in rows)
    with audit:
        while not rows[0].is_done:
            advance_by_tables(rows, torch.empty(2, *rows[0].latents.shape[1:], device=META))
    assert bool(audit.copies) == (name in DRAW_NOISE)
    assert len(audit.copies) <= len(rows[0].timesteps)  # one for all rows
