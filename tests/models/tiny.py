"""Builders of small real checkpoints: the stock classes, a few kilobytes of random weights, made without a network.

A picture of 64×64 in 2 steps takes well under 0.3 s on a CPU. Weights depend only on `seed`.
"""

from __future__ import annotations

import functools
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from peft import LoraConfig, get_peft_model_state_dict
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionConfig,
    T5Config,
    T5EncoderModel,
)
from transformers.convert_slow_tokenizer import bytes_to_unicode

WINDOW = 77
WORDS = ("red", "blue", "green", "circle", "square", "lake", "sunset", "cat", "dog", "a", "the", "of", "at", "photo")


def build_tiny_sd(folder: Path, *, seed: int = 0) -> Path:
    """Stable Diffusion 1.x in small: epsilon prediction, 4-channel latents, 8× autoencoder, one CLIP text encoder."""
    return _cached(_make_sd, folder, seed=seed, prediction_type="epsilon")


def build_tiny_sd2(folder: Path, *, seed: int = 0) -> Path:
    """Stable Diffusion 2.x in small: v-prediction."""
    return _cached(_make_sd, folder, seed=seed, prediction_type="v_prediction")


def build_tiny_inpainting_sd(folder: Path, *, seed: int = 0) -> Path:
    """Stable Diffusion 1.x for inpainting, in small: the UNet also gets the mask and the masked picture, 9 channels in all."""
    return _cached(_make_sd, folder, seed=seed, prediction_type="epsilon", in_channels=9)


def build_tiny_sdxl(folder: Path, *, seed: int = 0) -> Path:
    """Stable Diffusion XL in small: two text encoders, size conditioning."""
    return _cached(_make_sdxl, folder, seed=seed)


def build_tiny_inpainting_sdxl(folder: Path, *, seed: int = 0) -> Path:
    """Stable Diffusion XL for inpainting, in small: 9 channels."""
    return _cached(_make_sdxl, folder, seed=seed, in_channels=9)


def build_tiny_sd3(folder: Path, *, seed: int = 0) -> Path:
    """Stable Diffusion 3 in small: a flow-matching transformer, 16-channel latents, two CLIP encoders and T5."""
    return _cached(_make_sd3, folder, seed=seed)


def build_tiny_flux(folder: Path, *, seed: int = 0, width: int = 32) -> Path:
    """FLUX.1 in small: a flow-matching transformer, CLIP and T5."""
    return _cached(_make_flux, folder, seed=seed, width=width)


def build_tiny_clip(folder: Path, *, seed: int = 0, projection: int = 32, size: int = 32) -> Path:
    """CLIP in small: both towers, a tokenizer with a window of 77, and an image processor of `size` × `size`."""
    return _cached(_make_clip, folder, seed=seed, projection=projection, size=size)


def build_tiny_lora(folder: Path, base: Path, *, seed: int = 0, filename: str = "lora.safetensors") -> Path:
    """A LoRA (rank 2, strong enough to change the picture visibly) for the UNet of the checkpoint `base`; returns the file."""
    torch.manual_seed(seed)
    unet = UNet2DConditionModel.from_pretrained(base, subfolder="unet")
    unet.add_adapter(LoraConfig(r=2, lora_alpha=2, target_modules=["to_q", "to_k", "to_v", "to_out.0"]))
    layers = {name: torch.randn_like(weight) * 0.5 for name, weight in get_peft_model_state_dict(unet).items()}
    index = json.loads((base / "model_index.json").read_text())
    pipeline = {"StableDiffusionXLPipeline": StableDiffusionXLPipeline}.get(index["_class_name"], StableDiffusionPipeline)
    pipeline.save_lora_weights(folder, unet_lora_layers=layers, weight_name=filename, safe_serialization=True)
    return Path(folder) / filename


LINEAR_PLACES, RELU_PLACES = (0, 2, 4, 6, 7), (0, 3, 6, 9, 11)
"""The numbers of the linear layers in LAION's second aesthetic predictor: linearMSE and reluMSE."""


def head_tensors(places: tuple[int, ...], *, width: int = 768, seed: int = 0) -> dict[str, torch.Tensor]:
    """A head of LAION's second predictor, at its real size: width-1024-128-64-16-1."""
    torch.manual_seed(seed)
    sizes = (width, 1024, 128, 64, 16, 1)
    shapes = zip(places, sizes, sizes[1:], strict=False)
    linears = {place: torch.nn.Linear(before, after) for place, before, after in shapes}
    return {
        f"layers.{place}.{part}": getattr(linear, part).detach()
        for place, linear in linears.items()
        for part in ("weight", "bias")
    }


@functools.cache
def _cache_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="tiny-checkpoints-")


def _cached(make: Callable[..., None], folder: Path, **options: object) -> Path:
    """Each checkpoint is made once a test session and copied to where a test wants it."""
    name = "-".join([make.__name__.strip("_"), *(str(value) for value in options.values())])
    kept = Path(_cache_folder().name) / name
    if not kept.exists():
        make(kept, **options)
    shutil.copytree(kept, folder, dirs_exist_ok=True)
    return Path(folder)


def _make_sd(folder: Path, *, seed: int, prediction_type: str, in_channels: int = 4) -> None:
    torch.manual_seed(seed)
    tokenizer = _tokenizer(folder.with_name(folder.name + "-tokenizer"))
    StableDiffusionPipeline(
        vae=_vae(4),
        text_encoder=CLIPTextModel(_text_config(tokenizer)),
        tokenizer=tokenizer,
        unet=_unet(cross_attention_dim=32, in_channels=in_channels),
        scheduler=DDIMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            clip_sample=False,
            set_alpha_to_one=False,
            steps_offset=1,
            prediction_type=prediction_type,
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder, safe_serialization=True)


def _make_sdxl(folder: Path, *, seed: int, in_channels: int = 4) -> None:
    torch.manual_seed(seed)
    tokenizer = _tokenizer(folder.with_name(folder.name + "-tokenizer"))
    unet = _unet(
        in_channels=in_channels,
        cross_attention_dim=64,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=32 + 6 * 8,
    )
    StableDiffusionXLPipeline(
        vae=_vae(4, force_upcast=True),
        text_encoder=CLIPTextModel(_text_config(tokenizer)),
        text_encoder_2=CLIPTextModelWithProjection(_text_config(tokenizer)),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        unet=unet,
        scheduler=EulerDiscreteScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1, timestep_spacing="leading"
        ),
        add_watermarker=False,
    ).save_pretrained(folder, safe_serialization=True)


def _make_sd3(folder: Path, *, seed: int) -> None:
    torch.manual_seed(seed)
    tokenizer = _tokenizer(folder.with_name(folder.name + "-tokenizer"))
    transformer = SD3Transformer2DModel(
        sample_size=8,
        patch_size=1,
        in_channels=16,
        out_channels=16,
        num_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=64,
        caption_projection_dim=32,
        pooled_projection_dim=64,
    )
    StableDiffusion3Pipeline(
        transformer=transformer,
        vae=_vae(16, shift_factor=0.06, scaling_factor=1.5, use_quant_conv=False, use_post_quant_conv=False),
        text_encoder=CLIPTextModelWithProjection(_text_config(tokenizer)),
        text_encoder_2=CLIPTextModelWithProjection(_text_config(tokenizer)),
        text_encoder_3=_t5(tokenizer, width=64),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        tokenizer_3=tokenizer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
    ).save_pretrained(folder, safe_serialization=True)


def _make_flux(folder: Path, *, seed: int, width: int) -> None:
    torch.manual_seed(seed)
    tokenizer = _tokenizer(folder.with_name(folder.name + "-tokenizer"))
    transformer = FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=width // 16,
        joint_attention_dim=width,
        pooled_projection_dim=32,
        axes_dims_rope=(4, 4, 8),
    )
    FluxPipeline(
        transformer=transformer,
        vae=_vae(4, shift_factor=0.06, scaling_factor=1.5, use_quant_conv=False, use_post_quant_conv=False),
        text_encoder=CLIPTextModel(_text_config(tokenizer)),
        text_encoder_2=_t5(tokenizer, width=width),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        scheduler=FlowMatchEulerDiscreteScheduler(),
    ).save_pretrained(folder, safe_serialization=True)


def _make_clip(folder: Path, *, seed: int, projection: int, size: int) -> None:
    torch.manual_seed(seed)
    tokenizer = _tokenizer(folder.with_name(folder.name + "-tokenizer"))
    tower = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    text = CLIPTextConfig(**{**_text_config(tokenizer).to_dict(), **tower, "projection_dim": projection})
    vision = CLIPVisionConfig(**tower, image_size=size, patch_size=8, projection_dim=projection)
    model = CLIPModel(CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=projection))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    crop = {"height": size, "width": size}
    CLIPImageProcessorPil(size={"shortest_edge": size}, crop_size=crop).save_pretrained(folder)


def _tokenizer(folder: Path) -> CLIPTokenizer:
    """CLIP's byte-level BPE over the 256 byte symbols, with merges for a few whole words."""
    symbols = list(bytes_to_unicode().values())
    vocabulary = [*symbols, *(symbol + "</w>" for symbol in symbols)]
    merges: list[str] = []
    for word in WORDS:
        pieces = [*word[:-1], word[-1] + "</w>"]
        while len(pieces) > 1:
            pair, pieces = pieces[:2], ["".join(pieces[:2]), *pieces[2:]]
            if " ".join(pair) not in merges:
                merges.append(" ".join(pair))
                vocabulary.append(pieces[0])
    vocabulary += ["<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(vocabulary)}))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    return CLIPTokenizer.from_pretrained(folder, model_max_length=WINDOW)


def _text_config(tokenizer: CLIPTokenizer) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=37,
        projection_dim=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=WINDOW,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.eos_token_id,
    )


def _t5(tokenizer: CLIPTokenizer, *, width: int) -> T5EncoderModel:
    return T5EncoderModel(T5Config(vocab_size=len(tokenizer), d_model=width, d_ff=37, d_kv=8, num_layers=1, num_heads=4))


def _vae(latent_channels: int, **options: object) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=latent_channels,
        layers_per_block=1,
        norm_num_groups=4,
        sample_size=64,
        **options,
    )


def _unet(*, in_channels: int = 4, **options: object) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=in_channels,
        out_channels=4,
        block_out_channels=(16, 32),
        layers_per_block=1,
        norm_num_groups=8,
        attention_head_dim=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        **options,
    )
