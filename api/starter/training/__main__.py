import argparse
from pathlib import Path

from api.starter.training.train import MODELS, train


def main() -> None:
    parser = argparse.ArgumentParser(description="Train one of the starter models.")
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--checkpoints", type=Path, default=Path(".data/training"))
    parser.add_argument("--device", default=None)
    options = parser.parse_args()
    train(options.model, options.checkpoints, options.minutes, options.device)


main()
