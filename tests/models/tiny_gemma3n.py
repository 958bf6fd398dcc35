"""A checkpoint in Gemma 3n's ONNX layout, as published: per_layer_inputs, no mask, Q4_MIXED's file names, and a small known function."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from transformers import (
    Gemma3nAudioFeatureExtractor,
    Gemma3nConfig,
    Gemma3nProcessor,
    GenerationConfig,
    PreTrainedTokenizerFast,
    SiglipImageProcessorPil,
)

from tests.models.tiny_chat import make_tokenizer

MARKS = {"boi_token": "<start_of_image>", "image_token": "<image_soft_token>", "eoi_token": "<end_of_image>"}
SOUNDS = {"boa_token": "<start_of_audio>", "audio_token": "<audio_soft_token>", "eoa_token": "<end_of_audio>"}
TEMPLATE = (
    "<bos>{% for message in messages %}<start_of_turn>{{ message['role'] }}\n{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image_soft_token>{% else %}{{ part['text'] }}{% endif %}{% endfor %}<end_of_turn>\n"
    "{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
SIZE, LAYERS, SIDE, LENGTH = 8, 2, 16, 4
Array = NDArray[np.float32]


class TinyGemma3n:
    """Writes the folder; `answer` is what the graphs compute, in numpy.

    A token's embedding e and its per-layer inputs p (LAYERS, SIZE): each cache collects e + p[layer]; the logits are the sum of all
    that the caches hold, turned by e, times a table.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, rng = folder, np.random.default_rng(0)
        (folder / "onnx").mkdir(parents=True)
        words = make_tokenizer(
            ["<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>", *MARKS.values(), *SOUNDS.values()]
        )
        self.tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=words.backend_tokenizer, eos_token="<eos>", bos_token="<bos>", pad_token="<pad>",
            extra_special_tokens={**MARKS, **SOUNDS},
        )  # fmt: skip
        self.vocabulary = len(self.tokenizer)
        self.image_token = self.tokenizer.convert_tokens_to_ids(MARKS["image_token"])
        self.table, self.layered, self.out = (
            rng.normal(size=size).astype(np.float32)
            for size in ((self.vocabulary, SIZE), (self.vocabulary, LAYERS * SIZE), (SIZE, self.vocabulary))
        )
        self.eye = rng.normal(size=(3 * (SIDE // 2) ** 2, SIZE)).astype(np.float32)
        self._write_words()
        self._write_graphs()

    def answer(self, ids: list[int], pixels: Array | None, count: int, banned: tuple[int, ...]) -> list[int]:
        """Greedy; `pixels` (1, 3, SIDE, SIDE)."""
        embedded = self.table[ids]
        if pixels is not None:
            embedded[np.array(ids) == self.image_token] = self.encode_images(pixels)
        layered, written = self.layered[ids], []
        for _ in range(count):
            held = sum((embedded + layered[:, layer * SIZE : (layer + 1) * SIZE]).sum(0) for layer in range(LAYERS))
            logits = (held * embedded[-1]) @ self.out
            logits[list(banned)] = -np.inf
            written.append(int(logits.argmax()))
            embedded = np.concatenate([embedded, self.table[written[-1:]]])
            layered = np.concatenate([layered, self.layered[written[-1:]]])
        return written

    def encode_images(self, pixels: Array) -> Array:
        """(LENGTH, SIZE): a quarter of the picture is a place."""
        half = SIDE // 2
        quarters = pixels[0].reshape(3, 2, half, 2, half).transpose(1, 3, 0, 2, 4).reshape(LENGTH, -1)
        return np.asarray(quarters @ self.eye)

    def _write_words(self) -> None:
        ids = {name: self.tokenizer.convert_tokens_to_ids(token) for name, token in {**MARKS, **SOUNDS}.items()}
        config = Gemma3nConfig(
            text_config={"vocab_size": self.vocabulary, "hidden_size": SIZE, "num_hidden_layers": LAYERS, "max_position_embeddings": 512},
            image_token_id=ids["image_token"], boi_token_id=ids["boi_token"], eoi_token_id=ids["eoi_token"],
            audio_token_id=ids["audio_token"], boa_token_id=ids["boa_token"], eoa_token_id=ids["eoa_token"],
        )  # fmt: skip
        config.save_pretrained(self.folder)
        images = SiglipImageProcessorPil(size={"height": SIDE, "width": SIDE})
        Gemma3nProcessor(
            Gemma3nAudioFeatureExtractor(), images, self.tokenizer, chat_template=TEMPLATE, image_seq_length=LENGTH
        ).save_pretrained(self.folder)
        end = self.tokenizer.convert_tokens_to_ids("<end_of_turn>")
        GenerationConfig(eos_token_id=[end], pad_token_id=self.tokenizer.pad_token_id).save_pretrained(self.folder)

    def _write_graphs(self) -> None:
        save = self._save
        save("embed_tokens_quantized", {"input_ids": (["rows", "new"], TensorProto.INT64)},
             {"inputs_embeds": ["rows", "new", SIZE], "per_layer_inputs": ["rows", "new", LAYERS, SIZE]},
             {"table": self.table, "layered": self.layered, "split": np.array([0, 0, LAYERS, SIZE])},
             [("Gather", ["table", "input_ids"], ["inputs_embeds"], {"axis": 0}),
              ("Gather", ["layered", "input_ids"], ["flat"], {"axis": 0}),
              ("Reshape", ["flat", "split"], ["per_layer_inputs"], {})])  # fmt: skip
        half = SIDE // 2
        save("vision_encoder_quantized", {"pixel_values": (["images", 3, SIDE, SIDE], TensorProto.FLOAT)},
             {"image_features": ["images", LENGTH, SIZE]},
             {"cut": np.array([-1, 3, 2, half, 2, half]), "line": np.array([-1, LENGTH, 3 * half**2]), "eye": self.eye},
             [("Reshape", ["pixel_values", "cut"], ["quarters"], {}),
              ("Transpose", ["quarters"], ["turned"], {"perm": [0, 2, 4, 1, 3, 5]}),
              ("Reshape", ["turned", "line"], ["lines"], {}),
              ("MatMul", ["lines", "eye"], ["image_features"], {})])  # fmt: skip
        nodes: list[tuple[str, list[str], list[str], dict[str, Any]]] = []
        inputs = {
            "inputs_embeds": (["rows", "new", SIZE], TensorProto.FLOAT),
            "per_layer_inputs": (["rows", "new", LAYERS, SIZE], TensorProto.FLOAT),
            "position_ids": (["rows", "new"], TensorProto.INT64),
        }
        outputs: dict[str, list[Any]] = {"logits": ["rows", "new", self.vocabulary]}
        for layer in range(LAYERS):
            for kind in ("key", "value"):
                name = f"{layer}.{kind}"
                inputs[f"past_key_values.{name}"] = (["rows", 1, "past", SIZE], TensorProto.FLOAT)
                outputs[f"present.{name}"] = ["rows", 1, "total", SIZE]
                nodes.append(("Concat", [f"past_key_values.{name}", f"new{layer}"], [f"present.{name}"], {"axis": 2}))
            first = [("Gather", ["per_layer_inputs", f"number{layer}"], [f"mine{layer}"], {"axis": 2}),
                     ("Add", ["inputs_embeds", f"mine{layer}"], [f"added{layer}"], {}),
                     ("Unsqueeze", [f"added{layer}", "one"], [f"new{layer}"], {})]  # fmt: skip
            nodes = [*first, *nodes, ("ReduceSum", [f"present.{layer}.key", "two"], [f"sum{layer}"], {"keepdims": 0})]
        nodes += [("Add", ["sum0", "sum1"], ["held"], {}), ("Mul", ["held", "inputs_embeds"], ["told"], {}),
                  ("MatMul", ["told", "out"], ["logits"], {})]  # fmt: skip
        numbers = {f"number{layer}": np.array(layer) for layer in range(LAYERS)}
        save("decoder_model_merged_q4", inputs, outputs,
             {**numbers, "one": np.array([1]), "two": np.array([2]), "out": self.out}, nodes)  # fmt: skip

    def _save(self, name: str, inputs: Any, outputs: Any, constants: dict[str, Any], nodes: Any) -> None:
        graph = helper.make_graph(
            [helper.make_node(kind, taken, given, **attributes) for kind, taken, given, attributes in nodes],
            name,
            [helper.make_tensor_value_info(key, kind, shape) for key, (shape, kind) in inputs.items()],
            [helper.make_tensor_value_info(key, TensorProto.FLOAT, shape) for key, shape in outputs.items()],
            [numpy_helper.from_array(value, key) for key, value in constants.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
        onnx.checker.check_model(model)
        onnx.save(model, self.folder / "onnx" / f"{name}.onnx")
