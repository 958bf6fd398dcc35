"""Graphs where pictures are made: the engine and the pipelines' own calls, the loader, CUDA's calls in their order."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from api.catalog import Catalog
from api.downloads.store import ModelStore
from api.images.backends.engine import compilation
from api.images.backends.engine import graph_cache as graphs
from api.images.backends.engine.cuda_capture import CudaCapture
from api.images.backends.engine.engine import Engine
from api.images.backends.local import generate
from api.loading.model_leases import DenoiserOptions
from api.model_loader import ModelLoader
from tests.backends.recorder import Recorder, painting, psnr, request
from tests.backends.recording import FakeCuda, Recording

FAMILIES = ("sd1", "sd2", "sdxl", "sd3", "flux")


@pytest.fixture
def recording(monkeypatch: pytest.MonkeyPatch) -> Recording:
    made = Recording()
    monkeypatch.setattr(graphs, "CudaCapture", lambda device: made)
    return made


@pytest.fixture
def cuda(tiny_catalog: Catalog, tmp_path: Path, recording: Recording) -> Callable[..., ModelLoader]:
    def make(**options: bool) -> ModelLoader:
        device = FakeCuda("cuda", 0, "a chip", torch.float32, channels_last=True, memory_total=2**33)
        return ModelLoader(tiny_catalog, ModelStore(tmp_path), device, denoiser_options=DenoiserOptions(**options))

    return make


def told(loader: ModelLoader) -> Any:
    return loader.loaded()[0].get("graphs")


# ---------------------------------------------------------------- pictures


@pytest.mark.parametrize("model", FAMILIES)
def test_pictures_are_what_they_are_without_graphs(
    loader: ModelLoader, cuda: Callable[..., ModelLoader], recording: Recording, model: str
) -> None:
    asked = request(model_id=model, steps=5, seeds=(1, 2, 3))
    [with_graphs], [without] = (generate(one, [asked], Recorder()) for one in (cuda(), loader))
    assert not isinstance(with_graphs, Exception)
    assert not isinstance(without, Exception)
    assert all(psnr(one, other) > 50 for one, other in zip(with_graphs, without, strict=True))
    assert (recording.records, recording.replays) == (1, 4)


@pytest.mark.parametrize("model", FAMILIES)
def test_requests_after_one_another_share_graphs_of_the_same_shape(
    cuda: Callable[..., ModelLoader], recording: Recording, model: str
) -> None:
    loader = cuda()
    for asked in (
        request(model_id=model, steps=2),
        request(model_id=model, steps=3, prompt="a blue cat", image=painting(), strength=1.0),
    ):
        generate(loader, [asked], Recorder())
    assert recording.records == 1
    assert told(loader) == {"captured": 1, "failed": 0, "bytes": recording.grows}


def test_afterwards_the_denoiser_s_forward_is_its_own(cuda: Callable[..., ModelLoader]) -> None:
    loader = cuda()
    generate(loader, [request(steps=3)], Recorder())
    with loader.use("sd1", "text-to-image") as lease:
        assert "forward" not in vars(lease.pipeline.unet)


def test_with_graphs_off_and_on_a_cpu_there_are_none(
    loader: ModelLoader, cuda: Callable[..., ModelLoader], recording: Recording
) -> None:
    for one in (loader, cuda(graphs=False)):
        generate(one, [request(steps=4)], Recorder())
        assert told(one) is None
    assert recording.records == 0


def test_other_adapters_have_other_graphs(cuda: Callable[..., ModelLoader], recording: Recording) -> None:
    loader = cuda()
    for loras, captured in (((), 1), ((("bold", 1.0),), 2), ((("bold", 0.5),), 3), ((), 4)):
        generate(loader, [request(steps=3, loras=loras)], Recorder())
        assert (recording.records, told(loader)["captured"]) == (captured, 1)
    assert told(loader)["failed"] == 0


def test_what_cannot_be_captured_is_told_in_the_status(cuda: Callable[..., ModelLoader], recording: Recording) -> None:
    loader, recording.error = cuda(), RuntimeError("operation not permitted")
    assert len(generate(loader, [request(steps=4)], Recorder())[0]) == 1
    assert told(loader) == {"captured": 0, "failed": 1, "bytes": 0, "error": "RuntimeError: operation not permitted"}


# ---------------------------------------------------------------- memory


def test_when_memory_runs_out_graphs_go_first(cuda: Callable[..., ModelLoader], recording: Recording) -> None:
    loader, hooks = cuda(), Recorder()
    generate(loader, [request(steps=3)], Recorder())
    assert loader.loaded()[0]["spare_bytes"] == recording.grows
    failing = [True]
    with loader.use("sd1", "text-to-image") as lease:
        lease.pipeline.vae.decoder.register_forward_pre_hook(lambda *_: failing.pop() and run_out() if failing else None)
    assert len(generate(loader, [request(steps=3)], hooks)[0]) == 1
    assert hooks.warnings[-1] == "Memory ran out; the cache was emptied."
    assert told(loader) == {"captured": 0, "failed": 0, "bytes": 0}


def test_what_graphs_reserve_is_not_free_for_other_models_until_they_are_dropped_for_them(
    cuda: Callable[..., ModelLoader], recording: Recording
) -> None:
    loader, recording.grows = cuda(), 2**29
    generate(loader, [request(steps=3)], Recorder())
    assert loader.free_memory() == loader.device.memory_total - 2**29
    loader.memory_limit = loader.device.memory_total
    size = loader.loaded()[0]["bytes"]
    assert loader.make_room(loader.device.memory_total - size)
    assert (told(loader)["captured"], loader.free_memory()) == (0, loader.device.memory_total)


def run_out() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory.")


def test_graphs_go_with_their_model(cuda: Callable[..., ModelLoader]) -> None:
    loader = cuda()
    generate(loader, [request(steps=3)], Recorder())
    with loader.use("sd1", "text-to-image") as lease:
        model = lease.loaded_model
    loader.unload("sd1")
    assert (model.caches, model.cache_bytes) == ({}, 0)


def test_an_offloaded_denoiser_has_no_graphs_and_gets_them_again_afterwards(
    cuda: Callable[..., ModelLoader], recording: Recording
) -> None:
    loader = cuda()
    generate(loader, [request(steps=3)], Recorder())
    with loader.use("sd1", "text-to-image") as lease:
        unet = lease.pipeline.unet
        unet._hf_hook = "as accelerate sets it"
        with graphs.graphed(lease, unet):
            assert "forward" not in vars(unet)
        assert told(loader)["captured"] == 0
        del unet._hf_hook
        unet.forward = forward = unet.forward  # as accelerate leaves it
        with graphs.graphed(lease, unet):
            assert unet.forward is not forward
        assert unet.forward is forward
        del unet.forward
    generate(loader, [request(steps=3)], Recorder())
    assert recording.records == 2


# ---------------------------------------------------------------- CUDA's calls


REPLACED = (
    "device", "current_stream", "Stream", "stream", "set_stream", "graph_pool_handle", "CUDAGraph", "graph", "synchronize",
)  # fmt: skip


class Cuda:
    """Writes down what is called of torch.cuda; `fails` is asked at each call of what is captured."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.log: list[str] = []
        self.current: Any = SimpleNamespace(
            name="usual", wait_stream=lambda other: self.log.append(f"usual waits for {other.name}")
        )
        for name in REPLACED:
            monkeypatch.setattr(torch.cuda, name, getattr(self, name))
        self.pools = 0

    @contextmanager
    def device(self, device: torch.device) -> Iterator[None]:
        yield

    def current_stream(self) -> Any:
        return self.current

    def Stream(self) -> Any:
        return SimpleNamespace(name="side", wait_stream=lambda other: self.log.append(f"side waits for {other.name}"))

    @contextmanager
    def stream(self, stream: Any) -> Iterator[None]:
        outer, self.current = self.current, stream
        yield
        self.current = outer

    def set_stream(self, stream: Any) -> None:
        self.current = stream

    def graph_pool_handle(self) -> int:
        self.pools += 1
        return self.pools

    def CUDAGraph(self) -> Any:
        return SimpleNamespace(replay=lambda: self.log.append("replay"))

    @contextmanager
    def graph(self, graph: Any, *, pool: int, stream: Any, capture_error_mode: str) -> Iterator[None]:
        self.log.append(f"capture in pool {pool}, {capture_error_mode}")
        self.current = stream  # torch's own leaves it so when the capture can't be ended
        yield
        self.current = SimpleNamespace(name="usual again")

    def synchronize(self, device: torch.device) -> None:
        self.log.append("synchronize")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Cuda:
    return Cuda(monkeypatch)


def test_a_capture_comes_after_warm_up_on_the_same_stream(calls: Cuda) -> None:
    def call() -> int:
        calls.log.append(f"call on {calls.current.name}, inference {torch.is_inference_mode_enabled()}")
        return 7

    usual = calls.current
    replay, output = CudaCapture(torch.device("cuda", 0)).record(call)
    replay()
    one = "call on side, inference True"
    waits = "side waits for usual", "usual waits for side"
    assert calls.log == [waits[0], one, one, one, waits[1], "capture in pool 1, thread_local", one, "replay"]
    assert (output, calls.current) == (7, usual)


def test_a_capture_that_fails_leaves_the_usual_stream_and_a_new_pool(calls: Cuda) -> None:
    capture, usual = CudaCapture(torch.device("cuda", 0)), calls.current

    def call() -> None:
        if calls.log[-1].startswith("capture"):
            raise RuntimeError("not permitted")

    with pytest.raises(RuntimeError, match="not permitted"):
        capture.record(call)
    assert calls.current is usual
    capture.record(lambda: None)
    capture.record(lambda: None)
    assert [line for line in calls.log if line.startswith("capture")] == [
        f"capture in pool {number}, thread_local" for number in (1, 2, 2)
    ]


def test_a_pool_is_left_when_the_device_is_done_with_it(calls: Cuda) -> None:
    capture = CudaCapture(torch.device("cuda", 0))
    capture.leave_pool()
    capture.record(lambda: None)
    capture.leave_pool()
    capture.record(lambda: None)
    assert [line for line in calls.log if line.startswith(("capture", "sync"))] == [
        "capture in pool 1, thread_local", "synchronize", "capture in pool 2, thread_local",
    ]  # fmt: skip


# ---------------------------------------------------------------- compiled blocks, cuDNN


def test_blocks_are_compiled_before_the_capture(
    cuda: Callable[..., ModelLoader], recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        torch, "compile", lambda call, **options: lambda *args, **named: (ran.append(1), call(*args, **named))[1]
    )
    ran: list[int] = []
    loader = cuda(compile_blocks=True)
    asked = request(model_id="sd1", steps=4)
    assert len(generate(loader, [asked], Recorder())[0]) == 1
    assert ran
    assert recording.records == 1


def test_blocks_that_cannot_be_compiled_run_as_they_are_and_it_is_said_once(
    cuda: Callable[..., ModelLoader], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*args: Any, **options: Any) -> None:
        raise RuntimeError("no C compiler\nmore")

    monkeypatch.setattr(torch, "compile", lambda call, **options: fails)
    loader = cuda(compile_blocks=True)
    with caplog.at_level(logging.WARNING, "darkroom.models"):
        for _ in range(2):
            assert len(generate(loader, [request(steps=3)], Recorder())[0]) == 1
    error = "blocks can't be compiled: RuntimeError: no C compiler"
    assert caplog.messages == [f"a denoiser's {error}"]
    assert told(loader)["error"] == error
    assert told(loader)["captured"] == 1


def test_a_denoiser_without_repeated_blocks_is_not_compiled() -> None:
    compiler = compilation.BlockCompiler()
    compiler.compile(torch.nn.Linear(1, 1))
    assert compiler.error.startswith("blocks can't be compiled: AttributeError")
    assert compiler.run(lambda: 7) == 7


@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("model", ["sd1", "flux"])
def test_cudnn_is_on_and_as_deterministic_as_asked(
    loader: ModelLoader, monkeypatch: pytest.MonkeyPatch, deterministic: bool, model: str
) -> None:
    seen: list[tuple[bool, bool, bool]] = []
    with loader.use(model, "text-to-image") as lease:
        denoiser = lease.pipeline.unet if model == "sd1" else lease.pipeline.transformer
    cudnn = torch.backends.cudnn
    handle = denoiser.register_forward_pre_hook(lambda *_: seen.append((cudnn.enabled, cudnn.deterministic, cudnn.benchmark)))
    generate(loader, [request(model_id=model, steps=1, deterministic=deterministic)], Recorder())
    handle.remove()
    assert set(seen) == {(True, deterministic, False)}


def test_the_engine_alone_has_cudnn_on(loader: ModelLoader) -> None:
    engine = Engine(loader, "sd1")
    engine._take_model()
    assert torch.backends.cudnn.enabled
    engine.close()
