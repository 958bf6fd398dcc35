"""What scorers have learned of people's taste, and whether they have."""

import uuid
from typing import Any

from api.access.principals import Principal
from api.jobs.models import Job
from api.scoring.models import CustomScorer
from api.scoring.taste.charts import curve_chart, share_text
from api.scoring.taste.scorers import PREFIX

MOST_NAMED = 8


def learned_context(principal: Principal, scorer_id: uuid.UUID | None = None) -> dict[str, object]:
    """The newest version of each scorer of pictures, and one of them with its figures: the one asked for, or the newest of this
    person's own.
    """
    newest = newest_scorers()
    mine = [scorer for scorer in newest if principal.owner_key in scorer.raters]
    shown = next((scorer for scorer in newest if scorer.pk == scorer_id), None) or next(iter(mine or newest), None)
    others = [describe(scorer) for scorer in newest if scorer != shown]
    return {"learned": describe(shown) if shown else None, "others": others}


def trained_context(job: Job) -> dict[str, object]:
    """Of a job that trained one; nothing once that was deleted."""
    scorer = job.custom_scorers.defer("taste").first()
    return {"learned": describe(scorer) if scorer else None, "others": []}


def newest_scorers() -> list[CustomScorer]:
    by_name: dict[str, CustomScorer] = {}
    for scorer in CustomScorer.objects.filter(on="images").defer("taste")[:200]:
        by_name.setdefault(scorer.name, scorer)
    return list(by_name.values())[:MOST_NAMED]


def describe(scorer: CustomScorer) -> dict[str, Any]:
    figure = scorer.figures["pair_accuracy"]
    chart = curve_chart(scorer.figures["learning_curve"])
    return {
        "scorer": scorer,
        "criterion": f"{PREFIX}{scorer.name}",
        "is_measured": figure["value"] is not None,
        "count": figure["count"],
        "accuracy": share_text(figure),
        **{name: round(100 * (figure[name] or 0)) for name in ("value", "low", "high")},
        "chart": chart,
    }
