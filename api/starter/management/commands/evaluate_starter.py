from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = "Measure the starter models on held-out prompts, print the figures and write them into the model cards."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--prompts", type=int, default=500, help="Held-out scenes to draw.")

    def handle(self, *args: Any, **options: Any) -> None:
        from api.starter.cards import write_cards  # imports torch, which only this command needs
        from api.starter.evaluation import evaluate

        evaluate(options["prompts"])
        write_cards()
