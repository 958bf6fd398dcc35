"""A style as an adapter: the world as a print in four inks, learnt by LoRA (Hu et al., arXiv:2106.09685) in the UNet."""

from itertools import count
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from diffusers.models.attention_processor import AttnProcessor
from diffusers.utils import convert_state_dict_to_diffusers
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict

from api.starter import world
from api.starter.architecture import WEIGHTS
from api.starter.training import data
from api.starter.training.clip import tokenize
from api.starter.training.diffusion import Loss
from api.starter.training.latents import encode
from api.starter.training.run import Budget, autocast, learning_rate, log
from api.starter.world.styles import riso

NAME, TRIGGER, RANK = "lora-riso", "riso print", 8
BATCH, PEAK, POOL = 16, 2e-3, 2000
TARGETS = ["to_q", "to_k", "to_v", "to_out.0", "conv1", "conv2", "conv_shortcut", "proj_in", "proj_out"]


def train_lora(checkpoints: Path, minutes: float, device: torch.device) -> None:
    """Train on weights/starter for `minutes` and write weights/lora-riso. Short, so it always begins afresh."""
    torch.manual_seed(6)
    pipeline = StableDiffusionPipeline.from_pretrained(WEIGHTS / "starter").to(device)
    unet, rng = pipeline.unet.requires_grad_(False), np.random.default_rng(6)
    unet.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=TARGETS, init_lora_weights="gaussian"))
    unet.set_attn_processor(AttnProcessor())
    trained = [parameter for parameter in unet.parameters() if parameter.requires_grad]
    optimizer, budget, loss_of = torch.optim.AdamW(trained, PEAK, weight_decay=0.01), Budget(minutes), Loss()
    stream = data.pictures(500_000)
    facts: list[world.Picture] = []
    latents: list[torch.Tensor] = []
    for step in count():
        if budget.progress >= 1:
            break
        if len(facts) < POOL:
            fresh = [next(stream) for _ in range(8)]
            facts += [picture for picture, _ in fresh]
            latents.append(encode(pipeline.vae, [riso(pixels) for _, pixels in fresh]))
        chosen = rng.integers(len(facts), size=BATCH)
        batch = torch.stack([latents[i // 8][i % 8] for i in chosen])
        tokens = tokenize(pipeline.tokenizer, [_caption(facts[i], rng) for i in chosen], length=77).to(device)
        with autocast(device):
            with torch.no_grad():
                words = pipeline.text_encoder(tokens).last_hidden_state
            loss = loss_of(lambda noisy, steps, words=words: unet(noisy, steps, words).sample, batch)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(PEAK, step, budget.progress, warm_up=30)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        if step % 25 == 0:
            log(f"lora step {step} {budget.spent:.1f} min loss {loss.item():.4f}")
    unet.to("cpu", torch.float16)
    layers = convert_state_dict_to_diffusers(get_peft_model_state_dict(unet))
    StableDiffusionPipeline.save_lora_weights(WEIGHTS / NAME, unet_lora_layers=layers)


def _caption(picture: world.Picture, rng: np.random.Generator) -> str:
    """The trigger before or after, and alone where a caption says nothing."""
    caption = world.training_caption(picture, rng)
    if not caption:
        return TRIGGER
    return f"{TRIGGER}, {caption}" if rng.random() < 0.5 else f"{caption}, {TRIGGER}"
