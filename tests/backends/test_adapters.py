from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file

from api.catalog import AdapterEntry, Catalog, ModelEntry, UnknownAdapter
from api.devices import Device
from api.downloads.store import ModelStore
from api.errors import DarkroomError
from api.images.backends.adapters import apply_adapters, remove_adapters
from api.images.backends.local import generate
from api.images.backends.lora_changes import Lora
from api.images.backends.lora_keys import DENOISER, find_layers
from api.model_loader import ModelLoader
from tests.backends.lora_files import changes, layers_of, make_factors, write, write_kohya, write_peft
from tests.backends.recorder import Recorder, request
from tests.models.tiny import build_tiny_lora


def picture(loader: ModelLoader, **fields: object) -> bytes:
    return generate(loader, [request(**fields)], Recorder())[0][0].tobytes()


def test_an_adapter_acts_with_its_weight_and_leaves_no_trace(loader: ModelLoader) -> None:
    before = picture(loader)
    strong, weak = picture(loader, loras=(("bold", 1.0),)), picture(loader, loras=(("bold", 0.3),))
    after = picture(loader)

    assert len({before, strong, weak}) == 3
    assert before == after


def test_an_adapter_of_weight_zero_changes_nothing(loader: ModelLoader) -> None:
    assert picture(loader, loras=(("bold", 0.0),)) == picture(loader)


def test_the_same_adapter_twice_in_a_row_gives_the_same_picture(loader: ModelLoader) -> None:
    assert picture(loader, loras=(("bold", 0.8),)) == picture(loader, loras=(("bold", 0.8),))


def test_an_adapter_of_another_family_is_an_error_that_names_the_field(loader: ModelLoader) -> None:
    with pytest.raises(DarkroomError) as raised:
        picture(loader, loras=(("foreign", 1.0),))

    assert (raised.value.code, raised.value.status, raised.value.field) == ("lora_mismatch", 400, "loras")


def test_an_adapter_whose_weights_do_not_fit_is_an_error_and_leaves_no_trace(loader: ModelLoader) -> None:
    before = picture(loader, model_id="sdxl")

    with pytest.raises(DarkroomError, match="does not fit"):
        picture(loader, model_id="sdxl", loras=(("foreign", 1.0),))

    assert picture(loader, model_id="sdxl") == before


def test_an_unknown_adapter_is_the_catalog_s_error(loader: ModelLoader) -> None:
    with pytest.raises(UnknownAdapter):
        picture(loader, loras=(("no-such-adapter", 1.0),))


# -- Files in the forms that people have ---------------------------------------------------------------------------------------


def lora(path: Path, weight: float = 1.0) -> Lora:
    return Lora("mine", path, weight)


@pytest.fixture(params=["sd1", "sd2", "sdxl"])
def pipeline(request: pytest.FixtureRequest, loader: ModelLoader) -> Iterator[Any]:
    with loader.use(request.param, "text-to-image") as lease:
        remove_adapters(lease.pipeline)
        yield lease.pipeline
        remove_adapters(lease.pipeline)


def is_xl(pipeline: Any) -> bool:
    return hasattr(pipeline, "text_encoder_2")


def assert_scaled(pipeline: Any, factors: Any, scales: list[float]) -> None:
    made = changes(pipeline, factors)
    for (name, (down, up)), scale in zip(factors.items(), scales, strict=True):
        product = (up.flatten(1) @ down.flatten(1)).reshape(made[name].shape) * scale
        torch.testing.assert_close(made[name], product, rtol=0, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}")


ALPHAS: dict[str, Callable[[int, int], float | None]] = {
    "uniform": lambda number, rank: 2.0,
    "differs by layer": lambda number, rank: (1.0, 2.0, 8.0)[number % 3],
    "half of the layers have none": lambda number, rank: 1.0 if number % 2 else None,
    "resized (alpha is half of the rank)": lambda number, rank: rank / 2,
}


@pytest.mark.parametrize("convolutions", [False, True], ids=["linear", "convolutions too"])
@pytest.mark.parametrize("alphas", ALPHAS)
def test_each_layer_changes_by_up_times_down_times_alpha_over_rank(
    pipeline: Any, tmp_path: Path, alphas: str, convolutions: bool
) -> None:
    factors = make_factors(layers_of(pipeline, convolutions=convolutions), rank=lambda number: 2 + number % 3)
    file = write_kohya(tmp_path / "lora.safetensors", factors, ALPHAS[alphas], xl=is_xl(pipeline))

    assert apply_adapters(pipeline, [lora(file)]) == []

    ranks = [down.shape[0] for down, _ in factors.values()]
    found = [ALPHAS[alphas](number, rank) for number, rank in enumerate(ranks)]
    assert_scaled(pipeline, factors, [1.0 if a is None else a / rank for a, rank in zip(found, ranks, strict=True)])


def test_adapters_add_up_each_scaled_as_it_is_alone(sd1: Any, tmp_path: Path) -> None:
    factors = make_factors(layers_of(sd1), rank=lambda number: 2 + number % 3)
    one = write_kohya(tmp_path / "one.safetensors", factors, ALPHAS["uniform"])
    two = write_kohya(tmp_path / "two.safetensors", factors, ALPHAS["differs by layer"])

    assert apply_adapters(sd1, [lora(one), lora(two, 0.5)]) == []

    scales = [(2.0 + 0.5 * (1.0, 2.0, 8.0)[number % 3]) / (2 + number % 3) for number in range(len(factors))]
    assert_scaled(sd1, factors, scales)


@pytest.mark.parametrize("form", ["{}", "base_model.model.{}", "diffusion_model.{}"])
def test_names_without_a_component_are_the_denoiser_s(sd1: Any, tmp_path: Path, form: str) -> None:
    factors = {name: pair for name, pair in make_factors(layers_of(sd1)).items() if name.startswith("unet.")}
    renamed = {form.format(name.removeprefix("unet.")): pair for name, pair in factors.items()}

    assert apply_adapters(sd1, [lora(write_peft(tmp_path / "lora.safetensors", renamed))]) == []

    assert_scaled(sd1, factors, [1.0] * len(factors))


def test_sdxl_s_original_names_are_diffusers_names() -> None:
    """The places are those of the published model: three blocks, of which the first has no attention."""
    with torch.device("meta"):
        unet = UNet2DConditionModel(
            block_out_channels=(32, 64, 64),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            transformer_layers_per_block=(1, 2, 10),
        )
    layers = find_layers(SimpleNamespace(unet=unet))
    expected = {
        "input_blocks_0_0": "conv_in",
        "input_blocks_1_0_in_layers_2": "down_blocks.0.resnets.0.conv1",
        "input_blocks_3_0_op": "down_blocks.0.downsamplers.0.conv",
        "input_blocks_4_1_transformer_blocks_0_attn1_to_q": "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q",
        "input_blocks_8_1_transformer_blocks_9_ff_net_2": "down_blocks.2.attentions.1.transformer_blocks.9.ff.net.2",
        "middle_block_1_proj_in": "mid_block.attentions.0.proj_in",
        "middle_block_2_emb_layers_1": "mid_block.resnets.1.time_emb_proj",
        "output_blocks_2_2_conv": "up_blocks.0.upsamplers.0.conv",
        "output_blocks_3_1_transformer_blocks_1_attn2_to_out_0": "up_blocks.1.attentions.0.transformer_blocks.1.attn2.to_out.0",
        "output_blocks_8_0_skip_connection": "up_blocks.2.resnets.2.conv_shortcut",
        "time_embed_2": "time_embedding.linear_2",
        "out_2": "conv_out",
    }

    assert {name: layers[DENOISER, name].name.removeprefix("unet.") for name in expected} == expected


@pytest.mark.parametrize("write_file", [write_peft, lambda file, factors: write_kohya(file, factors, ALPHAS["uniform"])])
def test_keys_that_fit_nothing_are_counted_in_a_warning_each_time(
    loader: ModelLoader, tmp_path: Path, write_file: Callable[..., Path]
) -> None:
    with loader.use("sd1", "text-to-image") as lease:
        remove_adapters(lease.pipeline)
        factors = {name: pair for name, pair in make_factors(layers_of(lease.pipeline)).items() if "unet" in name}
        quarter = len(factors) // 4
        renamed = {
            name.replace("blocks", "gone") if number < quarter else name: pair
            for number, (name, pair) in enumerate(factors.items())
        }
        file = write_file(tmp_path / "lora.safetensors", renamed)
        parts = len(load_file(file)) // len(factors)
        notes = [apply_adapters(lease.pipeline, [lora(file)]) for _ in range(2)]
        remove_adapters(lease.pipeline)

    assert notes[0] == notes[1]
    [note] = notes[0]
    assert f"{parts * quarter} of the {parts * len(factors)} keys of its file fit nothing" in note
    assert "gone" in note


def loader_with(folder: Path, model: Path, file: Path) -> ModelLoader:
    entry = ModelEntry(id="sd1", name="sd1", family="sd1", path=model)
    catalog = Catalog(models={"sd1": entry}, adapters={"mine": AdapterEntry(id="mine", name="mine", family="sd1", path=file)})
    return ModelLoader(catalog, ModelStore(folder), Device("cpu", 0, "test", torch.float32, True, 2**33))


def test_a_job_with_an_adapter_that_fits_in_part_has_the_warning(tmp_path: Path, sd1_folder: Path) -> None:
    tensors = load_file(build_tiny_lora(tmp_path, sd1_folder))
    file = write(tmp_path / "lora.safetensors", {**tensors, "unet.gone.lora_A.weight": torch.ones(1)})
    loader = loader_with(tmp_path, sd1_folder, file)
    hooks = [Recorder(), Recorder()]

    for recorder in hooks:
        generate(loader, [request(loras=(("mine", 1.0),))], recorder)

    assert all("fits this model in part: 1 of the 65 keys" in recorder.warnings[0] for recorder in hooks)


@pytest.mark.parametrize(
    "key",
    ["lora_unet_conv_in.weight", "unet.conv_in.weight", "lora_unet_gone.lora_up.weight", "bundle_emb.word.string_to_param.*"],
)
def test_a_file_of_which_nothing_can_be_applied_is_a_400_that_names_a_key(sd1: Any, tmp_path: Path, key: str) -> None:
    file = write(tmp_path / "other.safetensors", {key: torch.ones(16, 4, 3, 3)})

    with pytest.raises(DarkroomError, match=f"none of the 1 keys.*{re.escape(key)}") as raised:
        apply_adapters(sd1, [lora(file)])

    assert (raised.value.code, raised.value.status, raised.value.field) == ("lora_mismatch", 400, "loras")


def test_an_embedding_in_the_file_of_a_lora_is_told(sd1: Any, tmp_path: Path) -> None:
    file = write_kohya(tmp_path / "lora.safetensors", make_factors(layers_of(sd1)), ALPHAS["uniform"])
    tensors = load_file(file)
    write(file, {**tensors, "bundle_emb.word.string_to_param.*": torch.ones(2, 32)})

    [note] = apply_adapters(sd1, [lora(file)])

    assert f"1 of the {len(tensors) + 1} keys of its file fit nothing" in note
    assert "bundle_emb.word" in note


def test_half_of_what_a_change_takes_is_a_damaged_file(sd1: Any, tmp_path: Path) -> None:
    file = write(tmp_path / "loha.safetensors", {"lora_unet_conv_in.hada_w1_a": torch.ones(4, 4)})

    with pytest.raises(DarkroomError, match=r"hada_w1_a has no counterpart") as raised:
        apply_adapters(sd1, [lora(file)])

    assert (raised.value.code, raised.value.status) == ("lora_broken", 422)


# -- Published models at their size, by shapes alone -----------------------------------------------------------------------------


def test_each_layer_of_sdxl_has_one_name_of_each_kind() -> None:
    with torch.device("meta"):
        unet = UNet2DConditionModel(
            cross_attention_dim=2048,
            block_out_channels=(320, 640, 1280),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            transformer_layers_per_block=(1, 2, 10),
            attention_head_dim=(5, 10, 20),
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=256,
            projection_class_embeddings_input_dim=2816,
        )
    found = find_layers(SimpleNamespace(unet=unet))
    original = [name for _, name in found if name.startswith(("input_", "middle_", "output_", "time_embed_", "label_", "out_"))]
    theirs = {layer.name for (_, name), layer in found.items() if name in original and len(layer.shape) > 1}

    changed = {f"unet.{name}" for name, child in unet.named_modules() if isinstance(child, torch.nn.Linear | torch.nn.Conv2d)}
    assert theirs == changed
    assert len(original) == len({found[DENOISER, name] for name in original})
    assert len([name for name in theirs if re.search(r"attentions.*(to_[qkv]|to_out|ff|proj_(in|out))", name)]) == 722


def test_a_layer_of_another_width_is_a_400_that_names_the_key(sd1: Any, tmp_path: Path) -> None:
    factors = make_factors(layers_of(sd1))
    name = next(name for name in factors if "attn2.to_k" in name)
    factors[name] = (torch.ones(4, 1024), factors[name][1])

    with pytest.raises(DarkroomError, match=r"attn2_to_k.lora_down.weight has the shape 4×1024.*takes 4×32") as raised:
        apply_adapters(sd1, [lora(write_kohya(tmp_path / "lora.safetensors", factors, ALPHAS["uniform"]))])

    assert raised.value.code == "lora_mismatch"


def break_pair(file: Path) -> str:
    tensors = load_file(file)
    key = next(key for key in tensors if key.endswith("lora_B.weight"))
    del tensors[key]
    write(file, tensors)
    return key.replace("lora_B", "lora_A")


def break_number(file: Path) -> str:
    tensors = load_file(file)
    key = next(iter(tensors))
    tensors[key][0] = torch.nan
    write(file, tensors)
    return key


def cut_off(file: Path) -> str:
    size = file.stat().st_size
    file.write_bytes(file.read_bytes()[:-10])
    return f"should have {size} bytes and has {size - 10}"


def cut_header(file: Path) -> str:
    file.write_bytes(file.read_bytes()[:6])
    return "cut off"


def make_pointer(file: Path) -> str:
    file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n")
    return "Git LFS pointer"


def replace_by_json(file: Path) -> str:
    file.write_bytes((7).to_bytes(8, "little") + b'{"a":1}')
    return "describe the tensor"


def empty(file: Path) -> str:
    save_file({}, file)
    return "no tensors"


@pytest.mark.parametrize("damage", [break_pair, break_number, cut_off, cut_header, make_pointer, replace_by_json, empty])
def test_a_damaged_file_is_an_error_that_names_it_and_its_fault(
    sd1: Any, tmp_path: Path, sd1_folder: Path, damage: Callable[[Path], str]
) -> None:
    file = build_tiny_lora(tmp_path, sd1_folder)
    said = damage(file)

    with pytest.raises(DarkroomError) as raised:
        apply_adapters(sd1, [lora(file)])

    assert (raised.value.code, raised.value.status, raised.value.field) == ("lora_broken", 422, "loras")
    assert "lora.safetensors" in raised.value.detail
    assert said in raised.value.detail


def test_a_transformer_s_original_names_are_converted(loader: ModelLoader, tmp_path: Path) -> None:
    """kohya's names for FLUX: query, key and value are one layer there."""
    prefix = "lora_unet_double_blocks_0_img_attn_qkv"
    tensors = {
        f"{prefix}.lora_down.weight": torch.ones(4, 32) * 0.1,
        f"{prefix}.lora_up.weight": torch.ones(96, 4) * 0.1,
        f"{prefix}.alpha": torch.tensor(2.0),
    }
    file = write(tmp_path / "lora.safetensors", tensors)
    with loader.use("flux", "text-to-image") as lease:
        notes = apply_adapters(lease.pipeline, [lora(file)])
        name = "transformer.transformer_blocks.0.attn.to_q"
        made = changes(lease.pipeline, [name])[name]
        remove_adapters(lease.pipeline)

    assert notes == []
    torch.testing.assert_close(made, torch.full((32, 32), 4 * 0.01 * 2 / 4))
