"""Memory that runs out at each stage of making a picture, whole on the device and offloaded: what is done is what helps there.

The shortages are injected into real tiny pipelines. There is one device here, so `TwoPlaces` keeps a table of which parameters
accelerate's hooks have brought to "the device", and follows accelerate's own logic for it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.hooks import CpuOffload

from api.catalog import Catalog
from api.devices import Device
from api.downloads.store import ModelStore
from api.images.backends.local import generate
from api.loading.oom_retry import stage_of
from api.model_loader import Lease, ModelLoader, OutOfMemory
from tests.backends.recorder import Recorder, painting, psnr, request

CACHE = "Memory ran out; the cache was emptied."
STAGES = {"text_encoder": "text_encoder", "vae.encoder": "vae", "unet": "denoiser", "vae.decoder": "vae"}
OFFLOADED = "Parts of the model were kept in main memory, which is slower."


class Accelerator(Device):
    @property
    def torch_device(self) -> torch.device:
        return torch.device("cpu")

    def empty_cache(self) -> None:
        pass


class TwoPlaces:
    """`fails(module)` is asked when half of a module has been brought to the device."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.there: set[int] = set()
        self.fails: Callable[[torch.nn.Module], bool] = lambda module: False
        move = torch.nn.Module.to

        @functools.wraps(move)
        def to(module: torch.nn.Module, *places: Any, **options: Any) -> Any:
            if places and str(places[0]) == "cpu":
                self.there -= {id(parameter) for parameter in module.parameters()}
            return move(module, *places, **options)

        monkeypatch.setattr(torch.nn.Module, "to", to)
        monkeypatch.setattr(
            CpuOffload, "pre_forward", lambda hook, module, *inputs, **named: self.bring(hook, module, inputs, named)
        )

    def bring(self, hook: Any, module: torch.nn.Module, inputs: Any, named: Any) -> Any:
        if hook.prev_module_hook is not None:
            hook.prev_module_hook.offload()
        parameters = [id(parameter) for parameter in module.parameters()]
        if parameters[0] not in self.there:
            half = len(parameters) // 2
            self.there |= set(parameters[:half])
            if self.fails(module):
                raise torch.OutOfMemoryError("CUDA out of memory.")
            self.there |= set(parameters[half:])
        if not self.there >= set(parameters):
            raise RuntimeError("Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!")
        return inputs, named


@pytest.fixture
def places(monkeypatch: pytest.MonkeyPatch) -> TwoPlaces:
    return TwoPlaces(monkeypatch)


@pytest.fixture
def make(tiny_catalog: Catalog, tmp_path: Path) -> Callable[..., ModelLoader]:
    def made(*, offloaded: bool = False, **fields: Any) -> ModelLoader:
        device = Accelerator("mps", 0, "a chip", torch.bfloat16, channels_last=True, memory_total=2**33, **fields)
        return ModelLoader(tiny_catalog, ModelStore(tmp_path), device, memory_limit=1000 if offloaded else None)

    return made


def inject(loader: ModelLoader, name: str, fails: Callable[[Lease, tuple[Any, ...]], bool], model: str = "sd1") -> list[int]:
    """`name`: of a module in the pipeline. Returns its calls, as a list with one number."""
    calls = [0]
    with loader.use(model, "text-to-image") as lease:
        module = functools.reduce(getattr, name.split("."), lease.pipeline)

    def before(module: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
        calls[0] += 1
        if fails(current[-1], inputs):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    current: list[Lease] = []
    ladder = loader.retry_on_oom
    loader.retry_on_oom = lambda lease, **options: (current.append(lease), ladder(lease, **options))[1]  # type: ignore[method-assign]
    module.register_forward_pre_hook(before)
    return calls


def asked(stage: str = "", **fields: Any) -> Any:
    change = {"image": painting(), "strength": 1.0} if stage == "vae.encoder" else {}
    return request(seeds=(1, 2, 3, 4), steps=3, **change, **fields)


def first_only() -> Callable[..., bool]:
    left = [True]
    return lambda *_: bool(left) and left.pop()


@pytest.mark.parametrize("model", ["sd1", "sdxl"])
@pytest.mark.parametrize("offloaded", [False, True])
@pytest.mark.parametrize("stage", STAGES)
def test_after_one_shortage_the_pictures_are_what_they_are_without(
    make: Callable[..., ModelLoader], places: TwoPlaces, stage: str, offloaded: bool, model: str
) -> None:
    wanted = generate(make(), [asked(stage, model_id=model)], Recorder())[0]
    loader, hooks = make(offloaded=offloaded), Recorder()
    inject(loader, stage, first_only(), model)
    pictures = generate(loader, [asked(stage, model_id=model)], hooks)[0]
    assert hooks.warnings == [*([OFFLOADED] if offloaded else []), CACHE]
    assert [psnr(one, other) for one, other in zip(pictures, wanted, strict=True)] == [float("inf")] * 4


@pytest.mark.parametrize("component", ["text_encoder", "unet", "vae"])
def test_a_module_that_was_half_moved_is_put_back_before_the_next_try(
    make: Callable[..., ModelLoader], places: TwoPlaces, component: str
) -> None:
    loader, hooks, once = make(offloaded=True), Recorder(), first_only()
    hooks.unwatched.add(0)
    with loader.use("sd1", "text-to-image") as lease:
        module = getattr(lease.pipeline, component)
    places.fails = lambda moved: moved is module and once()
    assert len(generate(loader, [asked()], hooks)[0]) == 4
    assert hooks.warnings == [OFFLOADED, CACHE]
    assert len(generate(loader, [asked()], Recorder())[0]) == 4


def test_a_shortage_in_a_preview_costs_the_preview_and_leaves_nothing_half_moved(
    make: Callable[..., ModelLoader], places: TwoPlaces
) -> None:
    loader, hooks, once = make(offloaded=True), Recorder(), first_only()
    with loader.use("sd1", "text-to-image") as lease:
        module = lease.pipeline.vae
    places.fails = lambda moved: moved is module and once()
    assert len(generate(loader, [asked()], hooks)[0]) == 4
    assert (hooks.warnings, hooks.previews) == ([OFFLOADED], [])


def test_a_shortage_outside_of_any_ladder_leaves_nothing_half_moved(
    make: Callable[..., ModelLoader], places: TwoPlaces
) -> None:
    loader, once = make(offloaded=True), first_only()
    places.fails = lambda moved: once()
    with pytest.raises(OutOfMemory), loader.use("sd1", "text-to-image") as lease:
        lease.pipeline("a cat", width=64, height=64, num_inference_steps=1)
    assert not places.there
    assert len(generate(loader, [asked()], Recorder())[0]) == 4


def test_a_text_encoder_that_does_not_fit_is_helped_by_offloading_alone(
    make: Callable[..., ModelLoader], places: TwoPlaces
) -> None:
    loader, hooks = make(), Recorder()
    inject(loader, "text_encoder", lambda lease, inputs: "cpu_offload" not in lease.measures)
    assert len(generate(loader, [asked()], hooks)[0]) == 4
    assert hooks.warnings == [CACHE, f"Memory ran out. {OFFLOADED}"]


def test_a_denoiser_gets_smaller_batches_first(make: Callable[..., ModelLoader], places: TwoPlaces) -> None:
    loader, hooks = make(), Recorder()
    inject(loader, "unet", lambda lease, inputs: len(inputs[0]) > 2)  # a picture with guidance is two rows
    assert len(generate(loader, [asked()], hooks)[0]) == 4
    assert hooks.warnings == [CACHE, "Memory ran out; at most 2 at a time.", "Memory ran out; at most 1 at a time."]


def test_a_denoiser_is_offloaded_when_one_picture_alone_does_not_fit(
    make: Callable[..., ModelLoader], places: TwoPlaces
) -> None:
    loader, hooks = make(), Recorder()
    inject(loader, "unet", lambda lease, inputs: "cpu_offload" not in lease.measures)
    assert len(generate(loader, [asked()], hooks)[0]) == 4
    assert hooks.warnings[-1] == f"Memory ran out. {OFFLOADED}"
    assert not any("slices" in warning or "VAE" in warning for warning in hooks.warnings)


def test_without_fused_attention_slices_come_before_offloading(make: Callable[..., ModelLoader], places: TwoPlaces) -> None:
    loader, hooks = make(fused_attention=False), Recorder()
    inject(loader, "unet", lambda lease, inputs: "attention_slicing" not in lease.measures)
    assert len(generate(loader, [asked()], hooks)[0]) == 4
    assert hooks.warnings[-1] == "Memory ran out. Attention was computed in slices, which is slower."


@pytest.mark.parametrize("stage", ["vae.encoder", "vae.decoder"])
@pytest.mark.parametrize(
    ("needed", "steps"),
    [
        ("vae_slicing", ["The VAE decoded one picture at a time."]),
        ("vae_tiling", ["The VAE decoded one picture at a time.", "The VAE decoded the picture in tiles."]),
        ("cpu_offload", ["The VAE decoded one picture at a time.", "The VAE decoded the picture in tiles.", OFFLOADED]),
    ],
)
def test_a_vae_works_one_by_one_then_in_tiles_then_alone_on_the_device(
    make: Callable[..., ModelLoader], places: TwoPlaces, stage: str, needed: str, steps: list[str]
) -> None:
    loader, hooks = make(), Recorder()
    inject(loader, stage, lambda lease, inputs: needed not in lease.measures)
    assert len(generate(loader, [asked(stage)], hooks)[0]) == 4
    assert hooks.warnings == [CACHE, *(f"Memory ran out. {text}" for text in steps)]


def test_a_shortage_while_decoding_does_not_denoise_again(make: Callable[..., ModelLoader], places: TwoPlaces) -> None:
    loader = make()
    passes = inject(loader, "unet", lambda lease, inputs: False)
    inject(loader, "vae.decoder", lambda lease, inputs: "vae_tiling" not in lease.measures)
    assert len(generate(loader, [asked()], Recorder())[0]) == 4
    assert passes == [3]


@pytest.mark.parametrize("stage", STAGES)
def test_when_nothing_helps_the_job_fails_and_the_next_one_works(
    make: Callable[..., ModelLoader], places: TwoPlaces, stage: str
) -> None:
    loader, broken = make(), [True]
    inject(loader, stage, lambda lease, inputs: broken[0])
    with pytest.raises(OutOfMemory, match="smaller picture"):
        generate(loader, [asked(stage)], Recorder())
    broken.clear()
    broken.append(False)
    hooks = Recorder()
    assert len(generate(loader, [asked(stage)], hooks)[0]) == 4
    assert hooks.warnings == []


@pytest.mark.parametrize("model", ["sd1", "sdxl", "sd3", "flux"])
@pytest.mark.parametrize("name", ["text_encoder", "vae", "unet", "transformer"])
def test_the_stage_is_known_by_the_component_that_was_at_work(make: Callable[..., ModelLoader], model: str, name: str) -> None:
    with make().use(model, "text-to-image") as lease:
        component = getattr(lease.pipeline, name, None)
        if component is None:
            return
        inner = list(component.modules())[-1]
        handle = inner.register_forward_pre_hook(lambda *_: exec("raise MemoryError"))
        with pytest.raises(MemoryError) as caught:
            lease.pipeline("a cat", width=64, height=64, num_inference_steps=1)
        handle.remove()
        assert stage_of(caught.value, lease.loaded_model.loaded) == {"text_encoder": "text_encoder", "vae": "vae"}.get(
            name, "denoiser"
        )


def test_a_model_that_no_longer_fits_whole_serves_who_waits_for_it_offloaded_and_is_loaded_anew_for_others(
    make: Callable[..., ModelLoader], places: TwoPlaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader = make()
    with loader.use("sd1", "text-to-image") as lease:
        assert lease.apply_temporary_measure("cpu_offload")
        slot, whole = lease.loaded_model, lease.loaded_model.loaded
        monkeypatch.setattr(whole, "to", short)
        monkeypatch.setattr(whole, "enable_model_cpu_offload", lambda device: setattr(whole, "_all_hooks", ["hook"]))
    assert (slot.measures, whole._all_hooks) == (["cpu_offload"], ["hook"])
    assert loader.loaded() == []
    assert len(generate(loader, [asked()], Recorder())[0]) == 4


def short(*places: Any, **options: Any) -> None:
    raise torch.OutOfMemoryError
