"""The sizes of the starter models. Everything that makes one, with weights or without, makes it from here."""

import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    CLIPVisionConfig,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

HERE = Path(__file__).parent
WEIGHTS = HERE / "weights"
TOKENIZER = HERE / "tokenizer"
SIZE = 128
TOKENS = 77
_TEXT = {
    "hidden_size": 192,
    "intermediate_size": 768,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "max_position_embeddings": TOKENS,
    "projection_dim": 192,
}
_VISION = {
    "hidden_size": 192,
    "intermediate_size": 768,
    "num_hidden_layers": 4,
    "num_attention_heads": 6,
    "image_size": SIZE,
    "patch_size": 16,
    "projection_dim": 192,
}


def make_tokenizer() -> CLIPTokenizer:
    vocabulary = json.loads((TOKENIZER / "vocab.json").read_text())
    lines = (TOKENIZER / "merges.txt").read_text().splitlines()[1:]
    return CLIPTokenizer(vocab=vocabulary, merges=[tuple(line.split()) for line in lines], model_max_length=TOKENS)


def _text_config(tokenizer: CLIPTokenizer) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **_TEXT,
    )


def make_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    return CLIPTextModel(_text_config(tokenizer))


def make_unet() -> UNet2DConditionModel:
    """Latents of 32 x 32 x 4. Attention, to itself and to the text, is at 8 x 8 alone: at 16 x 16 it cost a third more."""
    return UNet2DConditionModel(
        sample_size=SIZE // 4,
        in_channels=4,
        out_channels=4,
        block_out_channels=(32, 96, 192),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
        norm_num_groups=8,
        attention_head_dim=6,
        cross_attention_dim=_TEXT["hidden_size"],
    )


def make_autoencoder() -> AutoencoderKL:
    """Three levels, so 4 times smaller a side; training keeps the mean square of its latents near 1."""
    autoencoder = AutoencoderKL(
        block_out_channels=(16, 48, 64),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        norm_num_groups=2,
        latent_channels=4,
        mid_block_add_attention=False,
        sample_size=SIZE,
        scaling_factor=1.0,
    )
    _pin_variance(autoencoder)
    return autoencoder


@torch.no_grad()
def _pin_variance(autoencoder: AutoencoderKL) -> None:
    """The encoder's log-variances are not trained: hold them at -12, so that a sample is the mean."""
    autoencoder.quant_conv.weight[4:] = 0
    autoencoder.quant_conv.bias[4:] = -12


def make_scheduler() -> DDIMScheduler:
    """v-prediction (Salimans and Ho, arXiv:2202.00512) down to no signal at all (Lin et al., arXiv:2305.08891)."""
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        rescale_betas_zero_snr=True,
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=1,
    )


def make_pipeline(
    unet: UNet2DConditionModel, text_encoder: CLIPTextModel, autoencoder: AutoencoderKL, tokenizer: CLIPTokenizer
) -> StableDiffusionPipeline:
    return StableDiffusionPipeline(
        vae=autoencoder,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=make_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def save_half(model: StableDiffusionPipeline | CLIPModel, folder: Path) -> None:
    """Save with fp16 weights whose config asks for fp32, so that a plain `from_pretrained` gives one dtype throughout.

    Casts the model itself; transformers would otherwise load its part in fp16 and diffusers the rest in fp32.
    """
    model.to(torch.float16).save_pretrained(folder)
    for config in (folder / "text_encoder/config.json", folder / "config.json"):
        if config.exists():
            config.write_text(config.read_text().replace('"dtype": "float16"', '"dtype": "float32"'))


def make_clip(tokenizer: CLIPTokenizer) -> CLIPModel:
    text = _text_config(tokenizer)
    return CLIPModel(
        CLIPConfig(
            text_config=text.to_dict(),
            vision_config=CLIPVisionConfig(**_VISION).to_dict(),
            projection_dim=_TEXT["projection_dim"],
        )
    )


def make_processor(tokenizer: CLIPTokenizer) -> CLIPProcessor:
    """Pictures come in as PIL images of any size; the model sees their middle at 128 x 128, in -1..1."""
    images = CLIPImageProcessorPil(
        size={"shortest_edge": SIZE}, crop_size={"height": SIZE, "width": SIZE}, image_mean=[0.5] * 3, image_std=[0.5] * 3
    )
    return CLIPProcessor(images, tokenizer)
