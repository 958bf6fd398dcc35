from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = "Measure a starter model on what it never saw in training, print the figures and write them into its card."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("model", nargs="?", choices=("starter", "starter-vlm"), default="starter")
        parser.add_argument("--prompts", type=int, default=500, help="Held-out scenes to draw (starter).")
        parser.add_argument("--questions", type=int, default=1000, help="Closed questions to ask (starter-vlm).")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["model"] == "starter-vlm":
            self.evaluate_vlm(options["questions"])
            return
        from api.starter.cards import write_cards  # imports torch, which only this command needs
        from api.starter.evaluation import evaluate

        evaluate(options["prompts"])
        write_cards()

    def evaluate_vlm(self, count: int) -> None:
        from api.chat.session import make_backend
        from api.starter.vlm import NAME
        from api.starter.vlm_figures import evaluate
        from api.system.runtime import start_runtime

        start_runtime()
        backends = {
            "onnx int8": make_backend("onnx", f"{NAME}@onnx-int8"),
            "pytorch": make_backend("pytorch", NAME),
        }
        evaluate(backends, count)
