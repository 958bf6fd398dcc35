"""Heads on CLIP's embeddings: told by their keys, computed as published, converted from pickles only by command."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from django.core.management import CommandError, call_command
from safetensors.torch import load_file, save_file

from api.catalog import Catalog, ModelEntry, load_catalog
from api.devices import probe_device
from api.downloads.store import ModelStore
from api.errors import DarkroomError
from api.loading.heads import find_head, make_head, recognise
from api.model_loader import ModelLoader
from tests.models.hub_server import HubServer
from tests.models.tiny import LINEAR_PLACES, RELU_PLACES, head_tensors

TASK = "aesthetic-head"


def embeddings(width: int = 768) -> torch.Tensor:
    torch.manual_seed(3)
    return torch.nn.functional.normalize(torch.randn(5, width), dim=1)


def one_affine_map(tensors: dict[str, torch.Tensor], places: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """The product of all layers, in fp64."""
    width = tensors[f"layers.{places[0]}.weight"].shape[1]
    weight, bias = torch.eye(width, dtype=torch.float64), torch.zeros(width, dtype=torch.float64)
    for place in places:
        w, b = tensors[f"layers.{place}.weight"].double(), tensors[f"layers.{place}.bias"].double()
        weight, bias = w @ weight, w @ bias + b
    return weight, bias


def test_version_1_is_one_weight_and_one_bias() -> None:
    tensors = {"weight": torch.randn(1, 768), "bias": torch.randn(1)}
    expected = embeddings() @ tensors["weight"][0] + tensors["bias"]
    torch.testing.assert_close(make_head(tensors)(embeddings()), expected)


def test_linear_mse_equals_one_affine_map() -> None:
    tensors = head_tensors(LINEAR_PLACES)
    weight, bias = one_affine_map(tensors, LINEAR_PLACES)
    expected = (embeddings().double() @ weight.T + bias).squeeze(1)
    torch.testing.assert_close(make_head(tensors)(embeddings()).double(), expected, atol=1e-5, rtol=1e-4)


def test_relu_mse_has_an_activation_after_each_layer_but_the_last() -> None:
    tensors = head_tensors(RELU_PLACES)
    expected = embeddings()
    for place in RELU_PLACES:
        expected = expected @ tensors[f"layers.{place}.weight"].T + tensors[f"layers.{place}.bias"]
        expected = expected.relu() if place != RELU_PLACES[-1] else expected
    found = make_head(tensors)(embeddings())
    torch.testing.assert_close(found, expected.squeeze(1), atol=1e-6, rtol=1e-5)
    weight, bias = one_affine_map(tensors, RELU_PLACES)
    assert (found - (embeddings().double() @ weight.T + bias).squeeze(1)).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("keys", "name"),
    [
        (["weight", "bias"], "LAION v1 (linear)"),
        ([f"layers.{n}.{part}" for n in LINEAR_PLACES for part in ("weight", "bias")], "LAION v2 linearMSE"),
        ([f"layers.{n}.{part}" for n in RELU_PLACES for part in ("weight", "bias")], "LAION v2 reluMSE"),
    ],
)
def test_a_head_is_told_by_its_keys(keys: list[str], name: str) -> None:
    assert recognise(find_head(keys)).name == name


def test_a_head_within_a_larger_checkpoint_is_found() -> None:
    rest = ["vision_model.encoder.layers.0.mlp.fc1.weight", "vision_model.post_layernorm.bias", "visual_projection.weight"]
    assert find_head([*rest, "predictor.weight", "predictor.bias"]) == {"weight": "predictor.weight", "bias": "predictor.bias"}


# -- Through the loader


@pytest.fixture
def add(tmp_path: Path, store: ModelStore) -> Callable[..., ModelLoader]:
    """A loader whose catalog has a head of these tensors."""

    def make(tensors: dict[str, torch.Tensor]) -> ModelLoader:
        (tmp_path / "head").mkdir()
        save_file(tensors, tmp_path / "head" / "model.safetensors")
        entry = ModelEntry(id="head", name="Head", task=TASK, family="laion", path=tmp_path / "head", base="clip")
        hub = ModelEntry(id="hub", name="Hub", task=TASK, family="laion", repo="some/one", files=("model.safetensors",))
        return ModelLoader(Catalog({"head": entry, "hub": hub}, {}), store, probe_device("cpu"))

    return make


def test_a_head_is_loaded_from_a_folder_with_one_file_in_fp32(add: Callable[..., ModelLoader]) -> None:
    tensors = head_tensors(LINEAR_PLACES)
    loader = add(tensors)
    with loader.use("head", TASK) as lease:
        assert (lease.pipeline.width, lease.dtype) == (768, torch.float32)
    assert loader.loaded()[0]["bytes"] == sum(tensor.nbytes for tensor in tensors.values())


def test_what_a_larger_checkpoint_has_beside_the_head_is_not_held(add: Callable[..., ModelLoader]) -> None:
    loader = add(
        {"vision_model.x.weight": torch.ones(500, 500), "predictor.weight": torch.ones(1, 8), "predictor.bias": torch.ones(1)}
    )
    with loader.use("head", TASK) as lease:
        assert lease.loaded_model.builder.estimate(lease.entry, lease.entry.path, lease.device) == 36  # type: ignore[arg-type]
    assert loader.loaded()[0]["bytes"] == 36


def test_a_head_comes_from_the_hub(add: Callable[..., ModelLoader], hub: HubServer, tmp_path: Path) -> None:
    loader = add(head_tensors(LINEAR_PLACES))
    hub.add(
        "some/one", {"model.safetensors": (tmp_path / "head" / "model.safetensors").read_bytes(), "pytorch_model.bin": b"x"}
    )
    with loader.use("hub", TASK) as lease:
        assert lease.pipeline.layout.name == "LAION v2 linearMSE"
    assert hub.fetched() == ["model.safetensors"]


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"fc.weight": torch.ones(1, 8)}, "of no head that is known here"),
        ({"weight": torch.ones(1, 8)}, "of no head that is known here"),
        ({"weight": torch.ones(2, 8), "bias": torch.ones(2)}, r"its layers give \[2\], where LAION v1 \(linear\) gives \[1\]"),
        ({"weight": torch.ones(1, 8), "bias": torch.ones(3)}, r"its bias \(3,\)"),
    ],
)
def test_a_file_that_is_no_head_is_refused_in_words(
    add: Callable[..., ModelLoader], tensors: dict[str, torch.Tensor], said: str
) -> None:
    with pytest.raises(DarkroomError, match=said) as caught, add(tensors).use("head", TASK):
        pass
    assert caught.value.code == "broken_model"


# -- The command


@pytest.fixture
def convert(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs `convert_weights` on what torch saves of `content`; gives what it prints."""

    def run(content: Any, name: str = "head.pth", **options: Any) -> str:
        torch.save(content, tmp_path / name)
        call_command("convert_weights", str(tmp_path / name), output=tmp_path / "out", **options)
        return capsys.readouterr().out

    return run


def test_a_pickled_head_becomes_safetensors_with_the_same_values(convert: Callable[..., str], tmp_path: Path) -> None:
    tensors = head_tensors(LINEAR_PLACES)
    said = convert(tensors, "sac+logos+ava1-l14-linearMSE.pth")
    assert "is a LAION v2 linearMSE" in said
    written = load_file(tmp_path / "out" / "model.safetensors")
    assert written.keys() == tensors.keys()
    assert all(torch.equal(written[name], tensors[name]) for name in tensors)


def test_the_table_that_is_printed_offers_the_head(convert: Callable[..., str], tmp_path: Path) -> None:
    said = convert(head_tensors(RELU_PLACES), "ava+logos-l14-reluMSE.pth")
    extra = tmp_path / "extra.toml"
    extra.write_text(said[said.index("[models.") :])
    entry = load_catalog(extra).get("ava-logos-l14-reluMSE")
    assert (entry.task, entry.family, entry.base) == (TASK, "laion", "clip-vit-large-patch14")
    with ModelLoader(load_catalog(extra), ModelStore(tmp_path), probe_device("cpu")).use(entry.id, TASK) as lease:
        assert lease.pipeline.layout.name == "LAION v2 reluMSE"


class Explosive:
    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, ("raise SystemExit('code of the file was run')",))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (torch.nn.Linear(8, 1), "is no file of weights alone"),
        ({"weight": Explosive()}, "is no file of weights alone"),
        ({"weights": {"weight": torch.ones(1, 8)}}, "is no plain state dict: 'weights' is no tensor"),
        ({"state_dict": {"weight": 1.0}}, "is no plain state dict: 'weight' is no tensor"),
        ({"state_dict": {"weight": Explosive()}}, "is no file of weights alone"),
        ([torch.ones(1)], "holds a list, not a state dict"),
        ({"fc.weight": torch.ones(1, 8)}, "of no network that is known here"),
        (
            {"weight": torch.ones(4, 8), "bias": torch.ones(4)},
            r"It has the keys of LAION v1 \(linear\), but its layers give \[4\]",
        ),
    ],
)
def test_what_is_no_plain_state_dict_of_a_known_head_is_refused(
    convert: Callable[..., str], tmp_path: Path, content: Any, said: str
) -> None:
    with pytest.raises(CommandError, match=said):
        convert(content)
    assert not (tmp_path / "out").exists()


def test_a_plain_pickle_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "evil.pth").write_bytes(pickle.dumps(Explosive()))
    with pytest.raises(CommandError, match="is no file of weights alone"):
        call_command("convert_weights", str(tmp_path / "evil.pth"), output=tmp_path / "out")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"nowhere\.pth: No such file"):
        call_command("convert_weights", str(tmp_path / "nowhere.pth"), output=tmp_path / "out")


def test_a_base_that_is_not_in_the_catalog_is_named(convert: Callable[..., str]) -> None:
    with pytest.raises(CommandError, match="no model 'clip-x'"):
        convert(head_tensors(LINEAR_PLACES), base="clip-x")
