"""ControlNets in the loop (Zhang et al., arXiv:2302.05543): for each row its own maps, weights and windows.  [torch]"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from api.catalog import CONTROLNET
from api.catalog.control_kinds import UNION_TYPES, union_kinds
from api.errors import DarkroomError
from api.images.backends.control_inputs import control_map
from api.images.backends.engine.graph_cache import graphed
from api.images.backends.engine.tasks import Task
from api.images.control.use import ControlUse, kind_of
from api.model_loader import Lease, ModelLoader

Residuals = tuple[list[torch.Tensor], torch.Tensor]
"""What is added to the UNet's skip connections, and to its middle."""
Pick = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True, eq=False)
class RowControl:
    """One control map of a row."""

    use: ControlUse
    picture: torch.Tensor
    """(1, 3, height, width) in 0..1, on the device."""
    weight: torch.Tensor
    """(1, 1, 1, 1) in fp32 on the device."""
    type_number: int | None = None
    """What a ControlNet Union calls this kind of map; None: it reads one kind."""


class ControlNets:
    """Those that the engine's requests name, each leased from its first use until no request names it any more."""

    def __init__(self, loader: ModelLoader, on_load: Callable[[float, str], None]) -> None:
        self._loader, self._on_load = loader, on_load
        self._leases: dict[str, tuple[Lease, ExitStack]] = {}

    def take(self, model_id: str) -> Lease:
        """Raises what the loader raises."""
        if model_id not in self._leases:
            with ExitStack() as stack:
                lease = stack.enter_context(self._loader.use(model_id, CONTROLNET, self._on_load))
                self._leases[model_id] = lease, stack.pop_all()
        return self._leases[model_id][0]

    @contextmanager
    def running(self, model_ids: Collection[str]) -> Iterator[dict[str, Any]]:
        """The networks by their ids; inside they run as CUDA graphs, as the UNet does."""
        with ExitStack() as stack:
            leases = {model_id: self.take(model_id) for model_id in model_ids}
            for lease in leases.values():
                if types_of(lease.pipeline) == 0:  # a graph has no lists among its inputs
                    stack.enter_context(graphed(lease, lease.pipeline, pads_rows=True))
            yield {model_id: lease.pipeline for model_id, lease in leases.items()}

    def keep(self, model_ids: Collection[str]) -> None:
        """Let go of the others."""
        for model_id in self._leases.keys() - model_ids:
            self._leases.pop(model_id)[1].close()

    def release(self) -> None:
        self.keep(())


def make_controls(lease: Lease, task: Task, controlnets: ControlNets) -> tuple[RowControl, ...]:
    """Of a row. Raises DarkroomError (control_mismatch, 400), and what loading a ControlNet raises."""
    spec, pipeline = task.request.spec, lease.pipeline
    device = pipeline._execution_device
    made = []
    for number, use in enumerate(spec.control):
        if not use.weight:
            continue
        control = controlnets.take(use.model_id)
        check_fit(control, pipeline, lease, number)
        type_number = type_of(number, use, control)
        if number not in task.maps:
            picture = pipeline.image_processor.pil_to_numpy(control_map(task.request, number))
            task.maps[number] = torch.from_numpy(picture).permute(0, 3, 1, 2).contiguous().to(device)
        weight = torch.full((1, 1, 1, 1), use.weight, dtype=torch.float32, device=device)
        made.append(RowControl(use, task.maps[number], weight, type_number))
    return tuple(made)


def check_fit(control: Lease, pipeline: Any, lease: Lease, number: int) -> None:
    """By the sizes of both networks: a family has members of several."""
    theirs, ours = control.pipeline.config, pipeline.unet.config
    names = ("cross_attention_dim", "block_out_channels")
    shrinks = 2 ** (len(theirs.conditioning_embedding_out_channels) - 1)
    if all(theirs[name] == ours[name] for name in names) and shrinks == pipeline.vae_scale_factor:
        return
    raise DarkroomError(
        "control_mismatch",
        400,
        f"control[{number}]: {control.entry.name} is a ControlNet for networks of other sizes than {lease.entry.name}.",
        field=f"control.{number}.model_id",
    )


def types_of(network: Any) -> int:
    """How many kinds of maps a ControlNet Union tells apart; 0 for a ControlNet of one kind."""
    return int(network.config.get("num_control_type") or 0)


def type_of(number: int, use: ControlUse, control: Lease) -> int | None:
    """Raises DarkroomError (control_kind, 400) where a ControlNet Union isn't told what the map is of."""
    types = types_of(control.pipeline)
    if not types:
        return None
    kind, known = kind_of(use.kind, use.preprocessor), union_kinds(types)
    if kind in known:
        return UNION_TYPES[kind]
    detail = f"control[{number}]: {control.entry.name} reads maps of several kinds; say by `kind` which one this is: {', '.join(known)}."
    raise DarkroomError("control_kind", 400, detail, field=f"control.{number}.kind")


def find_residuals(
    controls: Sequence[Sequence[RowControl]],
    samples: torch.Tensor,
    timesteps: torch.Tensor,
    embeds: torch.Tensor,
    sizes: Mapping[str, torch.Tensor] | None,
    controlnets: Mapping[str, Any],
) -> Residuals | None:
    """For the entries of a UNet batch, each with its controls that act in this pass; None where none does.

    Sums are made in the order of each request's list, as diffusers' MultiControlNetModel does.
    """
    total: Residuals | None = None
    for place in range(max(map(len, controls))):
        acting = {number: found[place] for number, found in enumerate(controls) if len(found) > place}
        for key in dict.fromkeys(map(_key_of, acting.values())):
            chosen = {number: control for number, control in acting.items() if _key_of(control) == key}
            pick = _picker(list(chosen), len(controls))
            model_id, type_number = key
            network = controlnets[model_id]
            down, middle = network(
                pick(samples).to(network.dtype),
                pick(timesteps),
                encoder_hidden_states=pick(embeds).to(network.dtype),
                **_inputs_of(network, list(chosen.values()), type_number),
                added_cond_kwargs=None if sizes is None else {name: pick(value) for name, value in sizes.items()},
                return_dict=False,
            )
            spread = [_spread(tensor, list(chosen), len(controls)).to(samples.dtype) for tensor in (*down, middle)]
            if total is not None:
                spread = [before + tensor for before, tensor in zip((*total[0], total[1]), spread, strict=True)]
            total = spread[:-1], spread[-1]
    return total


def _key_of(control: RowControl) -> tuple[str, int | None]:
    """Rows of the same are computed together."""
    return control.use.model_id, control.type_number


def _inputs_of(network: Any, controls: Sequence[RowControl], type_number: int | None) -> dict[str, Any]:
    """Of the maps. A ControlNet Union takes lists: several maps for each row, of which there is one here."""
    pictures = torch.cat([control.picture for control in controls]).to(network.dtype)
    weights = torch.cat([control.weight for control in controls]).to(network.dtype)
    if type_number is None:
        return {"controlnet_cond": pictures, "conditioning_scale": weights}
    types = pictures.new_zeros((len(controls), types_of(network)))
    types[:, type_number] = 1
    return {
        "controlnet_cond": [pictures],
        "conditioning_scale": [weights],
        "control_type": types,
        "control_type_idx": [type_number],
    }


def _picker(numbers: Sequence[int], count: int) -> Pick:
    """Takes these entries of a batch, without a list of indices, which would be copied to the device."""
    if len(numbers) == count:
        return lambda tensor: tensor
    return lambda tensor: torch.cat([tensor[number : number + 1] for number in numbers])


def _spread(tensor: torch.Tensor, numbers: Sequence[int], count: int) -> torch.Tensor:
    """Back to the whole batch: nothing is added to the other entries."""
    if len(numbers) == count:
        return tensor
    whole = tensor.new_zeros((count, *tensor.shape[1:]))
    for place, number in enumerate(numbers):
        whole[number] = tensor[place]
    return whole
