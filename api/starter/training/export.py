"""From checkpoints to the folders that diffusers and transformers load."""

from pathlib import Path

import torch

from api.starter.architecture import WEIGHTS, make_pipeline, make_processor, make_tokenizer, save_half
from api.starter.training.clip import load_clip
from api.starter.training.diffusion import final_autoencoder, load_trainee


def export_starter(checkpoints: Path, weights: Path = WEIGHTS) -> None:
    """weights/starter: a StableDiffusionPipeline, fp16 on disk, contiguous, with its usual attention."""
    trainee = load_trainee(checkpoints)
    trainee.unet.set_default_attn_processor()
    pipeline = make_pipeline(trainee.unet, trainee.text_encoder, final_autoencoder(checkpoints), trainee.tokenizer)
    for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
        part.to(memory_format=torch.contiguous_format)
    save_half(pipeline, weights / "starter")


def export_clip(checkpoints: Path, weights: Path = WEIGHTS) -> None:
    """weights/starter-clip: a CLIPModel and its CLIPProcessor, fp16 on disk."""
    save_half(load_clip(checkpoints), weights / "starter-clip")
    make_processor(make_tokenizer()).save_pretrained(weights / "starter-clip")
