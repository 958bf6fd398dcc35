"""Chat checkpoints in ONNX, laid out as on the hub: from a folder to onnxruntime's sessions.  [torch; no Django]

    config.json, generation_config.json, tokenizer.json, …
    onnx/decoder_model_merged[_int8|_q4|…].onnx     embeddings and caches in, logits and longer caches out
    onnx/embed_tokens[…].onnx                       tokens in, embeddings (and whatever else the decoder wants of them) out
    onnx/vision_encoder[…].onnx                     a processor's pictures in, features in the place of picture tokens out
    onnx/model[…].onnx                              instead of these: a language model that takes tokens itself

What the parts take and give is read from the sessions; nothing here knows a model by name.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from onnxruntime import InferenceSession, OrtValue
from transformers import AutoConfig, GenerationConfig

from api.catalog import ONNX_DECODERS, ModelEntry, onnx_files
from api.devices import Device, trim_heap
from api.errors import DarkroomError
from api.loading.builders import Builder
from api.loading.chat import LOCAL_ONLY, ChatModel, load_tokenizer
from api.loading.onnx_files import check_onnx_file

Array = NDArray[Any]
TYPES = {"float": np.float32, "float16": np.float16, "int64": np.int64, "int32": np.int32, "bool": np.bool_}
PAST, PRESENT = "past_key_values.", "present."
SCALAR_INPUTS = {"num_logits_to_keep": 1}
"""Inputs that are one number."""
IMAGE_TOKEN_KEYS = ("image_token_id", "image_token_index")


class OnnxSession:
    """One onnxruntime session with its input types and shapes. `arena`: for large intermediate results, see `use_shared_arena`."""

    def __init__(self, file: Path, *, arena: bool = False) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        # Threads that wait sleep: a token of a 256M takes 17 ms instead of 11, and beside other work 17 instead of 32.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.enable_cpu_mem_arena = False  # it grows by doubling, and keeps what one large prompt took
        self.run_options = onnxruntime.RunOptions()
        if arena:
            use_shared_arena(options, self.run_options)
        self.session = InferenceSession(file, options, providers=["CPUExecutionProvider"])
        self.types = {given.name: TYPES.get(given.type[7:-1], np.float32) for given in self.session.get_inputs()}
        self.shapes = {given.name: given.shape for given in self.session.get_inputs()}
        self.outputs = [given.name for given in self.session.get_outputs()]

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run with those of `inputs` that the graph has, cast to its types."""
        given: dict[str, Array] = {name: np.asarray(inputs[name], kind) for name, kind in self.types.items() if name in inputs}
        with translate_allocation_errors():
            return dict(zip(self.outputs, self.session.run(None, given, self.run_options), strict=True))


def use_shared_arena(options: onnxruntime.SessionOptions, run_options: onnxruntime.RunOptions) -> None:
    """Intermediate results come from the arena of this process, which returns all of it to the system after each run.

    From malloc they take twice the memory: its heap is left in pieces by blocks of several MiB that come and go.
    """
    make_shared_arena()
    options.enable_cpu_mem_arena = True
    options.enable_mem_reuse = False  # else a layer's buffers are kept for the next one's
    options.add_session_config_entry("session.use_env_allocators", "1")
    options.add_session_config_entry("session.use_device_allocator_for_initializers", "1")  # weights stay: not in the arena
    run_options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")


@functools.cache
def make_shared_arena() -> None:
    """Once a process. It grows by what is asked for, where a session's own would double."""
    memory = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    sizes = {"arena_extend_strategy": 1, "initial_chunk_size_bytes": 2**20, "max_dead_bytes_per_chunk": 2**20}
    onnxruntime.create_and_register_allocator(memory, onnxruntime.OrtArenaCfg(sizes))


def open_checked(file: Path, entry: ModelEntry, broken: Callable[[ModelEntry, str], DarkroomError]) -> OnnxSession:
    """A session of an owner's file. Raises DarkroomError for what is unsafe, and `broken`'s where onnxruntime can't open it."""
    check_onnx_file(file, entry.name)
    try:
        return OnnxSession(file)
    except MemoryError:
        raise
    except Exception as error:  # onnxruntime's errors have no base of their own
        raise broken(entry, f"onnxruntime can't open {file.name}") from error


class OnnxModel:
    """The sessions of one model. Raises DarkroomError where its parts want what isn't known here."""

    def __init__(self, folder: Path, variant: str, name: str, config: object) -> None:
        self.files = [file for file in onnx_files(folder, variant) if file.suffix == ".onnx"]
        names = {part_name(file): file for file in self.files}
        parts = {name: OnnxSession(file, arena=name == "vision_encoder") for name, file in names.items()}
        decoder = next((parts[part] for part in ONNX_DECODERS if part in parts), None)
        if decoder is None:
            raise DarkroomError("broken_model", 422, f"{name} has no decoder of the ONNX variant {variant}.")
        self.decoder, self.embedder, self.vision_encoder = decoder, parts.get("embed_tokens"), parts.get("vision_encoder")
        self.caches = [given for given in decoder.types if given.startswith(PAST)]
        self.image_token = next((value for key in IMAGE_TOKEN_KEYS if (value := getattr(config, key, None)) is not None), None)
        self.padding: str | None = None
        """Where rows of a batch are padded ("left", "right", "" for not at all); None until the backend has found out."""
        self._check(name)

    @property
    def nbytes(self) -> int:
        """Bytes of the weights, as they are on disk."""
        return sum(bytes_of(file) for file in self.files)

    def _check(self, name: str) -> None:
        made = {"input_ids", *(self.embedder.outputs if self.embedder else ())}
        known = {*made, *self.caches, *SCALAR_INPUTS, "attention_mask", "position_ids"}
        missing = [PRESENT + past.removeprefix(PAST) for past in self.caches]
        problem = ""
        if unknown := self.decoder.types.keys() - known:
            problem = f"its decoder takes {min(unknown)}"
        elif not self.caches or set(missing) - set(self.decoder.outputs):
            problem = "its decoder has no key-value caches"
        elif len(self.decoder.shapes.get("position_ids", (0, 0))) != 2:
            problem = "its positions have more than one axis"
        elif any(not isinstance(size, int) for past in self.caches for size in self.decoder.shapes[past][1::2]):
            problem = "the sizes of its caches aren't told"
        if problem:
            raise DarkroomError("broken_model", 422, f"{name} can't be run on ONNX here: {problem}.")

    def embed(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """What the decoder takes of `input_ids` (rows, length), and of a processor's pictures where there are any."""
        if self.embedder is None:
            return {"input_ids": inputs["input_ids"]}
        made = self.embedder.run(inputs)
        if self.has_images(inputs):
            embeddings = made["inputs_embeds"]
            embeddings[inputs["input_ids"] == self.image_token] = self.encode_images(inputs).reshape(-1, embeddings.shape[-1])
        return made

    def has_images(self, inputs: Mapping[str, object]) -> bool:
        """True if the inputs contain images."""
        return self.vision_encoder is not None and self.image_token is not None and "pixel_values" in inputs

    def encode_images(self, inputs: Mapping[str, Array]) -> Array:
        """The features of a processor's pictures (rows, tiles, …), in the order of the picture tokens.

        One tile after the other: together they would need the memory of all of them, and scales of 8 bits would depend on neighbours.
        """
        assert self.vision_encoder is not None
        given = {name: np.asarray(inputs[name]) for name in self.vision_encoder.types if name in inputs}
        nested = given["pixel_values"].ndim == 5
        tiles = {name: value.reshape(-1, *value.shape[2:]) if nested else value for name, value in given.items()}
        features_by_tile = []
        trim_heap()  # of what preparing the pictures took
        for tile in range(len(tiles["pixel_values"])):
            one = {name: value[tile : tile + 1] for name, value in tiles.items()}
            found = self.vision_encoder.run({name: value[None] for name, value in one.items()} if nested else one)
            features_by_tile.append(found[self.vision_encoder.outputs[0]])
        trim_heap()
        return np.concatenate([features.reshape(-1, features.shape[-1]) for features in features_by_tile])

    def empty_caches(self) -> list[OrtValue]:
        """KV caches of one row with no tokens."""
        sizes = [[self.decoder.shapes[name][axis] for axis in (1, 3)] for name in self.caches]
        return [
            OrtValue.ortvalue_from_numpy(np.zeros((1, heads, 0, width), self.decoder.types[name]))
            for name, (heads, width) in zip(self.caches, sizes, strict=True)
        ]

    def decode(
        self,
        embedded: Mapping[str, Array],
        mask: Array,
        positions: Array,
        caches: Sequence[OrtValue],
        *,
        every_token: bool = False,
    ) -> tuple[Array, list[OrtValue]]:
        """The logits of each row's last token (rows, vocabulary) float32, and the caches with the new tokens in them.

        With `every_token` those of each new token: (rows, new, vocabulary).

        `mask`: (rows, past and new) 1 where there is a token. `positions`: (rows, new).
        """
        types = self.decoder.types
        given = {**embedded, "attention_mask": mask, "position_ids": positions, **SCALAR_INPUTS}
        if every_token:
            given |= dict.fromkeys(SCALAR_INPUTS, 0)
        feeds = {
            name: OrtValue.ortvalue_from_numpy(np.ascontiguousarray(given[name], kind))
            for name, kind in types.items()
            if name in given
        }
        feeds |= zip(self.caches, caches, strict=True)
        names = ["logits", *(PRESENT + past.removeprefix(PAST) for past in self.caches)]
        with translate_allocation_errors():
            logits, *present = self.decoder.session.run_with_ort_values(names, feeds)
        found = logits.numpy()
        # A copy of the last token's alone, where there are others: a prompt's logits are large.
        return (found if every_token else found[:, -1]).astype(np.float32, copy=found.shape[1] > 1), present


@contextmanager
def translate_allocation_errors() -> Iterator[None]:
    """onnxruntime's failed allocations as MemoryError, which the loader's ladder answers."""
    try:
        yield
    except Exception as error:  # its errors have no base of their own
        if any(sign in str(error) for sign in ("Failed to allocate memory", "bad_alloc")):
            raise MemoryError("onnxruntime could not allocate memory") from error
        raise


def part_name(file: Path) -> str:
    """decoder_model_merged of onnx/decoder_model_merged_q4.onnx"""
    return next(
        part for part in ("decoder_model_merged", "embed_tokens", "vision_encoder", "model") if file.name.startswith(part)
    )


def bytes_of(file: Path) -> int:
    """With the data that lies beside it."""
    return sum(each.stat().st_size for each in file.parent.glob(f"{file.name}*"))


def make_builder() -> Builder:
    return Builder(build=build_onnx, estimate=estimate_bytes)


def build_onnx(entry: ModelEntry, folder: Path, device: Device) -> ChatModel:
    """Load from the folder alone; on the processor, whatever the device. Raises DarkroomError."""
    config = AutoConfig.from_pretrained(folder, **LOCAL_ONLY)
    tokenizer, processor = load_tokenizer(entry, folder)
    has_own = (folder / "generation_config.json").is_file()
    generation = GenerationConfig.from_pretrained(folder, local_files_only=True) if has_own else GenerationConfig()
    model = OnnxModel(folder, entry.onnx_variant, entry.name, config)
    trim_heap()  # weights were read, and packed anew: as much again has been freed
    return ChatModel(model, tokenizer, processor, config, generation)


def estimate_bytes(entry: ModelEntry, folder: Path, device: Device) -> int:
    return sum(bytes_of(file) for file in onnx_files(folder, entry.onnx_variant) if file.suffix == ".onnx")
