"""Pictures that a job has made, checked before they are written: one that is withheld never is a file, and nobody is sent it.

A check that can't be made fails the job. For the thread that runs models. No torch until it is called.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.conf import settings

from api.errors import DarkroomError
from api.jobs.running import RunningJob
from api.safety.pictures.policy import PicturePolicy, policy_of
from api.specs import Spec

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True)
class Finding:
    """What the check says of one picture."""

    label: str
    score: float
    is_withheld: bool

    def __str__(self) -> str:
        return f"{self.label}, {self.score:.2f}"


def check_pictures(
    run: RunningJob[Spec], pictures: Sequence[Image.Image]
) -> tuple[PicturePolicy, list[Finding]] | tuple[None, None]:
    """Of each picture; (None, None) where the job's owner has them not checked. Raises DarkroomError where that can't be done."""
    policy = policy_of(run.owner_key)
    if policy is None:
        return None, None
    if not settings.LOAD_MODELS:
        raise DarkroomError(
            "check_failed", 503, "The pictures could not be checked: this worker loads no models (LOAD_MODELS)."
        )
    from api.model_loader import get_loader
    from api.safety.backends.classify import classify

    with run.measure("check"):
        found = classify(get_loader(), policy.model_id, pictures, stage_of(run)) if pictures else []
    return policy, [finding_of(policy, probabilities) for probabilities in found]


def stage_of(run: RunningJob[Spec]) -> Callable[[float, str], None]:
    """For the loader's `on_progress`: told beside the steps that are done. Raises JobCancelled."""

    def report(fraction: float, text: str) -> None:
        run.raise_if_cancelled()
        step, steps = run.step_reached
        run.progress(step=step, steps=steps or 1, stage=text if fraction < 1 else "")

    return report


def finding_of(policy: PicturePolicy, probabilities: dict[str, float]) -> Finding:
    try:
        label, score = policy.score(probabilities)
    except LookupError as error:
        there = ", ".join(probabilities)
        detail = f"The pictures could not be checked: {policy.model_id} has no class {error} of PICTURE_CHECK_LABELS; it has {there}."
        raise DarkroomError("check_failed", 503, detail) from None
    return Finding(label, round(score, 4), score >= policy.threshold)


def refuse_if_withheld(run: RunningJob[Spec], picture: Image.Image) -> None:
    """For jobs of one picture. Raises DarkroomError (content_filtered)."""
    policy, findings = check_pictures(run, [picture])
    if policy is not None and findings and findings[0].is_withheld:
        raise content_filtered(findings)


def may_come_back(run: RunningJob[Spec], picture: Image.Image, what: str) -> bool:
    """Whether a picture that a job has looked at is given back with what was found drawn over it (`what`). Where not, a sentence says
    why, and the job has its result without.
    """
    try:
        _, findings = check_pictures(run, [picture])
    except DarkroomError as error:
        run.warn(f"There is no {what}: {error.detail}")
        return False
    if findings and findings[0].is_withheld:
        run.warn(f"The {what} was withheld by this server's check of pictures ({findings[0]}).")
        return False
    return True


def content_filtered(findings: Sequence[Finding]) -> DarkroomError:
    """No picture is left."""
    worst = max(findings, key=lambda finding: finding.score)
    what = "The picture was" if len(findings) == 1 else f"All {len(findings)} pictures were"
    return DarkroomError("content_filtered", 400, f"{what} withheld by this server's check of pictures ({worst}).")
