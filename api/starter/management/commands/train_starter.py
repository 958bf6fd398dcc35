from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

MODELS = (
    "tokenizer",
    "autoencoder",
    "clip",
    "words",
    "diffusion",
    "decoder",
    "judge",
    "nima",
    "lora",
    "starter-upscaler",
    "starter-vlm",
    "starter-hazards",
    "starter-detector",
    "starter-cutout",
    "starter-control",
    "export",
    "take-up",
)


class Command(BaseCommand):
    help = "Train one of the starter models from pictures drawn here; a killed run goes on from its checkpoint."

    def add_arguments(self, parser: ArgumentParser) -> None:
        order = "In this order, from nothing to weights; take-up makes checkpoints of the weights."
        parser.add_argument("model", choices=MODELS, help=order)
        parser.add_argument("--minutes", type=float, default=30.0, help="In all, earlier runs counted in.")
        parser.add_argument("--checkpoints", type=Path, default=None, help="Default: DATA_DIR/training.")
        parser.add_argument("--device", default=None, help="Default: a GPU if there is one, else the CPU.")

    def handle(self, *args: Any, **options: Any) -> None:
        from api.starter.training.train import train  # imports torch, which only this command needs

        checkpoints = options["checkpoints"] or Path(settings.DATA_DIR) / "training"
        train(options["model"], checkpoints, options["minutes"], options["device"])
