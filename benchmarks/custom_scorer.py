"""The custom scorer against simulated people: what 100 choices teach, what shuffled ones don't, and how long a training takes.

    OMP_NUM_THREADS=2 python -m benchmarks.custom_scorer [--people 20] [--folder /dev/shm]

Pictures are the starter world's, stored as uploads; embeddings are starter-clip's, measures the heuristic's. A person's hidden taste is
linear in features that the scorer does not see in that scale (tests/scoring/people.py says which). Their choices are rows, the training
is a job, and the agreement is counted on pairs of other pictures.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.harness import parser, prepare, print_machine, print_table

JUDGED, NEW, TESTED = 200, 1000, 800
LARGE = 1500


@dataclass(frozen=True)
class Outcome:
    """One person: agreement on new pairs, the scorer's own figure with its interval, and what the training took, in seconds."""

    agreement: float
    value: float
    low: float
    high: float
    learned: bool
    seconds: float
    correlation: float | None


class Studio:
    """Pictures that are stored, with the features by which people like them and scorers are tested."""

    def __init__(self, count: int) -> None:
        from api.files.decoding import encode_png
        from api.files.models import StoredFile
        from api.files.services import store_upload
        from api.model_loader import get_loader
        from api.scoring.backends.clip import ClipEncoder
        from api.scoring.taste.features import see_files
        from tests.scoring.people import draw_pictures

        files = [store_upload(owner_key="local", data=encode_png(picture)) for picture in draw_pictures(count)]
        self.files: list[StoredFile] = list({file.pk: file for file in files}.values())
        started = time.perf_counter()
        seen = see_files(
            [file.pk for file in self.files], ClipEncoder(get_loader(), "starter-clip"), "starter-clip", lambda _: None
        )
        self.milliseconds = 1000 * (time.perf_counter() - started) / len(self.files)
        self.seen = [seen[file.pk] for file in self.files]
        self.measures = [measures for measures, _ in self.seen]
        self.embeddings = np.stack([embedding for _, embedding in self.seen])

    def guesses(self) -> np.ndarray:
        """Of the newest scorer, for all pictures."""
        from api.scoring.backends.taste import Taste
        from api.scoring.models import CustomScorer

        row = CustomScorer.objects.latest("pk")
        taste = Taste.from_json(str(row), row.taste)
        return np.array([sum(taste.pushes(*one).values()) for one in self.seen])


def train(studio: Studio, loop: Any, utility: np.ndarray, judge: Callable[[], None], rng: np.random.Generator) -> Outcome:
    from api.jobs.lifecycle import submit_job
    from api.jobs.models import Job
    from api.scoring.models import Comparison, Rating
    from api.scoring.spec import TrainScorerSpec
    from tests.scoring.people import prefers_first

    Comparison.objects.all().delete()
    Rating.objects.all().delete()
    judge()
    submit_job(spec=TrainScorerSpec(name="person", encoder="starter-clip"), owner_key="local")
    started = time.perf_counter()
    loop.run_once()
    seconds = time.perf_counter() - started
    job = Job.objects.latest("pk")
    if job.status != "succeeded":
        raise RuntimeError(f"{job.status}: {job.error}")
    pairs = JUDGED + rng.permutation(len(studio.files) - JUDGED)[:TESTED].reshape(-1, 2)
    agreed = prefers_first(studio.guesses(), pairs, rng) == prefers_first(utility, pairs, rng)
    found = job.result["pair_accuracy"]
    correlation = job.result["rank_correlation"]["value"]
    return Outcome(
        float(agreed.mean()), found["value"], found["low"], found["high"], job.result["learned"], seconds, correlation
    )


def compare_pairs(studio: Studio, pairs: np.ndarray, outcomes: np.ndarray) -> None:
    from api.scoring.taste.judgements import compare

    for (a, b), outcome in zip(pairs, outcomes, strict=True):
        first, second = studio.files[a], studio.files[b]
        compare(owner_key="local", first=first, second=second, preferred=first if outcome else second)


def give_stars(studio: Studio, places: Sequence[int], stars: np.ndarray) -> None:
    for place, given in zip(places, stars, strict=True):
        studio.files[place].ratings.give(owner_key="local", stars=int(given))


def simulate(studio: Studio, loop: Any, people: int, way: str) -> list[Outcome]:
    from tests.scoring.people import hidden_utility, prefers_first, stars_for

    outcomes = []
    for person in range(people):
        rng = np.random.default_rng(person)
        utility = hidden_utility(studio.measures, studio.embeddings, rng)
        apart = np.arange(JUDGED).reshape(-1, 2)
        tied = np.array([rng.choice(40, 2, replace=False) for _ in range(100)])

        def judge(
            utility: np.ndarray = utility, rng: np.random.Generator = rng, apart: np.ndarray = apart, tied: np.ndarray = tied
        ) -> None:
            if way == "stars":
                return give_stars(studio, range(100), stars_for(utility[:100], rng))
            pairs = np.unique(np.sort(tied, axis=1), axis=0) if way == "tied" else apart
            chosen = prefers_first(utility, pairs, rng, 0.1 if way == "slips" else 0.0)
            return compare_pairs(studio, pairs, rng.permutation(chosen) if way == "shuffled" else chosen)

        outcomes.append(train(studio, loop, utility, judge, rng))
    return outcomes


def large(studio: Studio, loop: Any) -> Outcome:
    """As many stars and choices as one training reads."""
    from tests.scoring.people import hidden_utility, prefers_first, stars_for

    rng = np.random.default_rng(0)
    utility = hidden_utility(studio.measures, studio.embeddings, rng)
    count = len(studio.files)

    def judge() -> None:
        pairs = np.unique(np.sort([rng.choice(count, 2, replace=False) for _ in range(LARGE)], axis=1), axis=0)
        compare_pairs(studio, pairs, prefers_first(utility, pairs, rng, 0.1))
        give_stars(studio, range(min(count, LARGE)), stars_for(utility[:LARGE], rng))

    return train(studio, loop, utility, judge, rng)


def told(outcomes: Sequence[Outcome], way: str) -> str:
    """Mean agreement ± its SD over people (the worst), and the scorers' own figure; how often its interval has the agreement in it,
    where both are of the same answers (a scorer tests itself on answers with slips in them, or shuffled).
    """
    agreement = np.array([outcome.agreement for outcome in outcomes])
    own = np.mean([outcome.value for outcome in outcomes])
    inside = np.mean([outcome.low <= outcome.agreement <= outcome.high for outcome in outcomes])
    learned = np.mean([outcome.learned for outcome in outcomes])
    holds = "" if way in ("slips", "shuffled") else f", its interval holds in {100 * inside:.0f} %"
    return (
        f"{100 * agreement.mean():.1f} ± {100 * agreement.std(ddof=1):.1f} % (worst {100 * agreement.min():.1f}); own figure "
        f"{100 * own:.1f} %{holds}; `learned` in {100 * learned:.0f} %"
    )


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--people", type=int, default=20, help="simulated, for each row of the table")
    chosen = options.parse_args()
    data = prepare(chosen, LOAD_MODELS="true")
    from api.jobs.worker.loop import WorkerLoop
    from api.system.worker_runtime import start_runtime

    print_machine(data)
    start_runtime()
    studio, loop = Studio(JUDGED + NEW), WorkerLoop()
    ways = {
        "100 choices between 200 pictures": "apart",
        "… one in ten answers is a slip": "slips",
        "… shuffled": "shuffled",
        "100 choices between 40 pictures": "tied",
        "100 pictures with 1-5 stars": "stars",
    }
    rows, seconds = [], []
    for label, way in ways.items():
        outcomes = simulate(studio, loop, chosen.people, way)
        seconds += [outcome.seconds for outcome in outcomes]
        rows.append((label, told(outcomes, way)))
    most = large(studio, loop)
    rows += [
        ("a training's seconds, median, longest", f"{np.median(seconds):.1f}, {max(seconds):.1f}"),
        ("looking at a picture for the first time, milliseconds", f"{studio.milliseconds:.1f}"),
        (
            f"{LARGE} choices with slips and {min(LARGE, len(studio.files))} stars of {len(studio.files)} pictures",
            f"{most.seconds:.0f} s; own figure {100 * most.value:.1f} %",
        ),
    ]
    print_table(
        f"Agreement on new pairs, {chosen.people} simulated people (wanted: 80 %; shuffled: about 50 %, nothing learned)", rows
    )


if __name__ == "__main__":
    main()
