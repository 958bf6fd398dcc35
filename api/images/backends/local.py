"""Pictures made in this process, with diffusers.  [torch; no Django]

    run_results = make_pictures(get_loader(), requests, hooks, collector)   # the collector gets each picture when it is made
    outcomes = generate(get_loader(), requests, hooks)                # for each request its pictures, or why there are none

UNet families are made by the engine (engine/), diffusion transformers by the pipeline's own call (pipeline_call.py). Every picture
has a generator of its own, on the CPU, so that its noise depends on its seed alone: not on its neighbours, not on the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from diffusers.utils import logging as diffusers_logging

from api.errors import DarkroomError
from api.images.backends.adapters import apply_adapters
from api.images.backends.control_inputs import notes_on_controls
from api.images.backends.cudnn import cudnn_in_use
from api.images.backends.engine.calls import call_engine
from api.images.backends.engine.control import ControlNets
from api.images.backends.inputs import leaves_unchanged, notes_on_source, unchanged_image
from api.images.backends.lora_files import find_adapters
from api.images.backends.pipeline_call import call_pipeline
from api.images.backends.pipeline_control import PipelineControls
from api.images.backends.request import Collector, Hooks, ImageRequest, Outcome, PictureList, RunResult
from api.images.control.use import ControlUse
from api.images.scheduler_presets import UNET_FAMILIES
from api.model_loader import Lease, ModelLoader

diffusers_logging.set_verbosity_error()  # it warns of what is meant here, at every call


def generate(loader: ModelLoader, requests: Sequence[ImageRequest], hooks: Hooks) -> list[Outcome]:
    """The pictures of each request, in the order of its seeds; an empty list for a request that was cancelled.

    Raises what `make_pictures` raises.
    """
    collected = PictureList()
    run_results = make_pictures(loader, requests, hooks, collected)
    return [collected.outcome(index, run_result) for index, run_result in enumerate(run_results)]


def make_pictures(loader: ModelLoader, requests: Sequence[ImageRequest], hooks: Hooks, collector: Collector) -> list[RunResult]:
    """Make the pictures of all seeds of all requests, and hand each to `collector`; none is kept here.

    Where only one request of several is at fault (its prompt's weights, say) its result is the DarkroomError, and the others
    get their pictures; a lone request's error is raised. The requests must agree in what their specs say is shared.
    Raises DarkroomError for what is wrong with all, and what the loader raises (DarkroomError with OutOfMemory and DeviceFault,
    UnknownModel, UnknownAdapter, DarkroomError).
    """
    first = requests[0].spec
    if any(request.spec.shared_values() != first.shared_values() for request in requests):
        raise ValueError("The requests of a batch must agree in what they share.")
    with cudnn_in_use(deterministic=first.deterministic):
        is_unet = loader.catalog.get(first.model_id).family in UNET_FAMILIES
        run_results = (call_engine if is_unet else _call_pipeline)(loader, requests, hooks, collector)
    if len(run_results) == 1 and isinstance(run_results[0], DarkroomError):
        raise run_results[0]
    return run_results


def _call_pipeline(
    loader: ModelLoader, requests: Sequence[ImageRequest], hooks: Hooks, collector: Collector
) -> list[RunResult]:
    first = requests[0].spec
    unchanged = _take_unchanged(requests, hooks, collector)
    if len(unchanged) == len(requests):
        collector.close()
        return [True for _ in requests]
    with ExitStack() as stack:
        with hooks.measure("load"):
            lease = stack.enter_context(loader.use(first.model_id, first.task, hooks.on_load))
            for note in apply_adapters(lease.pipeline, find_adapters(loader, lease, first.loras)):
                hooks.warn(note)
            controls = _take_controls(loader, lease, first.control, hooks, stack)
        run_results = call_pipeline(loader, lease, requests, hooks, collector, unchanged, controls)
        for note in lease.notes:
            hooks.warn(note)
        collector.close()
    return run_results


def _take_controls(
    loader: ModelLoader, lease: Lease, uses: Sequence[ControlUse], hooks: Hooks, stack: ExitStack
) -> PipelineControls:
    """Their ControlNets, leased until `stack` is closed."""
    controlnets = ControlNets(loader, hooks.on_load)
    stack.callback(controlnets.release)
    numbered = [(number, use) for number, use in enumerate(uses) if use.weight]
    return PipelineControls(lease, numbered, [controlnets.take(use.model_id) for _, use in numbered])


def _take_unchanged(requests: Sequence[ImageRequest], hooks: Hooks, collector: Collector) -> frozenset[int]:
    """Hands out the sources that stay as they are; returns the indices of their requests."""
    for index, request in enumerate(requests):
        for note in (*notes_on_source(request), *notes_on_controls(request)):
            hooks.warn(note, index)
    unchanged = frozenset(index for index, request in enumerate(requests) if leaves_unchanged(request))
    for index in unchanged:
        for number in range(len(requests[index].spec.seeds)):
            collector.take(index, number, unchanged_image(requests[index]))
    return unchanged
