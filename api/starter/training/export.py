"""From checkpoints to the folders that diffusers and transformers load, and back."""

from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from transformers import CLIPModel

from api.starter.architecture import WEIGHTS, make_pipeline, make_processor, make_tokenizer, save_half
from api.starter.training.clip import ClipTrainer, load_clip
from api.starter.training.diffusion import DiffusionTrainer, final_autoencoder, load_trainee
from api.starter.training.judge import course_of, load_judge
from api.starter.training.run import Average, save_checkpoint
from api.starter.training.words import TEXT_ENCODER


def export_starter(checkpoints: Path, weights: Path = WEIGHTS) -> None:
    """weights/starter: a StableDiffusionPipeline, fp16 on disk, contiguous, with its usual attention."""
    trainer = load_trainee(checkpoints)
    trainer.unet.set_default_attn_processor()
    pipeline = make_pipeline(trainer.unet, trainer.text_encoder, final_autoencoder(checkpoints), trainer.tokenizer)
    for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
        part.to(memory_format=torch.contiguous_format)
    save_half(pipeline, weights / "starter")


def export_clip(checkpoints: Path, weights: Path = WEIGHTS) -> None:
    """weights/starter-clip: a CLIPModel and its CLIPProcessor, fp16 on disk."""
    save_half(load_clip(checkpoints), weights / "starter-clip")
    make_processor(make_tokenizer()).save_pretrained(weights / "starter-clip")


def take_up_starter(checkpoints: Path, processes: int, weights: Path = WEIGHTS) -> None:
    """Checkpoints from the weights here, for training to go on where the old ones are lost: only optimizers begin anew."""
    pipeline, trainer = StableDiffusionPipeline.from_pretrained(weights / "starter"), DiffusionTrainer()
    trainer.unet.load_state_dict(pipeline.unet.state_dict())
    trainer.text_encoder.load_state_dict(pipeline.text_encoder.state_dict())
    trainer.average = Average([trainer.unet, trainer.text_encoder], 0.99)
    for rank in range(processes):
        save_checkpoint(checkpoints / f"diffusion-{rank}.pt", trainer.state() | {"pool": 0})
    clip_trainer = ClipTrainer()
    clip_trainer.clip.load_state_dict(CLIPModel.from_pretrained(weights / "starter-clip").state_dict())
    clip_trainer.average = Average([clip_trainer.clip], 0.995)
    save_checkpoint(checkpoints / "clip.pt", clip_trainer.state())
    save_checkpoint(checkpoints / "judge.pt", course_of(load_judge(weights)).state())
    save_checkpoint(checkpoints / "autoencoder-final.pt", {"model": pipeline.vae.state_dict()})
    save_checkpoint(checkpoints / TEXT_ENCODER, {"model": pipeline.text_encoder.state_dict()})
