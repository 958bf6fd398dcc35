"""What a job that trains a scorer is. numpy and the models are imported inside `run`."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db.models import Max, QuerySet
from django.utils.translation import gettext_lazy as _
from rest_framework.exceptions import ValidationError

from api.errors import DarkroomError
from api.jobs.kinds import JobKind
from api.jobs.models import Job
from api.jobs.running import Finished, Outcome, RunningJob
from api.json_types import JsonObject
from api.scoring.models import Comparison, CustomScorer
from api.scoring.spec import TrainScorerSpec
from api.scoring.taste.features import as_judgements, extractor_name, read_judgements, see_subjects, subject_ids
from api.scoring.taste.judgements import comparisons_on, ratings_on
from api.scoring.taste.scorers import PREFIX

if TYPE_CHECKING:
    from api.scoring.backends.taste_evaluation import Figure, Learned

Run = RunningJob[TrainScorerSpec]
LEAST = 20
"""Fewer judgements than this say nothing: the interval of a pair accuracy is then ±20 per cent and more."""
STEPS = 100
LOOKING = 60
"""Steps of the progress: to look at pictures, and then to fit."""


class TrainScorer(JobKind[TrainScorerSpec]):
    name = TrainScorerSpec.kind
    title = _("Train a scorer")
    spec_class = TrainScorerSpec

    def without_models(self) -> tuple[str, list[str]]:
        return "encoder", [""]

    def run(self, batch: Sequence[Run]) -> Iterator[Outcome]:
        for run in batch:
            yield Finished(run, train(run))

    def record(self, job: Job, output: Any) -> JsonObject:
        newest = CustomScorer.objects.filter(name=output["name"]).aggregate(newest=Max("version"))["newest"] or 0
        scorer = CustomScorer.objects.create(job=job, owner_key=job.owner_key, version=newest + 1, **output)
        return describe(scorer)


def describe(scorer: CustomScorer) -> JsonObject:
    names = ("name", "version", "on", "encoder", "raters", "ratings", "comparisons", "learned")
    return {**{name: getattr(scorer, name) for name in names}, "backend": f"{PREFIX}{scorer}", **scorer.figures}


# ---------------------------------------------------------------- whether there is enough


def judgements_that_teach(on: str, raters: Sequence[str] | None = None) -> int:
    """Stars, and choices that are no ties."""
    return ratings_on(on, raters).count() + choices_on(on, raters).count()


def choices_on(on: str, raters: Sequence[str] | None) -> QuerySet[Comparison]:
    return comparisons_on(on, raters).exclude(outcome=Comparison.Outcome.TIE)


def too_few(on: str, raters: Sequence[str] | None) -> str:
    """Why there is nothing to learn from; '' where there is."""
    ratings, choices = ratings_on(on, raters).count(), choices_on(on, raters).count()
    have = ratings + choices
    if have < LEAST:
        ties = comparisons_on(on, raters).count() - choices
        counted = f"{count(ratings, 'rating')} and {count(choices, 'comparison')} of {on}"
        without = f" (and {count(ties, 'tie')}, which prefer nothing)" if ties else ""
        return f"There are too few to learn from: {counted}{without}; {LEAST} are needed, so {LEAST - have} more."
    if not choices and ratings_on(on, raters).order_by().values("stars").distinct().count() == 1:
        return f"All {ratings} ratings are the same: they prefer nothing, so that there is nothing to learn from them."
    return ""


def count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


@dataclass(frozen=True)
class Standing:
    """Where judgements stand. `wanted`: as many are worth a training; `reason`: why there is nothing to learn from, '' where there is."""

    have: int
    wanted: int
    newest: CustomScorer | None
    """The newest that was trained on them."""
    reason: str

    @property
    def is_enough(self) -> bool:
        return not self.reason and self.have >= self.wanted

    @property
    def missing(self) -> int:
        return max(0, self.wanted - self.have)


def find_standing(on: str, raters: Sequence[str] | None = None) -> Standing:
    """After a training that learned nothing the next is worth its while once there are a third as many judgements again."""
    trained = CustomScorer.objects.filter(on=on).defer("taste")
    newest = (trained if raters is None else trained.filter(raters=sorted(raters))).first()
    wanted = LEAST
    if newest is not None and not newest.learned:
        wanted = max(LEAST, newest.judgements * 4 // 3 + 1)
    return Standing(judgements_that_teach(on, raters), wanted, newest, too_few(on, raters))


def advise(on: str) -> tuple[str, bool]:
    """Where the judgements of `on` stand, in a sentence, and whether a training is worth its while."""
    standing = find_standing(on)
    return describe_standing(on, standing), standing.is_enough


def describe_standing(on: str, standing: Standing) -> str:
    have, newest = standing.have, standing.newest
    if standing.reason:
        return standing.reason
    if newest is None:
        return f"There are {have} judgements of {on}: enough to train a scorer on. More make it more accurate."
    if newest.learned:
        return f"custom:{newest} was trained on {newest.judgements} judgements; there are {have} now."
    outcome = f"The newest training, custom:{newest}, learned nothing from {newest.judgements} judgements"
    if standing.missing:
        return f"{outcome}: give {standing.missing} more before the next one."
    return f"{outcome}; there are {have} now, enough to train again."


def check_enough(on: str, raters: Sequence[str] | None) -> None:
    """Raises ValidationError."""
    if reason := too_few(on, raters):
        raise ValidationError({"on": [reason]}, code="too_few")


# ---------------------------------------------------------------- run


def train(run: Run) -> JsonObject:
    """A CustomScorer's fields. Raises DarkroomError and JobCancelled."""
    from api.scoring.backends.taste import Scaling
    from api.scoring.backends.taste_evaluation import learn

    spec = run.spec
    if reason := too_few(spec.on, spec.raters):
        raise DarkroomError("too_few", 400, reason)
    said = read_judgements(spec.on, spec.raters)
    if said.left_out:
        run.warn(f"The newest are learned from; {said.left_out} older judgements are left out.")
    with run.measure("look"):
        encoder, name = make_encoder(run)
        seen = see(run, subject_ids(said), encoder, name)
    known = sorted(seen)
    judged = as_judgements(said, known)
    with run.measure("fit"):
        scaling = Scaling.of([seen[one][0] for one in known], [seen[one][1] for one in known])
        features = [scaling(*seen[one]) for one in known]
        learned = learn(stack(features), judged, tell=progress(run, LOOKING, STEPS, "fitting"))
    if not learned.learned:
        run.warn(summarise(learned, said))
    return describe_training(run, said, learned, scaling, name)


def stack(features: Sequence[Any]) -> Any:
    import numpy as np

    return np.stack(features)


def progress(run: Run, start: int, end: int, stage: str) -> Callable[[float], None]:
    def tell(fraction: float) -> None:
        run.raise_if_cancelled()
        run.progress(step=round(start + fraction * (end - start)), steps=STEPS, stage=stage)

    return tell


def make_encoder(run: Run) -> tuple[Any, str]:
    """None and '' where the workers load no models."""
    if not run.spec.encoder:
        run.warn("This server's workers load no models: only measures were learned from, no embeddings.")
        return None, ""
    from api.model_loader import get_loader
    from api.scoring.backends.clip import ClipEncoder

    return ClipEncoder(get_loader(), run.spec.encoder), run.spec.encoder


def see(run: Run, ids: Sequence[Any], encoder: Any, name: str) -> dict[Any, Any]:
    seen = see_subjects(run.spec.on, ids, encoder, name, progress(run, 0, LOOKING, "looking at pictures"))
    if gone := len(ids) - len(seen):
        run.warn(f"{count(gone, 'picture')} could not be looked at: the file is gone. What was said of it is left out.")
    return seen


def describe_training(run: Run, said: Any, learned: "Learned", scaling: Any, encoder: str) -> JsonObject:
    from api.scoring.backends.taste import Taste

    summary = summarise(learned, said)
    figures = {name: getattr(learned, name) for name in ("slope", "middle", "spread", "learned")}
    taste = Taste("", scaling, learned.weights, on=run.spec.on, encoder=encoder, summary=summary, **figures)
    weights = dict(zip(scaling.names, per_deviation(learned, scaling), strict=True))
    return {
        "name": run.spec.name,
        "on": run.spec.on,
        "encoder": encoder,
        "raters": said.raters,
        "ratings": len(said.ratings),
        "comparisons": len(said.comparisons),
        "learned": learned.learned,
        "figures": {
            "summary": summary,
            "pair_accuracy": learned.accuracy.as_json(),
            "rank_correlation": learned.correlation.as_json(),
            "learning_curve": learned.curve,
            "penalty": learned.penalty,
            "weights": dict(sorted(weights.items(), key=lambda item: -abs(item[1]))),
        },
        "taste": {**taste.as_json(), "extractor": extractor_name(encoder)},
    }


def per_deviation(learned: "Learned", scaling: Any) -> list[float]:
    """By how much one standard deviation of each measure moves the log odds of being preferred."""
    count = len(scaling.names)
    return [round(float(weight) * learned.slope / count**0.5, 4) for weight in learned.weights[:count]]


def summarise(learned: "Learned", said: Any) -> str:
    source = " and ".join(
        count(number, what) for number, what in ((len(said.ratings), "rating"), (len(said.comparisons), "comparison")) if number
    )
    agreed = f"of two that it had not seen it picks the preferred one in {interval(learned.accuracy)} of the cases"
    if learned.learned:
        return f"Learned from {source}: {agreed}."
    return f"Nothing was learned from {source}: {agreed}, which chance (50 %) does as well. More judgements may help."


def interval(figure: "Figure") -> str:
    if figure.value is None or figure.low is None or figure.high is None:
        return "an unknown share"
    return f"{100 * figure.value:.0f} % (95 % interval: {100 * figure.low:.0f} to {100 * figure.high:.0f} %)"
