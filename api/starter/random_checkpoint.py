"""The starter pipeline with random weights: the same classes and sizes, so that everything runs but nothing is drawn."""

from pathlib import Path

import torch

from api.starter.architecture import (
    make_autoencoder,
    make_pipeline,
    make_text_encoder,
    make_tokenizer,
    make_unet,
    save_half,
)


def make_random_starter(folder: Path) -> None:
    """Save a StableDiffusionPipeline for 128 x 128 pictures into `folder`, the same bytes each time.

    The layout is that of diffusers: model_index.json, scheduler/scheduler_config.json,
    text_encoder/{config.json,model.safetensors}, tokenizer/{tokenizer.json,tokenizer_config.json},
    unet/{config.json,diffusion_pytorch_model.safetensors}, vae/{config.json,diffusion_pytorch_model.safetensors};
    weights in fp16, no safety checker, no feature extractor.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        tokenizer = make_tokenizer()
        pipeline = make_pipeline(make_unet(), make_text_encoder(tokenizer), make_autoencoder(), tokenizer)
    save_half(pipeline, folder)
