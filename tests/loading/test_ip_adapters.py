"""IP-Adapters and their image encoders: from files to what diffusers loads, or to a sentence about what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import CLIPVisionModelWithProjection

from api.catalog import ModelEntry
from api.devices import Device
from api.downloads.local_folders import find_folder
from api.errors import DarkroomError
from api.loading import ip_adapters
from api.loading.image_encoders import ImageEncoder, build_image_encoder, cut_ends, estimate_bytes
from api.loading.ip_adapters import build_ip_adapter
from api.model_files.header import read_header
from api.model_files.identify import identify
from tests.models.tiny import build_tiny_clip, build_tiny_sd
from tests.models.tiny_ip_adapter import FORMS, build_tiny_image_encoder, build_tiny_ip_adapter

DEVICE = Device("cpu", 0, "CPU", torch.float32, False, 2**34)
READ = {"base": "embeds-24", "plus": "states-48", "full": "states-48"}


def entry_of(path: Path, task: str = "ip-adapter") -> ModelEntry:
    return ModelEntry(id="mine", name="Mine", task=task, family="sd1", path=path, single_file=path.is_file())


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return build_tiny_sd(tmp_path / "model")


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    return build_tiny_image_encoder(tmp_path / "encoder")


def refused(path: Path, task: str = "ip-adapter") -> DarkroomError:
    build = build_ip_adapter if task == "ip-adapter" else build_image_encoder
    with pytest.raises(DarkroomError) as caught:
        build(entry_of(path, task), path, DEVICE)
    return caught.value


# ---------------------------------------------------------------- adapters


@pytest.mark.parametrize("form", FORMS)
def test_each_form_is_told_by_its_header_and_loaded(model: Path, tmp_path: Path, form: str) -> None:
    file = build_tiny_ip_adapter(tmp_path / "mine.safetensors", model, form)
    identity = identify(read_header(file), file.name)
    assert (identity.kind, identity.features, identity.unusable) == ("ip_adapter", (READ[form],), "")
    built = build_ip_adapter(entry_of(file), file, DEVICE)
    assert (built.features, built.reads_states, built.encoder) == (READ[form], form != "base", None)
    tensors = load_file(file)
    for number, layer in enumerate(built.to_k):
        assert torch.equal(layer.weight, tensors[f"ip_adapter.{2 * number + 1}.to_k_ip.weight"])
    wanted = sum(tensor.nbytes for tensor in tensors.values())
    assert ip_adapters.estimate_bytes(entry_of(file), file, DEVICE) == wanted


def test_a_folder_has_its_own_encoder(model: Path, tmp_path: Path) -> None:
    folder = build_tiny_ip_adapter(tmp_path / "mine" / "any name.safetensors", model).parent
    build_tiny_image_encoder(folder / "image_encoder")
    assert find_folder(entry_of(folder)) == folder
    built = build_ip_adapter(entry_of(folder), folder, DEVICE)
    assert built.encoder is not None
    assert built.features in built.encoder.features


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tensors: tensors.pop("image_proj.norm.weight"), "norm.weight"),
        (lambda tensors: tensors.pop("ip_adapter.3.to_k_ip.weight"), "lacks tensors"),
        (lambda tensors: tensors["ip_adapter.1.to_v_ip.weight"].fill_(torch.nan), "not numbers"),
        (lambda tensors: tensors.pop("image_proj.proj.weight"), "not known here"),
    ],
)
def test_a_damaged_one_is_refused_and_what_is_wrong_is_named(model: Path, tmp_path: Path, change: object, said: str) -> None:
    file = build_tiny_ip_adapter(tmp_path / "mine.safetensors", model)
    tensors = load_file(file)
    change(tensors)  # type: ignore[operator]
    save_file(tensors, file)
    assert said in refused(file).detail


def test_a_file_that_is_cut_off_is_damaged(model: Path, tmp_path: Path) -> None:
    file = build_tiny_ip_adapter(tmp_path / "mine.safetensors", model)
    file.write_bytes(file.read_bytes()[:-100])
    assert refused(file).code == "damaged"


# ---------------------------------------------------------------- what reads their pictures


def same(one: ImageEncoder, other: CLIPVisionModelWithProjection) -> bool:
    ours, theirs = one.network.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_folder_is_what_transformers_loads(encoder: Path) -> None:
    built = build_image_encoder(entry_of(encoder, "image-encoder"), encoder, DEVICE)
    assert same(built, CLIPVisionModelWithProjection.from_pretrained(encoder))
    assert built.features == ("embeds-24", "states-48")
    assert estimate_bytes(entry_of(encoder, "image-encoder"), encoder, DEVICE) == sum(p.nbytes for p in built.parameters())


def test_one_file_needs_no_configuration(encoder: Path, tmp_path: Path) -> None:
    file = tmp_path / "clip_vision.safetensors"
    file.write_bytes((encoder / "model.safetensors").read_bytes())
    assert identify(read_header(file), file.name).features == ("embeds-24", "states-48")
    built = build_image_encoder(entry_of(file, "image-encoder"), file, DEVICE)
    whole = CLIPVisionModelWithProjection.from_pretrained(encoder)
    assert same(built, whole)
    picture = Image.effect_noise((60, 40), 80).convert("RGB")
    reference = build_image_encoder(entry_of(encoder, "image-encoder"), encoder, DEVICE)
    for states in (False, True):
        ours, theirs = (one.read(picture, states=states, guided=True) for one in (built, reference))
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)  # where the weights lie in memory decides the last bits


@pytest.mark.parametrize(
    ("width", "heads", "activation"),
    [(768, 12, "quick_gelu"), (1024, 16, "quick_gelu"), (1280, 16, "gelu"), (1664, 16, "gelu")],
)
def test_heads_and_activation_are_those_of_the_published_networks(width: int, heads: int, activation: str) -> None:
    from api.loading.image_encoders import config_of
    from tests.model_files.files import header_of

    header = header_of(
        {
            "vision_model.embeddings.patch_embedding.weight": (width, 3, 14, 14),
            "vision_model.embeddings.position_embedding.weight": (257, width),
            "vision_model.encoder.layers.0.mlp.fc1.weight": (4 * width, width),
            "visual_projection.weight": (1024, width),
        }
    )
    config = config_of(header)
    assert (config["num_attention_heads"], config["hidden_act"], config["image_size"]) == (heads, activation, 224)


def test_one_that_lacks_a_tensor_is_refused_before_its_weights_are_read(encoder: Path) -> None:
    file = encoder / "model.safetensors"
    tensors = load_file(file)
    save_file({**tensors, "visual_projection.weight": tensors["visual_projection.weight"] * torch.nan}, file)
    assert "visual_projection.weight in model.safetensors has values that are not" in refused(file, "image-encoder").detail
    del tensors["vision_model.encoder.layers.1.mlp.fc1.weight"]
    save_file(tensors, file)
    assert "vision_model.encoder.layers.1.mlp.fc1.weight" in refused(file, "image-encoder").detail


def test_another_network_is_refused(tmp_path: Path, encoder: Path) -> None:
    clip = build_tiny_clip(tmp_path / "clip")
    assert "no picture half of a CLIP" in refused(clip / "model.safetensors", "image-encoder").detail
    config = json.loads((encoder / "config.json").read_text())
    (encoder / "config.json").write_text(json.dumps({**config, "model_type": "siglip_vision_model"}))
    assert "siglip_vision_model" in refused(encoder, "image-encoder").detail


@pytest.mark.parametrize("size", [(10, 20_000), (20_000, 10), (100, 350)])
def test_of_a_long_picture_the_middle_is_read(size: tuple[int, int]) -> None:
    cut = cut_ends(Image.new("RGB", size))
    assert min(cut.size) == min(size)
    assert max(cut.size) <= 4 * min(size)
