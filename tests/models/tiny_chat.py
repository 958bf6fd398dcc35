"""Builders of small real chat checkpoints: the stock classes and random weights, made without a network."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GenerationConfig,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3ImageProcessorPil,
    Idefics3Processor,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

TEMPLATE = (
    "<|im_start|>{% for message in messages %}{{ message['role'] | capitalize }}:"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'text' %} {{ part['text'] }}{% else %}<image>{% endif %}{% endfor %}"
    "<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)
TEXT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<end_of_utterance>",
    "<image>",
    "<fake_token_around_image>",
    "<global-img>",
]
CORPUS = [
    "a red circle above a blue square",
    "What is in this image? There is a pizza on the table.",
    '{"name": "value", "count": 12}',
] * 20
TILE, PATCH, SCALE = 32, 8, 2


def build_tiny_vlm(folder: Path, *, seed: int = 0) -> Path:
    """Idefics3 (SmolVLM's architecture) in small: tiles of 32 pixels, 4 tokens each, a context of 1,024."""
    torch.manual_seed(seed)
    tiles = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
    tokenizer = make_tokenizer([*SPECIAL, *tiles])
    config = Idefics3Config(
        text_config=text_config(tokenizer).to_dict() | {"model_type": "llama"},
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": TILE,
            "patch_size": PATCH,
        },
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=SCALE,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=False,
    )
    save(Idefics3ForConditionalGeneration(config), folder, tokenizer, end="<end_of_utterance>")
    images = Idefics3ImageProcessorPil(
        size={"longest_edge": 4 * TILE}, max_image_size={"longest_edge": TILE}, do_image_splitting=True
    )
    length = (TILE // PATCH) ** 2 // SCALE**2
    Idefics3Processor(images, tokenizer, image_seq_len=length, chat_template=TEMPLATE).save_pretrained(folder)
    return folder


def build_tiny_llama(folder: Path, *, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    tokenizer = make_tokenizer(SPECIAL[:3])
    tokenizer.chat_template = TEXT_TEMPLATE
    save(LlamaForCausalLM(text_config(tokenizer)), folder, tokenizer, end="<|im_end|>")
    tokenizer.save_pretrained(folder)
    return folder


def save(model: torch.nn.Module, folder: Path, tokenizer: PreTrainedTokenizerFast, *, end: str) -> None:
    model.generation_config = GenerationConfig(
        eos_token_id=tokenizer.convert_tokens_to_ids(end), pad_token_id=tokenizer.pad_token_id
    )
    model.save_pretrained(folder)


def text_config(tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.convert_tokens_to_ids("<|im_start|>"),
        eos_token_id=tokenizer.convert_tokens_to_ids("<|im_end|>"),
        initializer_range=0.5,  # so that different contexts give clearly different tokens
        tie_word_embeddings=False,
    )


def make_tokenizer(special: list[str]) -> PreTrainedTokenizerFast:
    """Byte-level BPE: it can write anything."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>", bos_token="<|im_start|>"
    )
