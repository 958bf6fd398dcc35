"""Enlarging in a worker, for one job: loading, tiles and cancelling as its progress. No torch until it is called."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from PIL import Image

from api.images.hooks import RunHooks
from api.images.output_sinks import SelectedPictures
from api.images.spec import Txt2ImgSpec
from api.images.upscaling.spec import UpscaleSpec, UpscaleUse
from api.jobs.running import RunningJob
from api.runtime.model_use import report_to
from api.specs import Spec

if TYPE_CHECKING:
    from api.images.backends.upscalers.enlarge import Hooks


class TilesAsSteps:
    """Of a job that enlarges a picture and does nothing else."""

    def __init__(self, run: RunningJob[UpscaleSpec]) -> None:
        self.run, self.on_load, self.warn = run, report_to([run]), run.warn

    def on_tile(self, done: int, of: int) -> None:
        """Raises JobCancelled."""
        self.run.raise_if_cancelled()
        self.run.progress(step=done, steps=of)


class TilesAsStage:
    """Of a job that has made its pictures: its steps are done, and the tiles are told in words."""

    def __init__(self, run: RunningJob[Txt2ImgSpec]) -> None:
        self.run, self.on_load, self.warn = run, RunHooks([run]).on_load, run.warn

    def on_tile(self, done: int, of: int) -> None:
        """Raises JobCancelled."""
        self.run.raise_if_cancelled()
        step, steps = self.run.step_reached
        self.run.progress(step=step, steps=steps or 1, stage=f"Enlarging: tile {done + 1} of {of}" if done < of else "")


class HalfOfTheTiles:
    """Of one upscaler of two: what is told doesn't begin again with the second."""

    def __init__(self, hooks: Hooks, place: int) -> None:
        self.on_load, self.warn, self.hooks, self.place = hooks.on_load, hooks.warn, hooks, place

    def on_tile(self, done: int, of: int) -> None:
        self.hooks.on_tile(self.place * of + done, 2 * of)


def enlarge(run: RunningJob[Spec], use: UpscaleSpec | UpscaleUse, picture: Image.Image, hooks: Hooks) -> Image.Image:
    """For the thread that runs models. Raises JobCancelled, DarkroomError and DeviceFault."""
    blend = use.blend
    if blend is None or not blend.weight:
        return enlarge_by(run, use.model_id, picture, use.scale, hooks)
    halves = [(use.model_id, HalfOfTheTiles(hooks, 0)), (blend.model_id, HalfOfTheTiles(hooks, 1))]
    first, second = (enlarge_by(run, model_id, picture, use.scale, half) for model_id, half in halves)
    return Image.blend(first, second, blend.weight)


def enlarge_by(run: RunningJob[Spec], model_id: str, picture: Image.Image, scale: int, hooks: Hooks) -> Image.Image:
    from api.images.backends.upscalers import enlarge as backend
    from api.model_loader import get_loader

    with run.measure("upscale"):
        return backend.enlarge(get_loader(), model_id, picture, scale, hooks)


def enlarge_kept(run: RunningJob[Txt2ImgSpec], choice: SelectedPictures) -> SelectedPictures:
    """The pictures of a request with `upscale`, enlarged. Raises what `enlarge` raises."""
    use = run.spec.upscale
    if use is None:
        return choice
    hooks = TilesAsStage(run)
    kept = [replace(made, picture=enlarge(run, use, made.picture, hooks)) for made in choice.kept]
    return replace(choice, kept=kept)
