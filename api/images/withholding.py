"""The pictures of a request that the server's check lets through (api/safety/pictures)."""

from __future__ import annotations

from dataclasses import replace

from api.images.output_sinks import SelectedPictures
from api.images.spec import Txt2ImgSpec
from api.jobs.running import RunningJob
from api.json_types import JsonObject
from api.safety.pictures.checking import check_pictures, content_filtered


def withhold(run: RunningJob[Txt2ImgSpec], choice: SelectedPictures) -> SelectedPictures:
    """Without those that are withheld, which its `check` names. For the thread that runs models.

    Raises DarkroomError where none is left (content_filtered), or the check can't be made.
    """
    policy, findings = check_pictures(run, [made.picture for made in choice.kept])
    if policy is None or findings is None:
        return choice
    pairs = list(zip(choice.kept, findings, strict=True))
    kept = [made for made, finding in pairs if not finding.is_withheld]
    if not kept:
        raise content_filtered(findings)
    withheld: list[JsonObject] = [
        {"index": index, "seed": made.seed, "label": finding.label, "score": finding.score}
        for index, (made, finding) in enumerate(pairs)
        if finding.is_withheld
    ]
    if withheld:
        run.warn(
            f"{len(withheld)} of {len(pairs)} pictures withheld by this server's check of pictures; `picture_check` says which."
        )
    return replace(choice, kept=kept, check={**policy.as_json(), "withheld": withheld})
