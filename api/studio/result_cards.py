"""How the cards of jobs end that make something else than pictures: a template of their own, and what it shows."""

from collections.abc import Callable, Mapping

from api.images.grids.spec import GridSpec
from api.jobs.models import Job
from api.jobs.states import Status
from api.scoring.spec import TrainScorerSpec
from api.studio.compare.learned import trained_context
from api.studio.variants.made import grid_context

ENDS: Mapping[str, tuple[str, Callable[[Job], Mapping[str, object]]]] = {
    GridSpec.kind: ("studio/variants/made.html", grid_context),
    TrainScorerSpec.kind: ("studio/compare/trained.html", trained_context),
}


def end_context(job: Job) -> dict[str, object]:
    """Empty for a job that makes pictures, or that goes on."""
    if job.status != Status.SUCCEEDED or job.kind not in ENDS:
        return {}
    template, describe = ENDS[job.kind]
    return {"template": template, **describe(job)}
