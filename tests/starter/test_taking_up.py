"""train_starter take-up: checkpoints of the weights here, from which each training goes on with those very weights."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from api.starter.architecture import WEIGHTS
from api.starter.training.clip import ClipTrainer, load_clip
from api.starter.training.diffusion import DiffusionTrainer
from api.starter.training.export import export_clip, take_up_starter
from api.starter.training.judge import Judge, course_of, load_judge, see

pytestmark = pytest.mark.models


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints")
    take_up_starter(folder, 1)
    return folder


def same(module: torch.nn.Module, file: Path, part: str = "") -> bool:
    """Whether it has the weights of the file, to the precision of a number on disk."""
    state, stored = module.state_dict(), load_file(file)
    return all(torch.equal(state[part + name].to(value.dtype), value) for name, value in stored.items())


def test_the_picture_maker_goes_on_with_its_weights(checkpoints: Path) -> None:
    trainer = DiffusionTrainer()
    assert trainer.resume(checkpoints / "diffusion-0.pt") is not None
    assert same(trainer.unet, WEIGHTS / "starter" / "unet" / "diffusion_pytorch_model.safetensors")
    assert same(trainer.text_encoder, WEIGHTS / "starter" / "text_encoder" / "model.safetensors")


def test_the_clip_goes_on_with_its_weights_and_its_average_is_them(checkpoints: Path, tmp_path: Path) -> None:
    trainer = ClipTrainer()
    assert trainer.resume(checkpoints / "clip.pt") is not None
    assert same(trainer.clip, WEIGHTS / "starter-clip" / "model.safetensors")
    assert same(load_clip(checkpoints), WEIGHTS / "starter-clip" / "model.safetensors")
    export_clip(checkpoints, tmp_path)
    again = load_file(tmp_path / "starter-clip" / "model.safetensors")
    assert all(
        torch.equal(again[name], value) for name, value in load_file(WEIGHTS / "starter-clip" / "model.safetensors").items()
    )


def test_the_judge_goes_on_as_it_judges(checkpoints: Path) -> None:
    judge = Judge()
    assert course_of(judge).resume(checkpoints / "judge.pt") is not None
    noise = torch.rand(4, 3, 128, 128, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert see(judge.eval(), noise) == see(load_judge(), noise)
