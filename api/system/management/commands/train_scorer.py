"""Trains a scorer on the owner's own ratings and comparisons. A job like any other: run by a worker that is alive, else here."""

import re
from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand

from api.access.principals import LOCAL
from api.jobs.models import Job
from api.scoring.spec import ONS
from api.scoring.taste.serializers import TrainScorerSerializer
from api.system.command_jobs import checked, run_to_end

WIDTH = 40


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="letters, digits, - and _; a name that is there gets a new version")
        parser.add_argument("--on", choices=ONS, default="images", help="whose judgements (default: images)")
        parser.add_argument("--rater", action="append", dest="raters", metavar="KEY", help="this one's alone; may be repeated")

    def handle(self, *args: object, **options: object) -> None:
        asked = {name: options[name] for name in ("name", "on", "raters") if options[name] is not None}
        submission = checked(TrainScorerSerializer(data=asked, context={"principal": LOCAL}))
        job = run_to_end(self, submission, self.follow)
        assert job.result is not None
        self.report(job.result)

    def follow(self, rows: Iterator[Job]) -> Job:
        stage = ""
        for now in rows:
            if (new := str(now.progress.get("stage", ""))) != stage:
                stage = new
                self.stderr.write(f"{stage} …")
        return now

    def report(self, result: dict[str, Any]) -> None:
        style = self.style.SUCCESS if result["learned"] else self.style.WARNING
        self.stdout.write(style(result["summary"]))
        if result["rank_correlation"]["value"] is not None:
            self.stdout.write(f"Rank correlation with the stars (SRCC): {text_of(result['rank_correlation'])}")
        self.stdout.write("Learning curve (judgements it was trained on, pair accuracy on unseen pictures):")
        for point in result["learning_curve"]:
            bar = "█" * round(WIDTH * point["pair_accuracy"]["value"])
            self.stdout.write(f"  {point['judgements']:5}  {bar:{WIDTH}}  {text_of(point['pair_accuracy'])}")
        self.stdout.write(
            f'It judges as backend "{result["backend"]}"; "{re.sub("@.*", "", result["backend"])}" is the newest version that learned.'
        )


def text_of(figure: dict[str, Any]) -> str:
    return f"{figure['value']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})"
