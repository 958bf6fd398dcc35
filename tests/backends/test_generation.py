"""Pictures on real, tiny checkpoints: seeds, batches, progress, previews, cancelling, timings."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from api.catalog import Catalog, ModelEntry, UnknownModel
from api.devices import Device
from api.downloads.store import ModelStore
from api.errors import DarkroomError, DeviceFault
from api.images.backends.latents import decode_batch
from api.images.backends.local import generate
from api.model_loader import ModelLoader
from tests.backends.conftest import FAMILIES, MakeLoader
from tests.backends.recorder import Recorder, psnr, request

DTYPES = (torch.float32, torch.bfloat16)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_makes_a_picture_of_the_size_asked_for(loader: ModelLoader, hooks: Recorder, family: str) -> None:
    [[picture]] = generate(loader, [request(model_id=family, width=64, height=32)], hooks)

    assert picture.size == (64, 32)
    assert picture.mode == "RGB"


def test_a_deterministic_request_gives_the_same_bytes_twice(loader: ModelLoader) -> None:
    asked = request(deterministic=True, seeds=(7, 8), scheduler="euler_a")

    first, second = (generate(loader, [asked], Recorder())[0] for _ in range(2))

    assert [picture.tobytes() for picture in first] == [picture.tobytes() for picture in second]


def test_a_deterministic_picture_does_not_change_with_the_number_of_pictures(loader: ModelLoader) -> None:
    [[alone]] = generate(loader, [request(deterministic=True, seeds=(8,))], Recorder())
    [[_, with_others]] = generate(loader, [request(deterministic=True, seeds=(7, 8))], Recorder())

    assert alone.tobytes() == with_others.tobytes()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("scheduler", [None, "euler_a", "dpmpp_2m_sde_karras"])
def test_a_picture_in_a_batch_with_other_clients_is_the_one_it_is_alone(
    make_loader: MakeLoader, dtype: torch.dtype, scheduler: str | None
) -> None:
    mine = request(seeds=(3,), steps=4, scheduler=scheduler)
    theirs = request(prompt="a blue square at sunset", negative_prompt="cat", seeds=(4, 5), steps=4, scheduler=scheduler)

    [[alone]] = generate(make_loader(dtype), [mine], Recorder())
    [_, [batched]] = generate(make_loader(dtype), [theirs, mine], Recorder())

    assert psnr(alone, batched) >= 40


def test_a_long_prompt_in_the_batch_does_not_change_a_short_ones_picture(loader: ModelLoader) -> None:
    short, long = request(seeds=(3,)), request(prompt="a red cat, " * 40, seeds=(4,))

    [[alone]] = generate(loader, [short], Recorder())
    [_, [batched]] = generate(loader, [long, short], Recorder())

    assert psnr(alone, batched) >= 40


def test_requests_of_one_batch_share_the_denoiser_s_passes(loader: ModelLoader, hooks: Recorder) -> None:
    generate(loader, [request(prompt=prompt) for prompt in ("red", "blue", "green")], hooks)

    assert hooks.steps == [(1, 2), (2, 2)]


def test_more_pictures_than_fit_a_batch_are_made_in_several_and_counted_as_one(loader: ModelLoader, hooks: Recorder) -> None:
    [pictures] = generate(loader, [request(seeds=tuple(range(6)))], hooks)

    assert len({picture.tobytes() for picture in pictures}) == 6
    assert [step for step, _ in hooks.steps] == sorted(step for step, _ in hooks.steps)
    assert hooks.steps[-1][0] == hooks.steps[-1][1]


def test_requests_that_differ_in_size_are_no_batch(loader: ModelLoader, hooks: Recorder) -> None:
    with pytest.raises(ValueError, match="must agree"):
        generate(loader, [request(), request(width=32)], hooks)


def test_another_seed_gives_another_picture(loader: ModelLoader, hooks: Recorder) -> None:
    [pictures] = generate(loader, [request(seeds=(1, 2))], hooks)

    assert pictures[0].tobytes() != pictures[1].tobytes()


def test_a_cancelled_request_of_a_batch_gives_nothing_and_the_others_their_pictures(loader: ModelLoader) -> None:
    hooks = Recorder(cancel_when=lambda recorder, index: index == 0 and len(recorder.steps) >= 1)

    cancelled, [kept] = generate(loader, [request(steps=6), request(seeds=(9,), steps=6)], hooks)

    assert cancelled == []
    assert kept.size == (64, 64)


def test_when_all_are_cancelled_the_work_stops_within_a_step(loader: ModelLoader) -> None:
    hooks = Recorder(cancel_when=lambda recorder, index: len(recorder.steps) >= 2)

    assert generate(loader, [request(steps=50)], hooks) == [[]]
    assert len(hooks.steps) == 2


def test_a_request_after_a_cancelled_one_is_whole(loader: ModelLoader) -> None:
    [[before]] = generate(loader, [request()], Recorder())
    generate(loader, [request()], Recorder(cancel_when=lambda recorder, index: len(recorder.steps) >= 1))
    [[after]] = generate(loader, [request()], Recorder())

    assert before.tobytes() == after.tobytes()


def test_the_timings_name_each_part_of_the_work(loader: ModelLoader, hooks: Recorder) -> None:
    generate(loader, [request()], hooks)

    assert set(hooks.timings) == {"load", "encode", "denoise", "decode"}
    assert all(seconds > 0 for seconds in hooks.timings.values())


def test_guidance_of_one_or_less_leaves_the_negative_prompt_out_and_says_so(loader: ModelLoader, hooks: Recorder) -> None:
    [[with_negative]] = generate(loader, [request(guidance_scale=1.0, negative_prompt="blue")], hooks)
    [[without]] = generate(loader, [request(guidance_scale=1.0)], Recorder())

    assert with_negative.tobytes() == without.tobytes()
    assert "negative_prompt has no effect" in hooks.warnings[0]


def test_text_that_a_model_will_not_read_is_told(loader: ModelLoader, hooks: Recorder) -> None:
    generate(loader, [request(model_id="flux", prompt="(red)++ cat " * 60, width=32, height=32)], hooks)

    assert any("longer than this model reads" in warning for warning in hooks.warnings)
    assert any("Weights" in warning for warning in hooks.warnings)


def test_out_of_memory_makes_the_batch_smaller_and_is_told(loader: ModelLoader, hooks: Recorder) -> None:
    def too_many(module: torch.nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
        if arguments[0].shape[0] > 4:  # two pictures with guidance
            raise torch.OutOfMemoryError("injected")

    with loader.use("sd1", "text-to-image") as lease:
        hook = lease.pipeline.unet.register_forward_pre_hook(too_many)
    try:
        [pictures] = generate(loader, [request(seeds=(1, 2, 3, 4))], hooks)
    finally:
        hook.remove()

    assert len(pictures) == 4
    assert any("Memory ran out" in warning for warning in hooks.warnings)


def test_latents_that_are_not_numbers_are_an_error_not_a_black_picture(loader: ModelLoader, hooks: Recorder) -> None:
    with loader.use("sd1", "text-to-image") as lease:
        hook = lease.pipeline.unet.register_forward_hook(lambda module, inputs, output: (output[0] * torch.nan,))
    try:
        with pytest.raises(DarkroomError, match="not numbers"):
            generate(loader, [request()], hooks)
    finally:
        hook.remove()


def test_beside_a_picture_that_overflows_the_others_keep_their_bytes(make_loader: MakeLoader) -> None:
    def overflow(module: torch.nn.Module, inputs: object, output: torch.Tensor) -> torch.Tensor:
        return torch.cat([output[:1], output[1:] * torch.inf]) if output.dtype == torch.bfloat16 else output

    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    with make_loader(torch.bfloat16).use("sd1", "text-to-image") as lease:
        usual, _ = decode_batch(lease.pipeline, latents)
        hook = lease.pipeline.vae.decoder.conv_out.register_forward_hook(overflow)
        try:
            beside, in_fp32 = decode_batch(lease.pipeline, latents)
            _, broken = decode_batch(lease.pipeline, torch.cat([latents[:1], latents[1:] * torch.nan]))
        finally:
            hook.remove()
    assert isinstance(usual, Image.Image)
    assert isinstance(beside, Image.Image)
    assert isinstance(in_fp32, Image.Image)
    assert isinstance(broken, DarkroomError)
    assert beside.tobytes() == usual.tobytes()


@pytest.mark.parametrize(("component", "key"), [("unet", "conv_out.bias"), ("vae", "decoder.conv_in.bias")])
def test_a_checkpoint_with_values_that_are_not_numbers_is_named(
    tmp_path: Path, hooks: Recorder, sd1_folder: Path, component: str, key: str
) -> None:
    folder = tmp_path / "sd1"
    shutil.copytree(sd1_folder, folder)
    file = folder / component / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    tensors[key][0] = torch.nan
    save_file(tensors, file, metadata={"format": "pt"})
    catalog = Catalog({"sd1": ModelEntry(id="sd1", name="sd1", family="sd1", path=folder)}, {})
    loader = ModelLoader(catalog, ModelStore(tmp_path), Device("cpu", 0, "test", torch.float32, True, 2**33))

    with pytest.raises(DarkroomError, match=f"the tensor {key} of {component} has values that are not numbers") as raised:
        generate(loader, [request()], hooks)

    assert (raised.value.code, raised.value.status) == ("broken_model", 422)


def test_a_prompt_that_can_not_be_made_takes_no_other_request_of_its_batch_down(loader: ModelLoader, hooks: Recorder) -> None:
    failed, kept = generate(loader, [request(prompt='("a","b").blend(0,0)'), request(seeds=(9,))], hooks)

    assert isinstance(failed, DarkroomError)
    assert isinstance(kept, list)
    assert len(kept) == 1


def test_an_unknown_model_is_the_catalog_s_error(loader: ModelLoader, hooks: Recorder) -> None:
    with pytest.raises(UnknownModel):
        generate(loader, [request(model_id="no-such-model")], hooks)


def test_a_device_fault_passes_through(loader: ModelLoader, hooks: Recorder) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    with loader.use("sd1", "text-to-image") as lease:
        hook = lease.pipeline.unet.register_forward_pre_hook(fail)
    try:
        with pytest.raises(DeviceFault):
            generate(loader, [request()], hooks)
    finally:
        hook.remove()
