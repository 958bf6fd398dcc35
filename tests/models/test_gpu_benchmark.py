"""`python -m benchmarks.gpu` in small, where only what its machine has can be imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement

from api.loading import builders

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
    "torchao",
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
    environment = {**os.environ, "PYTHONPATH": ""}  # with torchao
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=500, check=False)


@pytest.mark.timeout(600)
def test_every_part_runs_in_small_without_the_web_s_packages(tmp_path: Path) -> None:
    done = run_benchmark("--tiny", "--json", str(tmp_path / "figures.json"))
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    figures = json.loads((tmp_path / "figures.json").read_text())
    for family in ("sd15", "sdxl"):
        [rows] = [rows for title, rows in figures.items() if title.startswith(f"{family}: ")]
        for kind in ("graphs", "no graphs"):
            assert {f"ours, {kind}, {count}" for count in (1, 4, 8, 16)} <= rows.keys()
            assert rows[f"ours, {kind}, 8 mixed requests"]["seconds"] > 0
            assert set(rows[f"ours, {kind}, 4"]["phases"]) == {"encode", "denoise", "decode"}
        assert sum(name.startswith("plain diffusers") for name in rows) == 4
    for title in (
        "UNet of sd15 alone",
        "UNet of sdxl alone",
        "VAE of sd15 alone",
        "9 GB of memory",
        "5 GB of memory",
        "chats at",
    ):
        assert any(name.startswith(title) for name in figures), title
    kept = next(rows for title, rows in figures.items() if title.startswith("a transformer of FLUX's"))
    assert kept["fp8"]["bytes"] < kept["bf16"]["bytes"] > kept["int8"]["bytes"]
    assert kept["int8"]["decibels"] > kept["fp8"]["decibels"] > 20
    assert "pip install bitsandbytes" in kept["nf4"]["missing"]
    assert kept["bf16, layer by layer"]["ms_each"] > 0
    eager = next(rows for title, rows in figures.items() if title.startswith("UNet of sd15"))["2 rows"]
    assert eager["eager_ms"] > 0
    assert torch.cuda.is_available() or "cuda" in eager["error"]
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
    assert "no part nothing; there are sd15, sdxl, unet, vae, ladder, storage, chat" in capsys.readouterr().err
