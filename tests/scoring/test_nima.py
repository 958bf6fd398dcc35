"""NIMA: its loss, the published layouts, the scorer, and the one that is built in."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from safetensors.torch import save_file

from api import model_loader
from api.catalog import load_catalog
from api.devices import probe_device
from api.downloads.store import ModelStore
from api.errors import DarkroomError
from api.jobs.models import Job
from api.loading.conversion import NotConvertible, convert
from api.loading.nima import DensenetNima, NotNima, ResnetNima, Stage, VggNima, load_nima, network_of
from api.model_loader import ModelLoader
from api.scoring.backends.layout import HEADLINES, Layout
from api.scoring.backends.nima import NimaScorer, emd, spread_of, squeeze
from api.starter import world
from api.starter.architecture import WEIGHTS
from api.starter.world.posters import render_poster, sample_poster, spoil
from api.starter.world.scene import Scene
from tests.scoring.conftest import encoded, poster

pytestmark = pytest.mark.models
RESNET18 = tuple(Stage(2, width, width, False) for width in (64, 128, 256, 512))
RESNET50 = tuple(Stage(blocks, width, 4 * width, True) for blocks, width in ((3, 64), (4, 128), (6, 256), (3, 512)))
SMALL = tuple(Stage(1, width, width, False) for width in (4, 8, 8, 8))


def one_hot(rating: int) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.tensor([rating - 1]), 10).float()


# ---------------------------------------------------------------- reference values


@pytest.mark.parametrize(("first", "second", "expected"), [(1, 10, 0.948683), (4, 5, 0.316228), (7, 7, 0)])
def test_the_loss_is_the_earth_movers_distance_of_power_2(first: int, second: int, expected: float) -> None:
    assert emd(one_hot(first), one_hot(second)).item() == pytest.approx(expected, abs=2e-6)


def test_uniform_ratings_have_mean_5_5_and_deviation_2_872281() -> None:
    mean, deviation = spread_of(torch.full((1, 10), 0.1))
    assert (mean.item(), deviation.item()) == (pytest.approx(5.5, abs=1e-6), pytest.approx(2.872281, abs=1e-6))


def test_a_sure_rating_has_no_deviation() -> None:
    mean, deviation = spread_of(one_hot(8))
    assert (mean.item(), deviation.item()) == (8, pytest.approx(0, abs=1e-3))


# ---------------------------------------------------------------- the published layouts


@pytest.mark.parametrize(
    ("make", "names", "body", "known"),
    [
        (lambda: ResnetNima(64, RESNET18), 122, 11_176_512, ["base_model.7.1.bn2.running_var", "base_model.5.0.downsample.0.weight"]),
        (lambda: ResnetNima(64, RESNET50), 320, 23_508_032, ["base_model.4.2.conv3.weight", "base_model.7.0.downsample.1.bias"]),
        (VggNima, 28, 14_714_688, ["features.0.weight", "features.28.bias", "classifier.1.weight"]),
        (
            DensenetNima,
            727,
            6_953_856,
            ["features.denseblock4.denselayer16.norm2.running_var", "features.transition3.conv.weight", "features.norm5.bias"],
        ),
    ],
    ids=["resnet18", "resnet50", "vgg16", "densenet121"],
)  # fmt: skip
def test_a_layout_has_torchvisions_names_and_sizes(make: Callable[[], Any], names: int, body: int, known: list[str]) -> None:
    network = make()
    state = network.state_dict()
    assert len(state) == names
    assert set(known) <= set(state)
    counted = sum(value.numel() for name, value in network.named_parameters() if not name.startswith(("head", "classifier")))
    assert counted == body


@pytest.mark.parametrize("make", [lambda: ResnetNima(4, SMALL), DensenetNima], ids=["resnet", "densenet121"])
def test_a_layout_is_told_by_its_tensors_and_gives_the_same_ratings(make: Callable[[], Any]) -> None:
    torch.manual_seed(0)
    network, picture = make().eval(), torch.rand(2, 3, 64, 64)
    assert torch.equal(network_of(network.state_dict()).eval()(picture), network(picture))


def test_vgg16_rates_a_picture_of_224_pixels() -> None:
    network = network_of(VggNima().state_dict()).eval()
    with torch.inference_mode():
        assert network(torch.rand(1, 3, 224, 224)).shape == (1, 10)


def test_a_block_with_a_bottleneck_is_told_from_one_without() -> None:
    stages = tuple(Stage(1, width, 4 * width, True) for width in (4, 4, 8, 8))
    network = network_of(ResnetNima(4, stages).state_dict())
    assert isinstance(network, ResnetNima)
    assert network.head[2].in_features == 32


def test_ratings_are_shares_that_add_up_to_1(tmp_path: Path) -> None:
    save_file(ResnetNima(4, SMALL).state_dict(), tmp_path / "model.safetensors")
    model = load_nima(tmp_path)
    shares = model(torch.rand(3, 3, model.size, model.size))
    assert (model.size, shares.shape) == (224, (3, 10))
    assert torch.allclose(shares.sum(dim=1), torch.ones(3))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda state: state.pop("head.2.weight"), "none of head.2.weight"),
        (lambda state: state.update({"head.2.weight": torch.zeros(5, 8)}), "5 outputs"),
        (lambda state: state.pop("base_model.5.0.bn1.weight"), "Error"),
    ],
)
def test_tensors_of_another_network_are_refused_with_the_reason(change: Callable[[Any], object], reason: str) -> None:
    state = ResnetNima(4, SMALL).state_dict()
    change(state)
    with pytest.raises(NotNima, match=reason):
        network_of(state)


def test_a_public_pickle_becomes_safetensors_by_the_command_that_reads_heads(tmp_path: Path) -> None:
    network = ResnetNima(4, SMALL)
    torch.save(network.state_dict(), tmp_path / "nima.pth")
    found = convert(tmp_path / "nima.pth", tmp_path / "out" / "model.safetensors")
    assert (found.task, found.family, found.needs_base) == ("image-aesthetics", "nima", False)
    picture = torch.rand(1, 3, 224, 224)
    normal = (picture - load_nima(tmp_path / "out").mean) / load_nima(tmp_path / "out").std
    assert torch.allclose(load_nima(tmp_path / "out").network(normal), network.eval()(normal), atol=1e-6)


def test_a_pickle_with_a_nimas_head_and_another_body_is_refused(tmp_path: Path) -> None:
    torch.save({"head.2.weight": torch.zeros(10, 8)}, tmp_path / "odd.pth")
    with pytest.raises(NotConvertible, match="head of a NIMA"):
        convert(tmp_path / "odd.pth", tmp_path / "out.safetensors")


# ---------------------------------------------------------------- the scorer


@pytest.fixture
def loader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelLoader:
    (tmp_path / "broken").mkdir()
    save_file({"weight": torch.zeros(1)}, tmp_path / "broken" / "model.safetensors")
    extra = tmp_path / "catalog.toml"
    extra.write_text('[models.broken]\npath = "broken"\ntask = "image-aesthetics"\nfamily = "nima"\n')
    monkeypatch.setattr(model_loader, "_loader", None)
    return model_loader.configure(load_catalog(extra), ModelStore(tmp_path / "models"), probe_device("cpu"))


@pytest.fixture
def scorer(loader: ModelLoader) -> NimaScorer:
    return NimaScorer(loader, "starter-nima")


def test_the_whole_picture_is_squeezed_into_the_networks_square(scorer: NimaScorer) -> None:
    look = scorer.prepare(poster())
    assert look.shape == (scorer.size, scorer.size, 3)
    assert np.array_equal(look, squeeze(poster(), 192))


def test_a_pictures_rating_does_not_depend_on_the_others(scorer: NimaScorer) -> None:
    pictures = [poster(), poster(ink=(226, 232, 240)), Image.new("RGB", (10, 10), "red")]
    together, alone = scorer.mean_score(pictures), [scorer.mean_score([picture])[0] for picture in pictures]
    assert np.allclose(together, alone, atol=1e-4)


def test_no_pictures_have_no_ratings(scorer: NimaScorer) -> None:
    assert scorer.mean_score([]) == []


def test_a_verdict_has_the_overall_score_alone_and_says_so(scorer: NimaScorer) -> None:
    [[verdict]] = scorer.score_prepared([scorer.prepare(poster())], [[Layout()]])
    assert 0 <= (verdict.scores["aesthetic_score"] or -1) <= 100
    assert [verdict.scores[name] for name in HEADLINES[1:]] == [None, None, None]
    assert verdict.reasoning[-1] == "NIMA has no scores of their own for composition, colour harmony and balance."


def test_a_damaged_checkpoint_is_named(loader: ModelLoader) -> None:
    with pytest.raises(DarkroomError, match="broken is no NIMA checkpoint"):
        NimaScorer(loader, "broken").mean_score([poster()])


@pytest.mark.django_db(transaction=True)
def test_the_api_scores_by_nima(score: Callable[..., Job], loader: ModelLoader) -> None:
    result = score({"image": encoded(poster()), "backend": "nima"}).result
    assert (result["backend"], result["model"]) == ("nima", "starter-nima")
    assert set(result["measures"]) == {"nima_mean"}
    assert result["aesthetic_score"] == pytest.approx(result["measures"]["nima_mean"]["score"], abs=0.1)


# ---------------------------------------------------------------- what starter-nima knows


def test_starter_nima_takes_less_than_a_megabyte() -> None:
    assert sum(path.stat().st_size for path in (WEIGHTS / "starter-nima").iterdir()) < 1_000_000


@pytest.mark.parametrize("fault", ["contrast", "balance", "clash", "crowding"])
def test_starter_nima_rates_good_posters_above_spoiled_ones(scorer: NimaScorer, fault: str) -> None:
    rng = np.random.default_rng(2_000_000_000)
    drawn = ((good, spoil(good, fault, rng)) for good in (sample_poster(rng) for _ in range(12)))
    pairs = [(good, spoiled) for good, spoiled in drawn if spoiled]
    means = [
        [mean for mean, _ in scorer.mean_score([Image.fromarray(render_poster(one)) for one in side])]
        for side in zip(*pairs, strict=True)
    ]
    assert np.mean(np.array(means[0]) > np.array(means[1])) >= 0.8


def test_starter_nima_rates_a_blurred_scene_below_a_sharp_one(scorer: NimaScorer) -> None:
    scenes = [Scene("lake", "sunset", "clear", ("sun",)), Scene("hills", "day", "clear", ("house",))]
    sharp = [Image.fromarray(world.render(scene, 1)) for scene in scenes]
    blurred = [image.filter(ImageFilter.GaussianBlur(3)) for image in sharp]
    for (good, _), (bad, _) in zip(scorer.mean_score(sharp), scorer.mean_score(blurred), strict=True):
        assert good > bad + 0.5
