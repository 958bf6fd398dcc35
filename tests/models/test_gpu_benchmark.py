"""`python -m benchmarks.gpu` in small, where only what its machine has can be imported; and the CUDA graph's logic without CUDA."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement

from api.loading import builders
from benchmarks.cuda_graph import Graphed

ROOT = Path(__file__).parent.parent.parent
THERE = (
    "torch",
    "diffusers",
    "transformers",
    "compel",
    "huggingface_hub",
    "peft",
    "accelerate",
    "opencv-python-headless",
    "onnxruntime",
)
RUN = """
import importlib.machinery, sys

class OnlyWhatIsThere(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in MISSING else super().find_spec(name, path, target)

MISSING = set({missing!r})
sys.meta_path = [OnlyWhatIsThere if finder is importlib.machinery.PathFinder else finder for finder in sys.meta_path]
sys.path.insert(0, {root!r})
from benchmarks.gpu import main
sys.exit(main({arguments!r}))
"""


def normal(name: str) -> str:
    return name.lower().replace("_", "-")


def with_what_they_need(names: tuple[str, ...]) -> set[str]:
    found: set[str] = set()
    waiting = [normal(name) for name in names]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        try:
            needed = [Requirement(line) for line in requires(name) or ()]
        except PackageNotFoundError:
            continue
        found.add(name)
        waiting += [normal(each.name) for each in needed if each.marker is None or each.marker.evaluate({"extra": ""})]
    return found


def run_benchmark(*arguments: str) -> subprocess.CompletedProcess[str]:
    there = with_what_they_need(THERE) | {"psutil", "pillow"}
    missing = [module for module, names in packages_distributions().items() if not there & set(map(normal, names))]
    assert {"django", "rest_framework", "llguidance", "pytest", "openai"} <= set(missing)
    code = RUN.format(missing=missing, root=str(ROOT), arguments=list(arguments))
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=500, check=False)


@pytest.mark.timeout(600)
def test_every_part_runs_in_small_without_the_web_s_packages(tmp_path: Path) -> None:
    done = run_benchmark("--tiny", "--json", str(tmp_path / "figures.json"))
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    figures = json.loads((tmp_path / "figures.json").read_text())
    for family in ("sd15", "sdxl"):
        [rows] = [rows for title, rows in figures.items() if title.startswith(f"{family}: ")]
        assert {"ours, 1", "ours, 4", "ours, 16"} <= rows.keys()
        assert sum(name.startswith("plain diffusers") for name in rows) == 3
        assert set(rows["ours, 4"]["phases"]) == {"encode", "denoise", "decode"}
    for title in (
        "UNet of sd15 alone",
        "UNet of sdxl alone",
        "VAE of sd15 alone",
        "9 GB of memory",
        "5 GB of memory",
        "chats at",
    ):
        assert any(name.startswith(title) for name in figures), title
    eager = next(rows for title, rows in figures.items() if title.startswith("UNet of sd15"))["2 rows"]
    assert eager["eager_ms"] > 0
    assert torch.cuda.is_available() or "CUDA" in eager["graph_error"]
    spoken = next(rows for title, rows in figures.items() if title.startswith("chats at") and title.endswith("bf16"))
    assert spoken["8 at once"]["tokens_per_s"] > 0
    assert "FAILED" not in done.stdout


@pytest.mark.timeout(300)
def test_a_part_that_fails_says_so_and_the_rest_goes_on(tmp_path: Path) -> None:
    from benchmarks import gpu

    def breaks(run: gpu.Run) -> None:
        raise RuntimeError("CUDA error: something")

    parts, figures = dict(gpu.PARTS), tmp_path / "figures.json"
    gpu.PARTS["sd15"], gpu.PARTS["vae"] = breaks, lambda run: run.table.add("measured", "1 ms", ms=1)
    try:
        assert gpu.main(["--tiny", "--only", "sd15,vae", "--json", str(figures)]) == 1
    finally:
        gpu.PARTS.update(parts)
        builders._builders.pop("text-to-image")  # the benchmark registered its own
    assert "RuntimeError: CUDA error: something" in figures.read_text()
    assert '"ms": 1' in figures.read_text()


def test_an_unknown_part_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    from benchmarks.gpu import main

    with pytest.raises(SystemExit):
        main(["--only", "sd15,nothing"])
    assert "no part nothing; there are sd15, sdxl, unet, vae, ladder, chat" in capsys.readouterr().err


# ---------------------------------------------------------------- a graph's logic, with a recorder in CUDA's place


def recorded(call: Callable[[], torch.Tensor]) -> tuple[Callable[[], None], torch.Tensor]:
    output = call()

    def replay() -> None:
        output.copy_(call())

    return replay, output


def scaled(x: torch.Tensor, more: dict[str, torch.Tensor]) -> torch.Tensor:
    return x * 2 + more["y"]


def test_a_replay_computes_with_new_inputs_and_its_output_is_the_caller_s() -> None:
    graph = Graphed(scaled, {"x": torch.ones(2), "more": {"y": torch.zeros(2)}}, recorded)
    first = graph(x=torch.full((2,), 3.0), more={"y": torch.ones(2)})
    second = graph(x=torch.full((2,), 5.0), more={"y": torch.ones(2)})
    assert (first.tolist(), second.tolist(), graph.error) == ([7.0, 7.0], [11.0, 11.0], "")


def test_the_inputs_it_was_recorded_with_stay_the_caller_s() -> None:
    mine = torch.ones(2)
    Graphed(scaled, {"x": mine, "more": {"y": torch.zeros(2)}}, recorded)(x=torch.zeros(2), more={"y": torch.ones(2)})
    assert mine.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("other", [torch.ones(3), torch.ones(2, dtype=torch.float64)])
def test_other_shapes_and_dtypes_run_as_they_are(other: torch.Tensor) -> None:
    graph = Graphed(scaled, {"x": torch.ones(2), "more": {"y": torch.zeros(2)}}, recorded)
    assert graph(x=other, more={"y": torch.zeros_like(other)}).tolist() == [2.0] * len(other)


def test_what_cannot_be_captured_runs_as_it_is_and_says_why() -> None:
    def refuse(call: Callable[[], torch.Tensor]) -> tuple[Callable[[], None], torch.Tensor]:
        raise RuntimeError("operation not permitted when stream is capturing")

    graph = Graphed(scaled, {"x": torch.ones(2), "more": {"y": torch.zeros(2)}}, refuse)
    assert graph(x=torch.ones(2), more={"y": torch.ones(2)}).tolist() == [3.0, 3.0]
    assert graph.error == "RuntimeError: operation not permitted when stream is capturing"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is CUDA here")
def test_without_cuda_it_runs_as_it_is() -> None:
    graph = Graphed(scaled, {"x": torch.ones(2), "more": {"y": torch.zeros(2)}})
    assert graph(x=torch.ones(2), more={"y": torch.ones(2)}).tolist() == [3.0, 3.0]
    assert "CUDA" in graph.error
