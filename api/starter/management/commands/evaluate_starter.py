from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

MODELS = ("starter", "starter-vlm", "starter-detector", "starter-control")


class Command(BaseCommand):
    help = "Measure a starter model on what it never saw in training, print the figures and write them into its card."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("model", nargs="?", choices=MODELS, default="starter")
        parser.add_argument("--prompts", type=int, default=500, help="Held-out scenes to draw (all but starter-vlm).")
        parser.add_argument("--drawings", type=int, default=1000, help="Unseen drawings (starter-detector).")
        parser.add_argument(
            "--samples", type=Path, help="Where its pictures are kept (starter-detector). Default: DATA_DIR/best-of."
        )
        parser.add_argument("--questions", type=int, default=1000, help="Closed questions to ask (starter-vlm).")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["model"] == "starter-vlm":
            self.evaluate_vlm(options["questions"])
            return
        if options["model"] == "starter-detector":
            self.evaluate_detector(options["samples"], options["drawings"], options["prompts"])
            return
        if options["model"] == "starter-control":
            from api.starter.control_figures import evaluate_control

            evaluate_control(options["prompts"])
            return
        from api.starter.cards import write_cards  # imports torch, which only this command needs
        from api.starter.evaluation import evaluate

        evaluate(options["prompts"])
        write_cards()

    def evaluate_vlm(self, count: int) -> None:
        from api.chat.session import make_backend
        from api.starter.vlm import NAME
        from api.starter.vlm_figures import evaluate
        from api.system.worker_runtime import start_runtime

        start_runtime()
        backends = {
            "onnx int8": make_backend("onnx", f"{NAME}@onnx-int8"),
            "pytorch": make_backend("pytorch", NAME),
        }
        evaluate(backends, count)

    def evaluate_detector(self, samples: Path | None, drawings: int, prompts: int) -> None:
        import torch

        from api.model_loader import get_loader
        from api.starter.detector_figures import evaluate
        from api.system.worker_runtime import start_runtime
        from api.vision.backends.run_detector import run_detector

        torch.set_num_threads(1)
        start_runtime()
        evaluate(
            lambda requests: run_detector(get_loader(), "starter-detector", requests).results,  # type: ignore[arg-type,return-value]
            samples or Path(settings.DATA_DIR) / "best-of",
            drawings,
            prompts,
        )
