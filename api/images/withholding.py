"""The pictures of a request that the server's check lets through (api/safety/pictures)."""

from __future__ import annotations

from dataclasses import replace

from api.images.output_sinks import SelectedPictures
from api.images.spec import Txt2ImgSpec
from api.jobs.running import RunningJob
from api.json_types import JsonObject
from api.safety.pictures.checking import check_pictures, content_filtered


def withhold(run: RunningJob[Txt2ImgSpec], choice: SelectedPictures) -> SelectedPictures:
    """Without those that are withheld, which its `check` names; of candidates the next best take their places. For the thread that runs
    models.

    Raises DarkroomError where none is left (content_filtered), or the check can't be made.
    """
    tried, spares = list(choice.kept), list(choice.spares)
    policy, findings = check_pictures(run, [made.picture for made in tried])
    if policy is None or findings is None:
        return choice
    while spares and (missing := sum(finding.is_withheld for finding in findings) - (len(tried) - len(choice.kept))):
        more, spares = spares[:missing], spares[missing:]
        findings += check_pictures(run, [made.picture for made in more])[1] or []
        tried += more
    pairs = list(zip(tried, findings, strict=True))
    kept = [made for made, finding in pairs if not finding.is_withheld]
    if not kept:
        raise content_filtered(findings)
    withheld: list[JsonObject] = [
        {"index": index, "seed": made.seed, "label": finding.label, "score": finding.score}
        for index, (made, finding) in enumerate(pairs)
        if finding.is_withheld
    ]
    if withheld:
        warn(run, len(withheld), len(pairs), replaced=len(pairs) - len(choice.kept))
    return replace(choice, kept=kept, spares=[], check={**policy.as_json(), "withheld": withheld})


def warn(run: RunningJob[Txt2ImgSpec], withheld: int, checked: int, *, replaced: int) -> None:
    instead = "" if not replaced else " The next best candidates were taken in their places."
    run.warn(
        f"{withheld} of {checked} pictures withheld by this server's check of pictures; `picture_check` says which.{instead}"
    )
