"""Pictures of diffusion transformers, by the pipeline's own call.  [torch; no Django]

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
from PIL import Image

from api.errors import DarkroomError
from api.images.backends.engine.graph_cache import graphed
from api.images.backends.families import Prompts
from api.images.backends.inputs import keep_outside_mask, network_mask, source_image
from api.images.backends.latents import decode_latents, spread_latents
from api.images.backends.phases import Phases
from api.images.backends.pipeline_control import PipelineControls, seeded
from api.images.backends.previews import Previewer, projection
from api.images.backends.request import Collector, Hooks, ImageRequest, RunResult
from api.images.backends.schedulers import check_steps, make_scheduler
from api.images.scheduler_presets import SCHEDULERS
from api.images.spec import INPAINTING, Img2ImgSpec
from api.model_loader import Lease, ModelLoader
from api.previews import Preview


@dataclass(frozen=True)
class _Picture:
    """One picture to make: of which request, and which of its seeds."""

    index: int
    request: ImageRequest
    number: int

    @property
    def seed(self) -> int:
        return self.request.spec.seeds[self.number]

    @property
    def generator(self) -> torch.Generator:
        return torch.Generator("cpu").manual_seed(self.seed)


def call_pipeline(
    loader: ModelLoader,
    lease: Lease,
    requests: Sequence[ImageRequest],
    hooks: Hooks,
    collector: Collector,
    unchanged: frozenset[int],
    controls: PipelineControls,
) -> list[RunResult]:
    """See `make_pictures` in local.py. `unchanged`: indices of the requests whose source stays as it is."""
    run = _Run(lease, requests, hooks, collector, unchanged, controls)
    largest = 1 if requests[0].spec.deterministic or controls else max(1, lease.entry.max_batch)
    for attempt in loader.retry_on_oom(lease, batch_size=min(largest, len(run.waiting))):
        with attempt:
            run.decode_denoised()  # of a try whose decoding ran out of memory
            while chunk := run.next_chunk(attempt.batch_size):
                run.make(chunk)
    return [run.run_result(index) for index in range(len(requests))]


class _Run:
    """The pictures of one call: which wait, which are made, which requests failed."""

    def __init__(
        self,
        lease: Lease,
        requests: Sequence[ImageRequest],
        hooks: Hooks,
        collector: Collector,
        unchanged: frozenset[int],
        controls: PipelineControls,
    ) -> None:
        self._lease, self._requests, self._hooks, self._collector = lease, requests, hooks, collector
        self._controls = controls
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
        """Up to `size` pictures of requests that are not cancelled; empty when nothing is left."""
        self.waiting = [picture for picture in self.waiting if self._is_wanted(picture)]
        return self.waiting[:size]

    def run_result(self, index: int) -> RunResult:
        """What has become of a request, when nothing waits any more."""
        numbers = range(len(self._requests[index].spec.seeds))
        return self.failed.get(index) or all((index, number) in self.made for number in numbers)

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
        return self._controls.pipeline(pipeline) if self._controls else pipeline

    def _denoise(self, pipeline: Any, chunk: list[_Picture]) -> torch.Tensor | None:
        """The latents of `chunk`; None when all its requests were cancelled on the way."""
        watcher = _StepWatcher(self, pipeline, chunk)
        arguments = self._prompts.arguments([picture.request.spec for picture in chunk])
        with ExitStack() as stack:
            if self._controls:
                stack.enter_context(seeded(chunk[0].seed, self._lease.device.torch_device))
                arguments |= self._controls.arguments(chunk[0].request)
            else:
                stack.enter_context(graphed(self._lease, pipeline.transformer))
            latents = pipeline(
                **arguments,
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

    def wants_preview(self, index: int) -> bool:
        return self._hooks.wants_preview(index)

    def all_cancelled(self, chunk: list[_Picture]) -> bool:
        return all(self._hooks.cancelled(index) for index in {picture.index for picture in chunk})


class _StepWatcher:
    """What diffusers calls after each step: progress, previews, cancelling."""

    def __init__(self, run: _Run, pipeline: Any, chunk: list[_Picture]) -> None:
        self._run, self._chunk = run, chunk
        first = chunk[0].request.spec
        self._previewer = Previewer(pipeline, first.width, first.height)
        if any(run.wants_preview(picture.index) for picture in chunk):
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
        """One for each request whose previews are wanted: of its first picture in this batch."""
        rows: dict[int, int] = {}
        for row, picture in enumerate(self._chunk):
            if self._run.wants_preview(picture.index):
                rows.setdefault(picture.index, row)
        if not rows or not self._previewer.due():
            return {}
        made = zip(rows.items(), self._previewer.make(list(rows.values())), strict=True)
        return {index: Preview(jpeg, self._chunk[row].number) for (index, row), jpeg in made}
