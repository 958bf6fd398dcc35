"""The sizes of starter-vlm, an Idefics3 (SmolVLM's architecture), its byte-level vocabulary and its processor."""

from collections.abc import Iterable
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    CLIPModel,
    GenerationConfig,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3ImageProcessorPil,
    Idefics3Processor,
    PreTrainedTokenizerFast,
)

from api.starter.architecture import SIZE, WEIGHTS

NAME = "starter-vlm"
FOLDER = WEIGHTS / NAME
PATCH, SCALE, CONTEXT = 16, 2, 2048
IMAGE_TOKENS = (SIZE // PATCH) ** 2 // SCALE**2
PAD, START, END = "<|endoftext|>", "<|im_start|>", "<end_of_utterance>"
IMAGE, FAKE, GLOBAL = "<image>", "<fake_token_around_image>", "<global-img>"
SPECIAL = (PAD, START, END, IMAGE, FAKE, GLOBAL)
VOCABULARY = 1150
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}{% else %}<image>{% endif %}{% endfor %}"
    "<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def train_vocabulary(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """Byte-level BPE (it can write anything), the same for the same texts."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(SPECIAL), initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, bos_token=START, eos_token=END, model_max_length=CONTEXT
    )


def make_processor(tokenizer: PreTrainedTokenizerFast) -> Idefics3Processor:
    """Pictures become one tile of 128 pixels, whatever their size."""
    images = Idefics3ImageProcessorPil(
        size={"longest_edge": SIZE}, max_image_size={"longest_edge": SIZE}, do_image_splitting=False
    )
    return Idefics3Processor(images, tokenizer, image_seq_len=IMAGE_TOKENS, chat_template=TEMPLATE)


def make_vlm(tokenizer: PreTrainedTokenizerFast) -> Idefics3ForConditionalGeneration:
    """3.3 M parameters: a vision tower of starter-clip's shape, a language model of four layers."""
    config = Idefics3Config(
        vision_config={
            "hidden_size": 192,
            "intermediate_size": 768,
            "num_hidden_layers": 4,
            "num_attention_heads": 6,
            "image_size": SIZE,
            "patch_size": PATCH,
            "hidden_act": "quick_gelu",
            "layer_norm_eps": 1e-5,
        },
        text_config={
            "model_type": "llama",
            "vocab_size": len(tokenizer),
            "hidden_size": 192,
            "intermediate_size": 256,
            "num_hidden_layers": 4,
            "num_attention_heads": 6,
            "num_key_value_heads": 2,
            "max_position_embeddings": CONTEXT,
            "rope_theta": 10_000.0,
            "rms_norm_eps": 1e-5,
            "tie_word_embeddings": True,
            "pad_token_id": tokenizer.pad_token_id,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
        },
        image_token_id=tokenizer.convert_tokens_to_ids(IMAGE),
        scale_factor=SCALE,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=True,
    )
    vlm = Idefics3ForConditionalGeneration(config)
    vlm.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id, bos_token_id=tokenizer.bos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    return vlm


@torch.no_grad()
def take_over_eyes(vlm: Idefics3ForConditionalGeneration, clip: CLIPModel) -> None:
    """Begin with starter-clip's vision tower. What has no counterpart is left: its class token and its first norm."""
    mine, theirs = vlm.model.vision_model, clip.vision_model
    mine.embeddings.patch_embedding.weight.copy_(theirs.embeddings.patch_embedding.weight)
    mine.embeddings.patch_embedding.bias.zero_()
    mine.embeddings.position_embedding.weight.copy_(theirs.embeddings.position_embedding.weight[1:])
    mine.encoder.load_state_dict(theirs.encoder.state_dict())


def save_vlm(vlm: Idefics3ForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, folder: Path = FOLDER) -> None:
    """fp16 on disk, for a plain `from_pretrained` to load as the device likes it."""
    vlm.to(torch.float16).save_pretrained(folder)
    make_processor(tokenizer).save_pretrained(folder)
