"""Which dtype each component of a pipeline is held in, on real tiny checkpoints, and where that is told."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from api.catalog import Catalog, ModelEntry
from api.devices import Device, cuda_device, probe_device
from api.downloads.store import ModelStore
from api.images.backends.local import generate
from api.images.spec import IMAGE_TO_IMAGE, INPAINTING, TEXT_TO_IMAGE
from api.loading.device_memory import dtypes_of, weight_bytes
from api.loading.dtypes import choose_dtypes
from api.loading.pipelines import build_pipeline, estimate_bytes
from api.model_loader import ModelLoader
from tests.backends.recorder import Recorder, painting, psnr, request
from tests.models.tiny import build_tiny_flux, build_tiny_sd, build_tiny_sdxl

BUILDERS = {"a": build_tiny_sd, "xl": build_tiny_sdxl, "flux": build_tiny_flux}
FAMILIES = {"a": "sd1", "xl": "sdxl", "flux": "flux"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: build(tmp_path_factory.mktemp(name)) for name, build in BUILDERS.items()}


@pytest.fixture(scope="module")
def catalog(folders: dict[str, Path]) -> Catalog:
    return Catalog(
        {name: ModelEntry(id=name, name=name, family=FAMILIES[name], path=folder) for name, folder in folders.items()}, {}
    )


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path)


@pytest.fixture(scope="module")
def device() -> Device:
    return dataclasses.replace(probe_device("cpu"), dtype=torch.float32)


HALF = {"unet": torch.float16, "text_encoder": torch.float16, "vae": torch.float16}
BRAIN = {"transformer": torch.bfloat16, "text_encoder": torch.bfloat16, "text_encoder_2": torch.bfloat16, "vae": torch.bfloat16}


@pytest.mark.parametrize(
    ("model_id", "chip", "expected"),
    [
        ("a", "h100", HALF),
        ("a", "t4", HALF),
        ("xl", "h100", {**HALF, "text_encoder_2": torch.float16, "vae": torch.bfloat16}),  # its VAE overflows in fp16
        ("xl", "t4", {**HALF, "text_encoder_2": torch.float16, "vae": torch.float32}),  # and has no bf16 there
        ("flux", "h100", BRAIN),
        ("flux", "t4", BRAIN),  # trained in bf16
        ("xl", "gtx1080", dict.fromkeys(("unet", "text_encoder", "text_encoder_2", "vae"), torch.float32)),
        ("flux", "gtx1080", dict.fromkeys(BRAIN, torch.float32)),
    ],
)
def test_each_component_has_the_dtype_that_the_chip_and_the_component_take(
    folders: dict[str, Path], model_id: str, chip: str, expected: dict[str, torch.dtype]
) -> None:
    capability = {"h100": (9, 0), "t4": (7, 5), "gtx1080": (6, 1)}[chip]
    device = cuda_device(0, SimpleNamespace(name=chip, major=capability[0], minor=capability[1], total_memory=2**34))
    entry = ModelEntry(id=model_id, name=model_id, path=folders[model_id])
    pipeline = build_pipeline(entry, folders[model_id], device)
    assert dtypes_of(pipeline) == expected
    assert estimate_bytes(entry, folders[model_id], device) == pytest.approx(weight_bytes(pipeline), rel=0.005)


def test_on_a_cpu_whose_bf16_is_slow_the_vae_that_overflows_is_in_fp32(folders: dict[str, Path], device: Device) -> None:
    def chosen(bf16_milliseconds: float) -> dict[str, torch.dtype]:
        probe = {"float32": 9.0, "bfloat16": bf16_milliseconds, "float16": 1.0}
        return choose_dtypes(folders["xl"], dataclasses.replace(device, dtype=torch.float16, probe=probe))

    assert chosen(9.0) == {"default": torch.float16, "vae": torch.float32}
    assert chosen(1.0) == {"default": torch.float16, "vae": torch.bfloat16}


def test_the_dtype_of_each_component_is_listed(catalog: Catalog, store: ModelStore, device: Device) -> None:
    loader = ModelLoader(catalog, store, dataclasses.replace(device, dtype=torch.bfloat16))
    loader.load("a")
    assert loader.loaded()[0]["dtypes"] == dict.fromkeys(("vae", "text_encoder", "unet"), "bfloat16")


def test_an_accelerator_that_runs_in_fp32_is_a_note_of_every_lease(catalog: Catalog, store: ModelStore, device: Device) -> None:
    class OldChip(Device):
        torch_device = torch.device("cpu")  # type: ignore[assignment]

        def empty_cache(self) -> None:
            pass

    for dtype, notes in ((torch.float32, ["GTX 1080 has no fast half precision: models run in float32"]), (torch.bfloat16, [])):
        chip = OldChip(**{**vars(device), "type": "mps", "name": "GTX 1080", "dtype": dtype})
        with ModelLoader(catalog, store, chip).use("a", "text-to-image") as lease:
            assert [note.split(", slowly")[0] for note in lease.notes] == notes


@pytest.mark.parametrize("task", [TEXT_TO_IMAGE, IMAGE_TO_IMAGE, INPAINTING])
@pytest.mark.parametrize("vae", [torch.bfloat16, torch.float32])
def test_a_vae_in_another_dtype_than_the_denoiser_makes_the_same_picture(
    catalog: Catalog, store: ModelStore, device: Device, task: str, vae: torch.dtype
) -> None:
    probe = {"float32": 9.0, "bfloat16": 1.0 if vae == torch.bfloat16 else 9.0, "float16": 1.0}
    mixed = ModelLoader(catalog, store, dataclasses.replace(device, dtype=torch.float16, probe=probe))
    change = {} if task == TEXT_TO_IMAGE else {"image": painting(), "strength": 0.7}
    change |= {"mask": painting().convert("L")} if task == INPAINTING else {}
    asked, hooks = request(model_id="xl", steps=4, **change), Recorder()
    [[wanted]] = generate(ModelLoader(catalog, store, device), [asked], Recorder())
    for _ in range(2):  # the first one leaves every dtype as it was
        [[picture]] = generate(mixed, [asked], hooks)
        assert psnr(picture, wanted) > 35
    assert mixed.loaded()[0]["dtypes"] == {
        "unet": "float16", "text_encoder": "float16", "text_encoder_2": "float16", "vae": str(vae).removeprefix("torch."),
    }  # fmt: skip
    with mixed.use("xl", task) as lease:
        assert dtypes_of(lease.pipeline)["vae"] == vae
        assert lease.dtype == torch.float16
    assert hooks.previews


def test_sd_1_decodes_in_half_precision_though_its_configuration_says_force_upcast(
    catalog: Catalog, store: ModelStore, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """diffusers writes `force_upcast` into every VAE's configuration; only SDXL's means it."""
    loader = ModelLoader(
        catalog, store, dataclasses.replace(device, dtype=torch.float16, half_dtypes=frozenset({torch.float16}))
    )
    with loader.use("a", TEXT_TO_IMAGE) as lease:
        assert lease.pipeline.vae.config.force_upcast
        seen: list[torch.dtype] = []
        lease.pipeline.vae.decoder.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].dtype))
    generate(loader, [request(model_id="a")], Recorder())
    assert seen == [torch.float16]
