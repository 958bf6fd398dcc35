"""Small real checkpoints of the catalog's chat families: the stock classes and random weights, laid out as on the hub."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2Processor,
    BlipImageProcessorPil,
    CLIPImageProcessorPil,
    GemmaConfig,
    GemmaForCausalLM,
    GotOcr2ImageProcessorPil,
    GPTBigCodeConfig,
    GPTBigCodeForCausalLM,
    InternVLConfig,
    InternVLForConditionalGeneration,
    Kosmos2Config,
    Kosmos2ForConditionalGeneration,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    MistralConfig,
    MistralForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    PhiConfig,
    PhiForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
    SmolVLMImageProcessorPil,
    Starcoder2Config,
    Starcoder2ForCausalLM,
)

from tests.models.tiny_chat import SPECIAL, TEMPLATE, TEXT_TEMPLATE, make_tokenizer, save

WIDTH, LAYERS, HEADS, CONTEXT = 64, 2, 4, 1024
SEEING_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] | upper }}: {% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>\n{% else %}{{ part['text'] }} {% endif %}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
QWEN_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
INTERNVL_TEMPLATE = QWEN_TEMPLATE.replace("<|vision_start|><|image_pad|><|vision_end|>", "<IMG_CONTEXT>\n")


def sizes(tokenizer: PreTrainedTokenizerFast, **more: Any) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": WIDTH,
        "intermediate_size": 2 * WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": 2,
        "max_position_embeddings": CONTEXT,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "initializer_range": 0.3,  # so that different contexts give clearly different tokens
        **more,
    }


# ---------------------------------------------------------------- text


def build_text(folder: Path, config: Any, model: Any, *, template: bool = True, **more: Any) -> Path:
    torch.manual_seed(0)
    tokenizer = make_tokenizer(SPECIAL[:3])
    tokenizer.chat_template = TEXT_TEMPLATE if template else None
    save(model(config(**sizes(tokenizer, **more))), folder, tokenizer, end="<|im_end|>")
    tokenizer.save_pretrained(folder)
    return folder


def build_bigcode(folder: Path) -> Path:
    """WizardCoder: positions are learned, and all heads share one key and value."""
    torch.manual_seed(0)
    tokenizer = make_tokenizer(SPECIAL[:3])
    config = GPTBigCodeConfig(
        vocab_size=len(tokenizer), n_embd=WIDTH, n_layer=LAYERS, n_head=HEADS, n_positions=CONTEXT, initializer_range=0.3,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    save(GPTBigCodeForCausalLM(config), folder, tokenizer, end="<|im_end|>")
    tokenizer.save_pretrained(folder)
    return folder


# ---------------------------------------------------------------- pictures


def build_llava(folder: Path) -> Path:
    torch.manual_seed(0)
    tokenizer = make_tokenizer([*SPECIAL[:3], "<image>"])
    eyes = {"model_type": "clip_vision_model", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3}
    config = LlavaConfig(
        text_config={"model_type": "llama", **sizes(tokenizer)},
        vision_config={**eyes, "num_attention_heads": 2, "image_size": 32, "patch_size": 8, "projection_dim": 32},
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=16,
    )
    save(LlavaForConditionalGeneration(config), folder, tokenizer, end="<|im_end|>")
    images = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    LlavaProcessor(
        images, tokenizer, patch_size=8, vision_feature_select_strategy="default", num_additional_image_tokens=1,
        chat_template=SEEING_TEMPLATE,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def build_blip2(folder: Path) -> Path:
    torch.manual_seed(0)
    tokenizer = make_tokenizer([*SPECIAL[:3], "<image>"])
    heads = {"num_hidden_layers": LAYERS, "num_attention_heads": 2, "intermediate_size": 64}
    config = Blip2Config(
        vision_config={"hidden_size": 32, **heads, "image_size": 32, "patch_size": 8},
        qformer_config={"hidden_size": 32, **heads, "encoder_hidden_size": 32, "vocab_size": 50},
        text_config={
            "model_type": "opt", "vocab_size": len(tokenizer), "hidden_size": WIDTH, "ffn_dim": 2 * WIDTH, "num_hidden_layers": LAYERS,
            "num_attention_heads": HEADS, "max_position_embeddings": CONTEXT, "word_embed_proj_dim": WIDTH, "init_std": 0.3,
            "pad_token_id": tokenizer.pad_token_id, "bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id,
        },
        num_query_tokens=6,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )  # fmt: skip
    save(Blip2ForConditionalGeneration(config), folder, tokenizer, end="<|im_end|>")
    images = BlipImageProcessorPil(size={"height": 32, "width": 32})
    Blip2Processor(images, tokenizer, num_query_tokens=6).save_pretrained(folder)
    return folder


def build_kosmos2(folder: Path) -> Path:
    from transformers import Kosmos2Processor

    torch.manual_seed(0)
    tokenizer = make_tokenizer(["<s>", "</s>", "<pad>", "<unk>", *SPECIAL[:3]])
    tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token, tokenizer.unk_token = "<s>", "</s>", "<pad>", "<unk>"
    images = CLIPImageProcessorPil(size={"height": 32, "width": 32}, do_center_crop=False)
    processor = Kosmos2Processor(images, tokenizer)
    words = processor.tokenizer
    config = Kosmos2Config(
        text_config={
            "vocab_size": len(words), "embed_dim": WIDTH, "layers": LAYERS, "ffn_dim": 2 * WIDTH, "attention_heads": HEADS,
            "max_position_embeddings": CONTEXT, "pad_token_id": words.pad_token_id, "bos_token_id": words.bos_token_id,
            "eos_token_id": words.eos_token_id, "init_std": 0.3, "scale_embedding": False,
        },
        vision_config={
            "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32,
            "patch_size": 8, "initializer_range": 0.3, "initializer_factor": 2.0,
        },
        latent_query_num=64,
    )  # fmt: skip
    save(Kosmos2ForConditionalGeneration(config), folder, words, end="</s>")
    processor.save_pretrained(folder)
    return folder


def build_qwen(folder: Path, config: Any, model: Any, **eyes: Any) -> Path:
    """As published: preprocessor_config.json and a tokenizer with the template, and nothing about videos."""
    from transformers import Qwen2VLImageProcessorPil

    torch.manual_seed(0)
    marks = ["<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"]
    tokenizer = make_tokenizer(SPECIAL[:3])
    tokenizer.add_tokens([AddedToken(mark, special=True, normalized=False) for mark in marks], special_tokens=True)
    tokenizer.chat_template = QWEN_TEMPLATE
    ids = {
        "vision_start_token_id": "<|vision_start|>", "vision_end_token_id": "<|vision_end|>",
        "image_token_id": "<|image_pad|>", "video_token_id": "<|video_pad|>",
    }  # fmt: skip
    text = sizes(tokenizer, rope_parameters={"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10000.0})
    made = config(
        text_config=text,
        vision_config={"depth": 2, "num_heads": 2, "patch_size": 8, "spatial_merge_size": 2, "temporal_patch_size": 2, **eyes},
        **{name: tokenizer.convert_tokens_to_ids(token) for name, token in ids.items()},
    )
    save(model(made), folder, tokenizer, end="<|im_end|>")
    tokenizer.save_pretrained(folder)
    Qwen2VLImageProcessorPil(
        patch_size=8, merge_size=2, temporal_patch_size=2, size={"shortest_edge": 16 * 16, "longest_edge": 64 * 64}
    ).save_pretrained(folder)
    return folder


def build_internvl(folder: Path) -> Path:
    """transformers' own form (OpenGVLab/InternVL3-1B-hf), as published: with an image processor that only torchvision has."""
    torch.manual_seed(0)
    marks = {"start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>"}
    tokenizer = make_tokenizer([*SPECIAL[:3], *marks.values(), "<video>"])
    tokenizer.chat_template = INTERNVL_TEMPLATE
    config = InternVLConfig(
        text_config={"model_type": "qwen2", **sizes(tokenizer)},
        vision_config={
            "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": [32, 32],
            "patch_size": [8, 8], "initializer_range": 0.3,
        },
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=4,
        tie_word_embeddings=False,
    )  # fmt: skip
    save(InternVLForConditionalGeneration(config), folder, tokenizer, end="<|im_end|>")
    tokenizer.save_pretrained(folder)
    written = folder / "tokenizer_config.json"
    extra = {"extra_special_tokens": {**marks, "video_token": "<video>"}}
    written.write_text(json.dumps({**json.loads(written.read_text()), **extra}))
    GotOcr2ImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    images = json.loads((folder / "preprocessor_config.json").read_text())
    images |= {"image_processor_type": "GotOcr2ImageProcessorFast", "processor_class": "InternVLProcessor"}
    (folder / "preprocessor_config.json").write_text(json.dumps(images))
    (folder / "processor_config.json").write_text('{"image_seq_length": 4, "processor_class": "InternVLProcessor"}')
    (folder / "video_preprocessor_config.json").write_text('{"video_processor_type": "InternVLVideoProcessor"}')
    return folder


def build_smolvlm2(folder: Path) -> Path:
    """Its processor wants what prepares videos, and num2words."""
    torch.manual_seed(0)
    tiles = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
    tokenizer = make_tokenizer([*SPECIAL, *tiles])
    tokenizer.chat_template = TEMPLATE
    eyes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = SmolVLMConfig(
        text_config={"model_type": "llama", **sizes(tokenizer)},
        vision_config={**eyes, "image_size": 32, "patch_size": 8},
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=False,
    )
    save(SmolVLMForConditionalGeneration(config), folder, tokenizer, end="<end_of_utterance>")
    tokenizer.save_pretrained(folder)
    SmolVLMImageProcessorPil(size={"longest_edge": 128}, max_image_size={"longest_edge": 32}).save_pretrained(folder)
    (folder / "processor_config.json").write_text('{"image_seq_len": 4, "processor_class": "SmolVLMProcessor"}')
    (folder / "video_preprocessor_config.json").write_text('{"video_processor_type": "SmolVLMVideoProcessor"}')
    return folder


FAMILIES: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "mistral": ("text-generation", lambda f: build_text(f, MistralConfig, MistralForCausalLM, sliding_window=None)),
    "mistral-window": ("text-generation", lambda f: build_text(f, MistralConfig, MistralForCausalLM, sliding_window=16)),
    "phi": ("text-generation", lambda f: build_text(f, PhiConfig, PhiForCausalLM, template=False)),
    "phi3": ("text-generation", lambda f: build_text(f, Phi3Config, Phi3ForCausalLM)),
    "gemma": ("text-generation", lambda f: build_text(f, GemmaConfig, GemmaForCausalLM, head_dim=16)),
    "starcoder2": ("text-generation", lambda f: build_text(f, Starcoder2Config, Starcoder2ForCausalLM, template=False)),
    "gpt-bigcode": ("text-generation", build_bigcode),
    "llava": ("image-text-to-text", build_llava),
    "blip-2": ("image-text-to-text", build_blip2),
    "kosmos-2": ("image-text-to-text", build_kosmos2),
    "smolvlm2": ("image-text-to-text", build_smolvlm2),
    "internvl": ("image-text-to-text", build_internvl),
    "qwen2-vl": (
        "image-text-to-text",
        lambda f: build_qwen(f, Qwen2VLConfig, Qwen2VLForConditionalGeneration, embed_dim=32, hidden_size=WIDTH),
    ),
    "qwen2.5-vl": (
        "image-text-to-text",
        lambda f: build_qwen(
            f, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, hidden_size=32, out_hidden_size=WIDTH, intermediate_size=64,
            window_size=32, fullatt_block_indexes=[1],
        ),
    ),
}  # fmt: skip
"""By the catalog's name of the family: the task, and what makes one in a folder."""
