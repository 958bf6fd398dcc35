"""One owner of every model in memory: loaded once, shared by tasks, evicted in turn, never while in use."""

from __future__ import annotations

import dataclasses
import gc
import threading
import weakref
from pathlib import Path

import pytest
import torch

from api.catalog import Catalog, ModelEntry, UnknownModel
from api.devices import Device, probe_device
from api.downloads.store import ModelStore
from api.errors import DarkroomError, DeviceFault
from api.model_loader import ModelBusy, ModelLoader, OutOfMemory, configure, get_loader
from tests.models.tiny import build_tiny_flux, build_tiny_sd, build_tiny_sd2, build_tiny_sd3, build_tiny_sdxl

BUILDERS = {
    "a": build_tiny_sd,
    "b": build_tiny_sd2,
    "c": build_tiny_sd,
    "xl": build_tiny_sdxl,
    "sd3": build_tiny_sd3,
    "flux": build_tiny_flux,
}
IMAGE_TASKS = ("text-to-image", "image-to-image", "inpainting")
UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: build(tmp_path_factory.mktemp(name)) for name, build in BUILDERS.items()}


@pytest.fixture(scope="module")
def device() -> Device:
    return dataclasses.replace(probe_device("cpu"), dtype=torch.float32)


@pytest.fixture
def catalog(folders: dict[str, Path]) -> Catalog:
    return Catalog({name: ModelEntry(id=name, name=f"Tiny {name}", path=folder) for name, folder in folders.items()}, {})


@pytest.fixture
def loader(catalog: Catalog, store: ModelStore, device: Device) -> ModelLoader:
    return ModelLoader(catalog, store, device)


def size_of(loader: ModelLoader, model_id: str) -> int:
    return next(model["bytes"] for model in loader.loaded() if model["id"] == model_id)


def loaded_ids(loader: ModelLoader) -> list[str]:
    return [model["id"] for model in loader.loaded()]


# -- Load, list, unload


def test_a_model_is_loaded_at_its_first_use_and_makes_a_picture(loader: ModelLoader) -> None:
    assert loader.loaded() == []
    with loader.use("a", "text-to-image") as lease:
        images = lease.pipeline("a red circle", width=64, height=64, num_inference_steps=2).images
    assert images[0].size == (64, 64)
    assert lease.load_seconds > 0
    assert loaded_ids(loader) == ["a"]


def test_a_warm_model_takes_no_time_to_load(loader: ModelLoader) -> None:
    loader.load("a")
    with loader.use("a", "text-to-image") as lease:
        assert lease.load_seconds == 0.0


def test_the_bytes_of_a_model_are_measured(loader: ModelLoader) -> None:
    with loader.use("a", "text-to-image") as lease:
        parts = (lease.pipeline.unet, lease.pipeline.vae, lease.pipeline.text_encoder)
        tensors = [tensor for part in parts for tensor in (*part.parameters(), *part.buffers())]
        assert size_of(loader, "a") == sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def test_the_estimate_before_loading_is_what_is_measured_after(loader: ModelLoader, folders: dict[str, Path]) -> None:
    from api.loading.pipelines import estimate_bytes

    loader.load("xl")
    estimate = estimate_bytes(loader.catalog.get("xl"), folders["xl"], loader.device)
    assert size_of(loader, "xl") == pytest.approx(estimate, rel=0.01)


def test_unloading_frees_the_weights(loader: ModelLoader) -> None:
    with loader.use("a", "image-to-image") as lease:
        unet = weakref.ref(lease.pipeline.unet)
    del lease
    assert loader.unload("a") is True
    gc.collect()
    assert unet() is None
    assert loader.loaded() == []
    assert loader.unload("a") is False


def test_a_model_in_use_is_not_unloaded(loader: ModelLoader) -> None:
    with loader.use("a", "text-to-image"), pytest.raises(ModelBusy) as caught:
        loader.unload("a")
    assert caught.value.code == "model_busy"


def test_an_unknown_model_names_the_nearest(loader: ModelLoader) -> None:
    with pytest.raises(UnknownModel) as caught:
        loader.load("flx")
    assert caught.value.nearest == ["flux"]


def test_a_hub_name_is_the_same_model(store: ModelStore, device: Device, folders: dict[str, Path], hub: object) -> None:
    hub.add("team/tiny", folders["a"])  # type: ignore[attr-defined]
    catalog = Catalog({"tiny": ModelEntry(id="tiny", name="Tiny", repo="team/tiny")}, {})
    loader = ModelLoader(catalog, store, device)
    told: list[tuple[float, str]] = []
    loader.load("team/tiny", lambda fraction, text: told.append((fraction, text)))
    loader.load("tiny")
    assert loaded_ids(loader) == ["tiny"]
    assert told[0][1].startswith("Downloading Tiny")
    assert told[-1] == (1.0, "Tiny is loaded")
    assert [fraction for fraction, _ in told] == sorted(fraction for fraction, _ in told)


def test_the_loader_of_a_worker_is_one(catalog: Catalog, store: ModelStore, device: Device) -> None:
    loader = configure(catalog, store, device)
    assert get_loader() is loader


# -- One set of weights


@pytest.mark.parametrize("model_id", ["a", "xl", "sd3", "flux"])
def test_all_tasks_share_one_set_of_components(loader: ModelLoader, model_id: str) -> None:
    components = []
    for task in IMAGE_TASKS:
        with loader.use(model_id, task) as lease:
            components.append(lease.pipeline.components)
    names = set(components[0])
    modules = [name for name in names if isinstance(components[0][name], torch.nn.Module)]
    assert len(modules) >= 3
    assert all(parts[name] is components[0][name] for parts in components for name in modules)
    assert len(loader.loaded()) == 1


def test_the_tasks_are_pipelines_of_their_own(loader: ModelLoader) -> None:
    names = []
    for task in IMAGE_TASKS:
        with loader.use("a", task) as lease:
            names.append(type(lease.pipeline).__name__)
    assert names == ["StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline"]


def test_a_scheduler_of_a_call_leaves_the_shared_pipeline_alone(loader: ModelLoader) -> None:
    from diffusers import EulerDiscreteScheduler

    with loader.use("a", "text-to-image") as lease:
        before = lease.pipeline.scheduler
        scheduler = EulerDiscreteScheduler.from_config(before.config)
        pipeline = lease.pipeline_with(scheduler=scheduler)
        pipeline("a cat", width=64, height=64, num_inference_steps=1)
        assert pipeline.scheduler is scheduler
        assert pipeline.unet is lease.pipeline.unet
        assert lease.pipeline.scheduler is before
        assert lease.pipeline.config["scheduler"][1] == "DDIMScheduler"


def test_a_task_that_a_family_does_not_have_is_refused(loader: ModelLoader) -> None:
    with pytest.raises(DarkroomError) as caught, loader.use("a", "text-generation"):
        pass
    assert (caught.value.code, caught.value.status) == ("unsupported_task", 400)


def test_two_threads_never_use_one_model_at_once(loader: ModelLoader) -> None:
    loader.load("a")
    order: list[str] = []

    def second() -> None:
        with loader.use("a", "text-to-image"):
            order.append("second")

    with loader.use("a", "text-to-image"):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(timeout=0.1)
        order.append("first")
    thread.join(timeout=5)
    assert order == ["first", "second"]


def test_two_threads_that_want_a_cold_model_load_it_once(loader: ModelLoader) -> None:
    seconds: list[float] = []

    def use() -> None:
        with loader.use("a", "text-to-image") as lease:
            seconds.append(lease.load_seconds)

    threads = [threading.Thread(target=use) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert sorted(second > 0 for second in seconds) == [False, True]


# -- Eviction


@pytest.fixture
def room_for_two(catalog: Catalog, store: ModelStore, device: Device, loader: ModelLoader) -> ModelLoader:
    loader.load("a")
    return ModelLoader(catalog, store, device, memory_limit=int(size_of(loader, "a") * 2.5))


def test_the_least_recently_used_model_goes_first(room_for_two: ModelLoader) -> None:
    for model_id in ("a", "b", "a", "c"):
        room_for_two.load(model_id)
    assert loaded_ids(room_for_two) == ["c", "a"]


def test_a_pinned_model_is_never_evicted(room_for_two: ModelLoader) -> None:
    with room_for_two.use("a", "text-to-image"):
        room_for_two.load("b")
        room_for_two.load("c")
        assert set(loaded_ids(room_for_two)) == {"a", "c"}


def test_no_room_beside_pinned_models_is_out_of_memory(room_for_two: ModelLoader) -> None:
    with (
        room_for_two.use("a", "text-to-image"),
        room_for_two.use("b", "text-to-image"),
        pytest.raises(OutOfMemory) as caught,
    ):
        room_for_two.load("c")
    assert (caught.value.code, caught.value.status) == ("out_of_memory", 507)
    room_for_two.load("c")


def test_a_model_that_can_never_fit_evicts_nothing(loader: ModelLoader) -> None:
    loader.load("a")
    assert loader.make_room(loader.memory_limit + 1) is False
    assert loaded_ids(loader) == ["a"]


def test_a_model_over_the_budget_is_refused_with_both_figures(catalog: Catalog, store: ModelStore, device: Device) -> None:
    loader = ModelLoader(catalog, store, device, memory_limit=1000)
    with pytest.raises(OutOfMemory, match=r"Tiny a needs .* models may take 0\.0 MB"):
        loader.load("a")


def test_make_room_evicts_only_as_much_as_is_needed(loader: ModelLoader) -> None:
    for model_id in ("a", "b", "c"):
        loader.load(model_id)
    loader.memory_limit = sum(model["bytes"] for model in loader.loaded()) + 1000
    assert loader.make_room(2000) is True
    assert loaded_ids(loader) == ["c", "b"]


# -- dtype and layout


def test_weights_are_held_in_the_devices_dtype_and_layout(catalog: Catalog, store: ModelStore, device: Device) -> None:
    loader = ModelLoader(catalog, store, dataclasses.replace(device, dtype=torch.bfloat16))
    with loader.use("a", "text-to-image") as lease:
        assert lease.dtype == lease.pipeline.unet.dtype == lease.pipeline.vae.dtype == torch.bfloat16
        assert lease.pipeline.unet.conv_in.weight.is_contiguous(memory_format=torch.channels_last)


def test_a_checkpoint_in_a_variant_alone_is_loaded(tmp_path: Path, store: ModelStore, device: Device) -> None:
    folder = build_tiny_sd(tmp_path / "half")
    for component in ("unet", "vae"):
        weights = folder / component / "diffusion_pytorch_model.safetensors"
        weights.rename(weights.with_suffix(".fp16.safetensors"))
    loader = ModelLoader(Catalog({"half": ModelEntry(id="half", name="Half", path=folder)}, {}), store, device)
    with loader.use("half", "text-to-image") as lease:
        assert lease.pipeline("a cat", width=64, height=64, num_inference_steps=1).images


# -- What is wrong with a checkpoint


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    return build_tiny_sd(tmp_path / "broken")


def load_folder(folder: Path, store: ModelStore, device: Device) -> None:
    ModelLoader(Catalog({"broken": ModelEntry(id="broken", name="Broken", path=folder)}, {}), store, device).load("broken")


def test_a_weights_file_that_is_cut_off_is_named(broken: Path, store: ModelStore, device: Device) -> None:
    weights = broken / UNET
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(DarkroomError, match=UNET) as caught:
        load_folder(broken, store, device)
    assert caught.value.code == "damaged"


def test_a_weights_file_of_rubbish_is_named(broken: Path, store: ModelStore, device: Device) -> None:
    (broken / UNET).write_bytes(b"\x80\x04rubbish" * 100)
    with pytest.raises(DarkroomError, match=f"{UNET} of Broken is damaged"):
        load_folder(broken, store, device)


def test_a_configuration_that_does_not_fit_the_weights_is_a_broken_model(
    broken: Path, store: ModelStore, device: Device
) -> None:
    config = broken / "unet/config.json"
    config.write_text(config.read_text().replace('"cross_attention_dim": 32', '"cross_attention_dim": 48'))
    with pytest.raises(DarkroomError) as caught:
        load_folder(broken, store, device)
    assert caught.value.code == "broken_model"
    assert str(broken) not in caught.value.detail


def test_a_failed_load_leaves_nothing_behind_and_others_work(loader: ModelLoader, broken: Path) -> None:
    (broken / UNET).write_bytes(b"rubbish")
    loader.catalog.models["broken"] = ModelEntry(id="broken", name="Broken", path=broken)
    with pytest.raises(DarkroomError):
        loader.load("broken")
    loader.load("a")
    assert loaded_ids(loader) == ["a"]


def test_a_folder_with_foreign_classes_is_never_built(broken: Path, store: ModelStore, device: Device) -> None:
    index = broken / "model_index.json"
    index.write_text(index.read_text().replace('"diffusers",\n    "UNet2DConditionModel"', '"evil_module",\n    "Evil"'))
    (broken / "unet/evil_module.py").write_text("raise SystemExit('ran')")
    with pytest.raises(DarkroomError, match=r"evil_module\.Evil") as caught:
        load_folder(broken, store, device)
    assert caught.value.code == "unsafe_files"


# -- Faults


def test_a_broken_device_a_shortage_and_an_error_are_told_apart(loader: ModelLoader) -> None:
    with pytest.raises(DeviceFault), loader.use("a", "text-to-image"):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")
    with pytest.raises(OutOfMemory), loader.use("a", "text-to-image"):
        raise torch.OutOfMemoryError("outside of any ladder")
    with pytest.raises(ValueError, match="ordinary"), loader.use("a", "text-to-image"):
        raise ValueError("ordinary")
    assert not loader.loaded()[0]["pinned"]
