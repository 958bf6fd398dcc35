"""What is done with the pictures of a request that are kept: they are checked, and then enlarged, and their subjects cut out."""

from __future__ import annotations

from dataclasses import replace

from api.images.hooks import RunHooks
from api.images.output_sinks import OutputSink, SelectedPictures
from api.images.spec import Txt2ImgSpec
from api.images.upscaling.enlarging import enlarge_kept
from api.images.withholding import withhold
from api.jobs.running import RunningJob
from api.runtime.subject_cutting import get_cutter
from api.safety.pictures.policy import policy_of


def uses_other_models(run: RunningJob[Txt2ImgSpec]) -> bool:
    """Whether that needs models beside the request's own, which may have to leave memory for them."""
    return run.spec.upscale is not None or run.spec.cutout is not None or policy_of(run.owner_key) is not None


def finish_kept(run: RunningJob[Txt2ImgSpec], choice: SelectedPictures) -> SelectedPictures:
    """For the thread that runs models. Raises JobCancelled, DarkroomError and DeviceFault."""
    return cut_kept(run, enlarge_kept(run, withhold(run, choice)))


def choose_finished(run: RunningJob[Txt2ImgSpec], sink: OutputSink, index: int) -> SelectedPictures | None:
    """Of a job that was cancelled: None where what is finished is not wanted, or nothing is. As `finish_kept`."""
    if not run.keeps_finished:
        return None
    run.wraps_up = True
    sink.close()
    choice = sink.choose(index)
    if not choice.kept:
        return None
    made = len(choice.candidates) or len(choice.kept)
    run.warn(f"It was interrupted: {made} of {len(run.spec.seeds)} pictures were finished by then.")
    return finish_kept(run, choice)


def cut_kept(run: RunningJob[Txt2ImgSpec], choice: SelectedPictures) -> SelectedPictures:
    use = run.spec.cutout
    if use is None:
        return choice
    run.raise_if_cancelled()
    pictures = [made.picture for made in choice.kept]
    with run.measure("cutout"):
        cut = get_cutter().cut_out(pictures, use.model_id, use.classes, RunHooks([run]).on_load, run.warn)
    return replace(choice, kept=[replace(made, picture=one) for made, one in zip(choice.kept, cut, strict=True)])
