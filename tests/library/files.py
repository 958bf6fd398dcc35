"""Files as people have them, in small: whole headers, and weights that take no space on the disk."""

from pathlib import Path

from api.library.models import LibraryFile
from tests.model_files.files import Shape, header_of, write_sparse
from tests.model_files.test_identify import SD1, SDXL

VAE: dict[str, Shape] = {"decoder.conv_in.weight": (512, 4, 3, 3)}
EMBEDDING: dict[str, Shape] = {"emb_params": (8, 768)}
UPSCALER: dict[str, Shape] = {"model.1.sub.0.RDB1.conv1.0.weight": (32, 64, 3, 3)}
LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
PICKLE = b"\x80\x02}q\x00."


def lora_keys(width: int = 768) -> dict[str, Shape]:
    name = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
    return {f"{name}.lora_down.weight": (4, width), f"{name}.lora_up.weight": (320, 4), f"{name}.alpha": ()}


def write_file(file: Path, shapes: dict[str, Shape], **metadata: str) -> Path:
    """In `metadata`, __ stands for a full stop."""
    file.parent.mkdir(parents=True, exist_ok=True)
    return write_sparse(file, header_of(shapes, {key.replace("__", "."): value for key, value in metadata.items()}))


def write_checkpoint(file: Path, **metadata: str) -> Path:
    return write_file(file, SD1, **metadata)


def write_xl(file: Path, **metadata: str) -> Path:
    return write_file(file, SDXL, **metadata)


def write_lora(file: Path, width: int = 768, **metadata: str) -> Path:
    return write_file(file, lora_keys(width), **metadata)


def write_bytes(file: Path, content: bytes) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def row_of(name: str) -> LibraryFile:
    return LibraryFile.objects.get(file_name=name)


def rows() -> dict[str, LibraryFile]:
    return {row.relative_path: row for row in LibraryFile.objects.present()}
