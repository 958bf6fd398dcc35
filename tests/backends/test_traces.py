"""The UNet's pass as a trace on a CPU: the same bytes, from the pass on where it pays, and never with what a trace doesn't know."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from api.catalog import Catalog
from api.devices import Device
from api.downloads.store import ModelStore
from api.images.backends import warming
from api.images.backends.engine import traces
from api.images.backends.local import generate
from api.model_loader import DenoiserOptions, ModelLoader
from tests.backends.recorder import Recorder, request

CPU = Device("cpu", 0, "a processor", torch.float32, channels_last=True, memory_total=2**33)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "PASSES_BEFORE", 2)


@pytest.fixture
def loader(tiny_catalog: Catalog, tmp_path: Path) -> ModelLoader:
    return ModelLoader(tiny_catalog, ModelStore(tmp_path), CPU)


@pytest.fixture
def plain(tiny_catalog: Catalog, tmp_path: Path) -> ModelLoader:
    return ModelLoader(tiny_catalog, ModelStore(tmp_path), CPU, denoiser_options=DenoiserOptions(graphs=False))


def make(loader: ModelLoader, *seeds: int, **fields: Any) -> list[bytes]:
    asked = request(**{"seeds": seeds, "steps": 4, **fields})
    return [picture.tobytes() for picture in generate(loader, [asked], Recorder())[0]]


def told(loader: ModelLoader) -> Any:
    return loader.loaded()[0].get("traces")


def count_plain_passes(loader: ModelLoader, model: str = "sd1") -> list[int]:
    """Of the UNet's first layer: a trace doesn't call it from Python."""
    with loader.use(model, "text-to-image") as lease:
        passes: list[int] = []
        lease.pipeline.unet.conv_in.register_forward_pre_hook(lambda layer, inputs: passes.append(len(inputs[0])))
    return passes


@pytest.mark.parametrize("model", ["sd1", "sdxl"])
def test_pictures_have_the_same_bytes_with_one_trace_for_any_number_of_rows(
    loader: ModelLoader, plain: ModelLoader, model: str
) -> None:
    for seeds, fields in (((1,), {}), ((1, 2, 3), {}), ((1, 2, 3), {"guidance_scale": 1.0}), ((4,), {"width": 96})):
        assert make(loader, *seeds, model_id=model, **fields) == make(plain, *seeds, model_id=model, **fields)
    assert told(loader) == {"traced": 2, "failed": 0}
    assert told(plain) is None
    passes = count_plain_passes(loader, model)
    make(loader, 7, model_id=model)
    assert make(loader, *range(5), model_id=model) == make(plain, *range(5), model_id=model)
    assert passes == []


def test_a_trace_reads_the_weights_of_the_model_and_is_dropped_when_they_are_others(loader: ModelLoader) -> None:
    make(loader, 1)
    with loader.use("sd1", "text-to-image") as lease:
        cache: Any = lease.loaded_model.caches["traces"]
        (trace,) = cache._traces.values()
        unet = lease.pipeline.unet
        assert {one.data_ptr() for one in trace.parameters()} == {one.data_ptr() for one in unet.parameters()}
        weight = unet.conv_in.weight
        weight.data = weight.data.clone() * 0.5
        cache.fit(unet, lease.measures)
        assert told(loader)["traced"] == 0


def test_with_an_adapter_the_pass_runs_as_it_is(loader: ModelLoader, plain: ModelLoader) -> None:
    before, passes = make(loader, 1), count_plain_passes(loader)
    bold = {"loras": (("bold", 1.0),)}
    assert make(loader, 1, **bold) == make(plain, 1, **bold) != before
    assert len(passes) == 4
    assert make(loader, 1) == before


@pytest.mark.parametrize("storage", ["int8", "nf4"])
def test_packed_weights_give_the_same_bytes_with_and_without_a_trace(
    loader: ModelLoader, plain: ModelLoader, tiny_catalog: Catalog, storage: str
) -> None:
    packed = dataclasses.replace(tiny_catalog.models["sd1"], storage=storage)
    loader.catalog = plain.catalog = dataclasses.replace(tiny_catalog, models={**tiny_catalog.models, "sd1": packed})
    for seeds in ((1,), (2,), (1, 2)):
        assert make(loader, *seeds) == make(plain, *seeds)
    assert loader.loaded()[0]["measures"] == [f"{storage}_storage"]


@pytest.mark.parametrize("wrong", ["raises", "other numbers", "one number of rows alone"])
def test_what_can_not_be_traced_runs_as_it_is_and_it_is_said_once(
    loader: ModelLoader, plain: ModelLoader, wrong: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def trace(module: Any, tensors: Any, **options: Any) -> Any:
        if wrong == "raises":
            raise RuntimeError("no such operation\nmore")
        factors = {len(tensors[0]): 1.0} if wrong == "one number of rows alone" else {}
        return lambda *given: (module(*given)[0] * factors.get(len(given[0]), 1.0001),)

    monkeypatch.setattr(torch.jit, "trace", trace)
    with caplog.at_level(logging.WARNING, "darkroom.models"):
        assert make(loader, 1, 2) == make(plain, 1, 2)
        make(loader, 3)
    error = "RuntimeError: no such operation" if wrong == "raises" else "ValueError: a trace gave other numbers"
    assert [record.getMessage() for record in caplog.records] == [f"a denoiser's pass can't be traced: {error}"]
    assert told(loader) == {"traced": 0, "failed": 1, "error": error}


def test_a_warm_up_traces_the_pass_of_the_usual_size_where_it_is_quick(
    loader: ModelLoader, tiny_catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = dataclasses.replace(tiny_catalog.models["sd1"], default_size=96)
    loader.catalog = dataclasses.replace(tiny_catalog, models={**tiny_catalog.models, "sd1": usual})
    monkeypatch.setattr(warming, "QUICK_SECONDS", 0.0)
    warming.make_first_pictures(loader, "sd1", lambda: False)
    assert told(loader) == {"traced": 1, "failed": 0}  # of the smallest size, which came thrice with this test's PASSES_BEFORE
    monkeypatch.setattr(warming, "QUICK_SECONDS", 1000.0)
    warming.make_first_pictures(loader, "sd1", lambda: False)
    assert told(loader) == {"traced": 2, "failed": 0}
    passes = count_plain_passes(loader)
    make(loader, 1, width=96, height=96, steps=1)
    assert passes == []
    make(loader, 1, width=80, steps=1)
    assert told(loader) == {"traced": 2, "failed": 0}  # again after some passes only


def test_a_slow_pass_is_not_traced(loader: ModelLoader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "QUICK_SECONDS", 0.0)
    make(loader, 1)
    assert told(loader) == {"traced": 0, "failed": 0}
