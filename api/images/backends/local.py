"""Pictures made in this process, with diffusers.  [torch; no Django]

    run_results = make_pictures(get_loader(), requests, hooks, collector)   # the collector gets each picture when it is made
    outcomes = generate(get_loader(), requests, hooks)                # for each request its pictures, or why there are none

Requests that agree in everything but prompts, seeds and pictures are made together. Every picture has a generator of its own,
on the CPU, so that its noise depends on its seed alone: not on its neighbours, not on the device.
"""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import ceil
from typing import Any

import torch
from diffusers.utils import logging as diffusers_logging
from PIL import Image

from api.errors import DarkroomError
from api.images.backends.adapters import Lora, apply_adapters
from api.images.backends.families import Prompts
from api.images.backends.inputs import keep_outside_mask, network_mask, notes_on_mask, paints_nothing, source_image
from api.images.backends.latents import decode_latents, spread_latents
from api.images.backends.phases import Phases
from api.images.backends.previews import Previewer, projection
from api.images.backends.request import Collector, Hooks, ImageRequest, Outcome, PictureList, RunResult
from api.images.backends.schedulers import check_steps, make_scheduler
from api.images.scheduler_presets import SCHEDULERS
from api.images.spec import INPAINTING, Img2ImgSpec, LoraUse
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
    for index, request in enumerate(requests):
        for note in notes_on_mask(request):
            hooks.warn(note, index)
    unchanged = _find_unchanged(requests, hooks)
    _take_sources(requests, unchanged, collector)
    if len(unchanged) == len(requests):
        collector.close()
        return [True for _ in requests]
    with ExitStack() as stack:
        with hooks.measure("load"):
            lease = stack.enter_context(loader.use(first.model_id, first.task, hooks.on_load))
            for note in apply_adapters(lease.pipeline, _find_adapters(loader, lease, first.loras)):
                hooks.warn(note)
        stack.enter_context(_determinism(first.deterministic))
        run_results = _make_all(loader, lease, requests, hooks, collector, unchanged)
        for note in lease.notes:
            hooks.warn(note)
        collector.close()
    if len(run_results) == 1 and isinstance(run_results[0], DarkroomError):
        raise run_results[0]
    return run_results


def _find_unchanged(requests: Sequence[ImageRequest], hooks: Hooks) -> frozenset[int]:
    """The requests whose pictures stay as they are, so that no step is run for them."""
    first = requests[0].spec
    if isinstance(first, Img2ImgSpec) and first.steps_run < 1:
        hooks.warn("steps × strength is less than one step: the picture was left as it is.")
        return frozenset(range(len(requests)))
    return frozenset(index for index, request in enumerate(requests) if paints_nothing(request))


def _take_sources(requests: Sequence[ImageRequest], unchanged: frozenset[int], collector: Collector) -> None:
    for index in unchanged:
        for number in range(len(requests[index].spec.seeds)):
            collector.take(index, number, source_image(requests[index]))


@dataclass(frozen=True)
class _Picture:
    """One picture to make: of which request, and which of its seeds."""

    index: int
    request: ImageRequest
    number: int

    @property
    def generator(self) -> torch.Generator:
        return torch.Generator("cpu").manual_seed(self.request.spec.seeds[self.number])


def _make_all(
    loader: ModelLoader,
    lease: Lease,
    requests: Sequence[ImageRequest],
    hooks: Hooks,
    collector: Collector,
    unchanged: frozenset[int],
) -> list[RunResult]:
    run = _Run(lease, requests, hooks, collector, unchanged)
    largest = 1 if requests[0].spec.deterministic else max(1, lease.entry.max_batch)
    for attempt in loader.retry_on_oom(lease, batch_size=min(largest, len(run.waiting))):
        with attempt:
            run.decode_denoised()  # of a try whose decoding ran out of memory
            while chunk := run.next_chunk(attempt.batch_size):
                run.make(chunk)
    return [run.run_result(index) for index in range(len(requests))]


class _Run:
    """The pictures of one call to `generate`: which wait, which are made, which requests failed."""

    def __init__(
        self,
        lease: Lease,
        requests: Sequence[ImageRequest],
        hooks: Hooks,
        collector: Collector,
        unchanged: frozenset[int],
    ) -> None:
        self._lease, self._requests, self._hooks, self._collector = lease, requests, hooks, collector
        self._first = requests[0].spec
        self._phases = Phases(hooks, lease.device.torch_device)
        self._warned: set[str] = set()
        self.failed: dict[int, DarkroomError] = {}
        self._denoised: deque[tuple[_Picture, torch.Tensor]] = deque()
        pictures = [
            _Picture(index, request, number)
            for index, request in enumerate(requests)
            for number in range(len(request.spec.seeds))
        ]
        self.waiting = [picture for picture in pictures if picture.index not in unchanged]
        self.made = {(picture.index, picture.number) for picture in pictures if picture.index in unchanged}
        self._prompts = Prompts(lease.pipeline, lease.entry.family, [request.spec for request in requests], self._warn)
        self._prompts.check()

    def next_chunk(self, size: int) -> list[_Picture]:
        """Up to `size` pictures that can share a call, of requests that are not cancelled; empty when nothing is left."""
        with self._phases.phase("encode"):
            self._encode_prompts()
        self.waiting = [picture for picture in self.waiting if self._is_wanted(picture)]
        lengths = [self._prompts.length_of(picture.request.spec) for picture in self.waiting]
        return [picture for picture, length in zip(self.waiting, lengths, strict=True) if length == lengths[0]][:size]

    def run_result(self, index: int) -> RunResult:
        """What has become of a request, when nothing waits any more."""
        numbers = range(len(self._requests[index].spec.seeds))
        return self.failed.get(index) or all((index, number) in self.made for number in numbers)

    def _encode_prompts(self) -> None:
        for picture in self.waiting:
            if self._is_wanted(picture):
                with self._failing(picture.index):
                    self._prompts.length_of(picture.request.spec)

    def _is_wanted(self, picture: _Picture) -> bool:
        is_made = (picture.index, picture.number) in self.made
        return not is_made and picture.index not in self.failed and not self._hooks.cancelled(picture.index)

    @contextmanager
    def _failing(self, index: int) -> Iterator[None]:
        """An expected failure inside is that request's alone."""
        try:
            yield
        except DarkroomError as error:
            self.failed[index] = error

    def make(self, chunk: list[_Picture]) -> None:
        """Denoise `chunk` as one batch, then decode its pictures one by one: the autoencoder gains nothing from a batch."""
        pipeline = self._pipeline()
        with self._phases.phase("denoise"), self._phases.watch(pipeline):
            latents = self._denoise(pipeline, chunk)
        if latents is None:
            return
        spread = spread_latents(pipeline, latents, self._first.width, self._first.height)
        self._denoised.extend(zip(chunk, spread.split(1), strict=True))
        self.decode_denoised()

    def decode_denoised(self) -> None:
        while self._denoised:
            picture, latents = self._denoised[0]
            if self._is_wanted(picture):
                with self._failing(picture.index):
                    with self._phases.phase("decode"):
                        image = self._decode(self._lease.pipeline, latents, picture.request)
                    self._collector.take(picture.index, picture.number, image)
                    self.made.add((picture.index, picture.number))
            self._denoised.popleft()

    def _pipeline(self) -> Any:
        """A pipeline of the lease's modules with a scheduler of its own, for one call."""
        scheduler = make_scheduler(self._first.scheduler, self._lease.pipeline.scheduler, self._lease.entry.family)
        check_steps(scheduler, self._first.steps)
        pipeline = self._lease.pipeline_with(scheduler=scheduler)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    def _denoise(self, pipeline: Any, chunk: list[_Picture]) -> torch.Tensor | None:
        """The latents of `chunk`; None when all its requests were cancelled on the way."""
        watcher = _StepWatcher(self, pipeline, chunk)
        latents = pipeline(
            **self._prompts.arguments([picture.request.spec for picture in chunk]),
            **self._picture_arguments(pipeline, chunk),
            num_inference_steps=self._first.steps,
            generator=[picture.generator for picture in chunk],
            output_type="latent",
            callback_on_step_end=watcher,
        ).images
        return None if watcher.stopped else latents

    def _picture_arguments(self, pipeline: Any, chunk: list[_Picture]) -> dict[str, Any]:
        """Size, source and mask. Some pipelines of image-to-image take the size from the source."""
        first = self._first
        known = inspect.signature(pipeline.__call__).parameters
        eta = SCHEDULERS[first.scheduler].eta if first.scheduler else 0.0
        arguments: dict[str, Any] = {"width": first.width, "height": first.height, "eta": eta}
        arguments = {name: value for name, value in arguments.items() if name in known}
        if isinstance(first, Img2ImgSpec):
            arguments["image"] = [source_image(picture.request) for picture in chunk]
            arguments["strength"] = first.strength
        if first.task == INPAINTING:
            arguments["mask_image"] = [network_mask(picture.request, pipeline.vae_scale_factor) for picture in chunk]
        return arguments

    def _decode(self, pipeline: Any, latents: torch.Tensor, request: ImageRequest) -> Image.Image:
        made = decode_latents(pipeline, latents)
        return keep_outside_mask(made, request) if request.spec.task == INPAINTING else made

    def _warn(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            self._hooks.warn(text)

    def report(self, chunk: list[_Picture], step: int, steps: int, previews: dict[int, bytes]) -> None:
        """`step` of `steps` of `chunk` is done. Where one pass can't make all pictures, steps are counted over each of them."""
        undone = [picture for picture in self.waiting if (picture.index, picture.number) not in self.made]
        total = len(self.made) + len(undone)
        if total > len(chunk):
            step, steps = steps * len(self.made) + step * len(chunk), steps * total
        self._hooks.on_step(step, steps, [previews.get(index) for index in range(len(self._requests))])

    def all_cancelled(self, chunk: list[_Picture]) -> bool:
        return all(self._hooks.cancelled(index) for index in {picture.index for picture in chunk})


class _StepWatcher:
    """What diffusers calls after each step: progress, previews, cancelling."""

    def __init__(self, run: _Run, pipeline: Any, chunk: list[_Picture]) -> None:
        self._run, self._chunk = run, chunk
        first = chunk[0].request.spec
        self._previewer = Previewer(pipeline, first.width, first.height)
        projection(pipeline)  # fitted before the first step, not in the middle
        self.stopped = False

    def __call__(self, pipeline: Any, number: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        if self._run.all_cancelled(self._chunk):
            pipeline._interrupt = self.stopped = True
            return tensors
        order = pipeline.scheduler.order
        step, steps = ceil((number + 1) / order), ceil(pipeline.num_timesteps / order)
        self._run.report(self._chunk, step, steps, self._previews() if step < steps else {})
        return tensors

    def _previews(self) -> dict[int, bytes]:
        """One for each request: of its first picture in this batch."""
        if not self._previewer.due():
            return {}
        rows: dict[int, int] = {}
        for row, picture in enumerate(self._chunk):
            rows.setdefault(picture.index, row)
        return dict(zip(rows, self._previewer.make(list(rows.values())), strict=True))


def _find_adapters(loader: ModelLoader, lease: Lease, wanted: Sequence[LoraUse]) -> list[Lora]:
    found = []
    for lora in wanted:
        entry, path = loader.adapter(lora.id)
        if not entry.fits(lease.entry):
            raise DarkroomError("lora_mismatch", 400, f"The adapter '{entry.id}' is not for {lease.entry.name}.", field="loras")
        found.append(Lora(entry.id, path, lora.weight))
    return found


@contextmanager
def _determinism(wanted: bool) -> Iterator[None]:
    """cuDNN may pick an algorithm by what is fastest at the moment: not when the same bytes are asked for."""
    with torch.backends.cudnn.flags(deterministic=wanted, benchmark=False):
        yield
