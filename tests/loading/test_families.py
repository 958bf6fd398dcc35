"""Our configurations are those of the releases: their files' headers fit, at full size, and the sizes are the published ones."""

from __future__ import annotations

import json
import lzma
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from sentencepiece import SentencePieceProcessor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, T5EncoderModel, T5Tokenizer

from api.catalog import ModelEntry
from api.catalog.single_files import why_not
from api.devices import Device
from api.errors import DarkroomError
from api.loading.checkpoints import build_empty, class_of
from api.loading.pipelines import build_pipeline
from api.loading.single_files.clip_tokenizer import make_clip_tokenizer
from api.loading.single_files.configurations import FAMILIES
from api.loading.single_files.fitting import check_part
from api.loading.single_files.plan import Plan, make_plan
from api.loading.single_files.t5_tokenizer import PIECES, make_t5_tokenizer
from tests.loading import originals
from tests.model_files.files import Shape, header_of, write_sparse
from tests.models.tiny import build_tiny_sd, build_tiny_sd3

ENTRY = ModelEntry(id="mine", name="Mine")
CPU = Device("cpu", 0, "CPU", torch.float32, False, 2**34)

SIZES = {
    "sd1": {"unet": 859_520_964, "vae": 83_653_863, "text_encoder": 123_060_480},
    "sd2": {"unet": 865_910_724, "vae": 83_653_863, "text_encoder": 340_387_840},
    "sdxl": {"unet": 2_567_463_684, "vae": 83_653_863, "text_encoder": 123_060_480, "text_encoder_2": 694_659_840},
    "sd3": {"transformer": 2_028_328_000, "vae": 83_819_683, "text_encoder": 123_650_304, "text_encoder_2": 694_659_840},
    "flux": {"transformer": 11_901_408_320, "vae": 83_819_683, "text_encoder": 123_060_480},
}
"""Parameters of each part, as published."""
ENCODERS = {
    "sd1": {"text_encoder": ("cond_stage_model.transformer.", originals.with_tower)},
    "sd2": {"text_encoder": ("cond_stage_model.model.", originals.open_clip)},
    "sdxl": {
        "text_encoder": ("conditioner.embedders.0.transformer.", originals.with_tower),
        "text_encoder_2": ("conditioner.embedders.1.model.", originals.open_clip),
    },
    "sd3": {
        "text_encoder": ("text_encoders.clip_l.transformer.", originals.with_tower),
        "text_encoder_2": ("text_encoders.clip_g.transformer.", originals.with_tower),
    },
    "flux": {"text_encoder": ("text_encoders.clip_l.transformer.", originals.with_tower)},
}


def empty(family: str, part: str, **changes: Any) -> Any:
    index = json.loads((FAMILIES / family / "model_index.json").read_text())
    config = json.loads((FAMILIES / family / part / "config.json").read_text())
    return build_empty(ENTRY, part, class_of(*index[part]), config | changes)


def release(family: str, **changes: Any) -> dict[str, Shape]:
    """The tensors of a release's file, by its own names; `changes` are of the denoiser's configuration."""
    tensors: originals.Tensors = originals.prefixed(originals.VAE, originals.vae(empty(family, "vae").state_dict()))
    for part, (prefix, rename) in ENCODERS[family].items():
        tensors |= originals.prefixed(prefix, rename(empty(family, part).state_dict()))
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if family == "flux":
        return shapes | {originals.UNET + name: shape for name, shape in flux_shapes(**changes).items()}
    part, rename_denoiser = ("transformer", originals.sd3_transformer) if family == "sd3" else ("unet", originals.unet)
    denoiser = rename_denoiser(empty(family, part, **changes).state_dict())
    return shapes | {originals.UNET + name: tuple(tensor.shape) for name, tensor in denoiser.items()}


def linear(name: str, outputs: int, inputs: int) -> dict[str, Shape]:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def flux_shapes(double: int = 19, single: int = 38, channels: int = 64, *, guidance: bool = True) -> dict[str, Shape]:
    """Black Forest Labs' own names and sizes."""
    width, head = 3072, 128
    shapes = linear("img_in", width, channels) | linear("txt_in", width, 4096)
    for name, inputs in {"time_in": 256, "vector_in": 768, **({"guidance_in": 256} if guidance else {})}.items():
        shapes |= linear(f"{name}.in_layer", width, inputs) | linear(f"{name}.out_layer", width, width)
    for number in range(double):
        for side in ("img", "txt"):
            block = f"double_blocks.{number}.{side}"
            shapes |= linear(f"{block}_mod.lin", 6 * width, width) | linear(f"{block}_attn.qkv", 3 * width, width)
            shapes |= linear(f"{block}_attn.proj", width, width)
            shapes |= {f"{block}_attn.norm.{kind}_norm.scale": (head,) for kind in ("query", "key")}
            shapes |= linear(f"{block}_mlp.0", 4 * width, width) | linear(f"{block}_mlp.2", width, 4 * width)
    for number in range(single):
        block = f"single_blocks.{number}"
        shapes |= linear(f"{block}.modulation.lin", 3 * width, width) | linear(f"{block}.linear1", 7 * width, width)
        shapes |= linear(f"{block}.linear2", width, 5 * width)
        shapes |= {f"{block}.norm.{kind}_norm.scale": (head,) for kind in ("query", "key")}
    return shapes | linear("final_layer.adaLN_modulation.1", 2 * width, width) | linear("final_layer.linear", 64, width)


def planned(tmp_path: Path, shapes: Mapping[str, Shape]) -> Plan:
    """Of a file that has the header, and no weights on the disk. Every part is checked."""
    file = write_sparse(tmp_path / "release.safetensors", header_of(shapes))
    base = tmp_path / "base"
    base.mkdir(exist_ok=True)
    plan = make_plan(ModelEntry(id="mine", name="Mine", path=file, single_file=True), file, None)
    for part in plan.parts:
        model = build_empty(ENTRY, part.name, part.model_class, part.config)
        check_part(ENTRY, file.name, part.name, part.place, part.tensors, model, part.config)
    return plan


@pytest.mark.parametrize(
    ("family", "part", "size"), [(family, *item) for family, parts in SIZES.items() for item in parts.items()]
)
def test_a_part_has_the_published_number_of_parameters(family: str, part: str, size: int) -> None:
    assert sum(parameter.numel() for parameter in empty(family, part).parameters()) == size


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl", "sd3"])
def test_the_header_of_a_release_fits(tmp_path: Path, family: str) -> None:
    plan = planned(tmp_path, release(family))
    assert plan.identity.family == family
    assert {part.name for part in plan.parts} == SIZES[family].keys()


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
def test_the_header_of_an_inpainting_release_fits(tmp_path: Path, family: str) -> None:
    plan = planned(tmp_path, release(family, in_channels=9))
    assert plan.index["_class_name"].endswith("InpaintPipeline")


@pytest.mark.parametrize(
    "changes",
    [
        {"num_layers": 24, "qk_norm": "rms_norm", "dual_attention_layers": tuple(range(13)), "pos_embed_max_size": 96},
        {
            "num_layers": 38,
            "num_attention_heads": 38,
            "caption_projection_dim": 2432,
            "qk_norm": "rms_norm",
            "pos_embed_max_size": 64,
        },
    ],
    ids=["3.5 medium", "3.5 large"],
)
def test_the_headers_of_stable_diffusion_3_5_fit(tmp_path: Path, changes: dict[str, Any]) -> None:
    planned(tmp_path, release("sd3", **changes))


def with_t5(shapes: dict[str, Shape]) -> dict[str, Shape]:
    t5 = {name: tuple(tensor.shape) for name, tensor in empty("flux", "text_encoder_2").state_dict().items()}
    del t5["encoder.embed_tokens.weight"]  # the same as `shared`
    return shapes | {f"text_encoders.t5xxl.transformer.{name}": shape for name, shape in t5.items()}


@pytest.mark.parametrize(("guidance", "variant"), [(True, ""), (False, "schnell")])
def test_the_header_of_flux_fits(tmp_path: Path, guidance: bool, variant: str) -> None:
    plan = planned(tmp_path, with_t5(release("flux", guidance=guidance)))
    assert plan.identity.variant == variant
    assert {part.name for part in plan.parts} == {"transformer", "vae", "text_encoder", "text_encoder_2"}


def test_a_flux_of_fewer_blocks_fits(tmp_path: Path) -> None:
    plan = planned(tmp_path, with_t5(release("flux", double=8, single=20)))
    [transformer] = [part for part in plan.parts if part.name == "transformer"]
    assert (transformer.config["num_layers"], transformer.config["num_single_layers"]) == (8, 20)


def test_a_pruned_sdxl_is_refused(tmp_path: Path) -> None:
    """SSD-1B has SDXL's keys, and fewer of them."""
    shapes = {name: shape for name, shape in release("sdxl").items() if "transformer_blocks.9." not in name}
    with pytest.raises(DarkroomError, match=r"unet in release\.safetensors does not fit a model of its kind"):
        planned(tmp_path, shapes)


def test_the_parts_that_a_transformer_alone_needs_are_named(tmp_path: Path) -> None:
    with pytest.raises(
        DarkroomError,
        match=r"it has no text_encoder; name the files clip_l and t5xxl in the catalog \(`text_encoders`\), or name a model",
    ):
        planned(tmp_path, flux_shapes())


def test_flux_is_put_together_from_the_files_that_comfyui_has(tmp_path: Path) -> None:
    """A transformer, its VAE, CLIP and T5: four files, and no base."""
    whole = with_t5(release("flux"))
    parts = {"clip_l": "text_encoders.clip_l.transformer.", "t5xxl": "text_encoders.t5xxl.transformer.", "ae": originals.VAE}
    files = {
        name: write_sparse(
            tmp_path / f"{name}.safetensors",
            header_of({key.removeprefix(prefix): shape for key, shape in whole.items() if key.startswith(prefix)}),
        )
        for name, prefix in parts.items()
    }
    file = write_sparse(tmp_path / "flux1-dev.safetensors", header_of(flux_shapes()))
    encoders = (str(files["t5xxl"]), str(files["clip_l"]))
    entry = ModelEntry(id="mine", name="Mine", path=file, single_file=True, vae=str(files["ae"]), text_encoders=encoders)
    found = {part.name: part for part in make_plan(entry, file, None).parts}
    assert {name: part.file.stem for name, part in found.items()} == {
        "transformer": "flux1-dev",
        "text_encoder": "clip_l",
        "text_encoder_2": "t5xxl",
        "vae": "ae",
    }
    for part in found.values():
        model = build_empty(ENTRY, part.name, part.model_class, part.config)
        check_part(ENTRY, part.file.name, part.name, part.place, part.tensors, model, part.config)
    assert why_not(entry) == ""


# -- Without a base ----------------------------------------------------------------------------------------------------------


def test_the_tokenizer_is_clip_s() -> None:
    tokenizer = make_clip_tokenizer("sd1", "tokenizer")
    assert tokenizer("a photo of a cat").input_ids == [49406, 320, 1125, 539, 320, 2368, 49407]
    assert (len(tokenizer), tokenizer.model_max_length) == (49408, 77)


@pytest.mark.parametrize(
    ("family", "part", "padding"), [("sd1", "tokenizer", 49407), ("sdxl", "tokenizer", 49407), ("sdxl", "tokenizer_2", 0)]
)
def test_a_prompt_is_padded_as_its_encoder_was_trained(family: str, part: str, padding: int) -> None:
    tokenizer = make_clip_tokenizer(family, part)
    assert tokenizer("cat", padding="max_length", max_length=5).input_ids == [49406, 2368, 49407, padding, padding]


def test_a_file_needs_no_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With configurations in small in the place of ours, and the whole vocabulary."""
    folder = build_tiny_sd(tmp_path / "sd1")
    config = CLIPTextConfig(**{**json.loads((folder / "text_encoder" / "config.json").read_text()), "vocab_size": 49408})
    config.bos_token_id, config.eos_token_id = 49406, 49407
    shutil.rmtree(folder / "text_encoder")
    torch.manual_seed(0)
    CLIPTextModel(config).save_pretrained(folder / "text_encoder")
    file = originals.write(tmp_path / "mine.safetensors", originals.sd1(folder))
    monkeypatch.setattr("api.loading.single_files.configurations.FAMILIES", tmp_path)
    pipeline = build_pipeline(ModelEntry(id="mine", name="Mine", path=file, single_file=True), file, CPU)
    pictures = pipeline("a cat", num_inference_steps=1, height=64, width=64, output_type="pt").images
    assert torch.isfinite(pictures).all()
    assert pipeline.tokenizer.model_max_length == 77


def test_the_tokenizer_of_t5_is_its_own() -> None:
    """Numbers as T5's SentencePiece model gives them, and the marks that T5's encoder was trained with."""
    tokenizer = make_t5_tokenizer()
    assert tokenizer("a photo of a cat").input_ids == [3, 9, 1202, 13, 3, 9, 1712, 1]
    assert (len(tokenizer), tokenizer.model_max_length, tokenizer.pad_token_id, tokenizer.eos_token_id) == (32100, 512, 0, 1)
    processor = SentencePieceProcessor(model_proto=lzma.decompress(PIECES.read_bytes()))
    for text in ("A lake,  at sunset ½", "ＦＵＬＬ width ﬁ 模型 🎨", " \n tab\t", "", "don't (stop:1.2)", "x" * 600):
        assert tokenizer(text).input_ids == [*processor.encode(text), tokenizer.eos_token_id]


def test_a_file_with_t5_needs_no_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = build_tiny_sd3(tmp_path / "sd3")
    for part in ("text_encoder", "text_encoder_2", "text_encoder_3"):
        config = json.loads((folder / part / "config.json").read_text())
        model_class = T5EncoderModel if part == "text_encoder_3" else CLIPTextModelWithProjection
        words = (
            {"vocab_size": 32128}
            if part == "text_encoder_3"
            else {"vocab_size": 49408, "bos_token_id": 49406, "eos_token_id": 49407}
        )
        shutil.rmtree(folder / part)
        torch.manual_seed(0)
        model_class(model_class.config_class(**{**config, **words})).save_pretrained(folder / part)
    for name in ("tokenizer", "tokenizer_2", "tokenizer_3"):
        shutil.rmtree(folder / name)
    file = originals.write(tmp_path / "mine.safetensors", originals.sd3(folder))
    index = json.loads((folder / "model_index.json").read_text())
    index |= {"tokenizer_3": ["transformers", "T5TokenizerFast"]}
    (folder / "model_index.json").write_text(json.dumps(index))
    monkeypatch.setattr("api.loading.single_files.configurations.FAMILIES", tmp_path)
    pipeline = build_pipeline(ModelEntry(id="mine", name="Mine", path=file, single_file=True), file, CPU)
    pictures = pipeline("a cat", num_inference_steps=1, height=64, width=64, max_sequence_length=77, output_type="pt").images
    assert torch.isfinite(pictures).all()
    assert isinstance(pipeline.tokenizer_3, T5Tokenizer)
    assert not torch.equal(pictures, pipeline("a dog", num_inference_steps=1, height=64, width=64, output_type="pt").images)
