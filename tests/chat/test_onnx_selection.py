"""Which backend answers: what is published in ONNX, what was exported here, in which precision, and why not."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from django.core.management import CommandError, call_command
from rest_framework.exceptions import ValidationError

from api.catalog import Catalog, CatalogError, ModelEntry, UnknownModel, load_catalog
from api.chat import backend_selection
from api.chat.backend_selection import TASKS, BackendSelection, select
from api.devices import Device
from api.downloads.store import ModelStore
from api.errors import DarkroomError
from api.jobs.models import Worker
from api.loading.chat import build_chat
from api.model_loader import ModelLoader
from tests.chat.conftest import Exported, ask
from tests.live import LiveServer
from tests.models.hub_server import HubServer

pytestmark = [pytest.mark.models, pytest.mark.django_db, pytest.mark.timeout(600)]
SMOL = "HuggingFaceTB/SmolVLM-256M-Instruct"
PLAIN = """
[models.plain]
name = "Plain Llama"
family = "llama"
task = "text-generation"
path = "{path}"
"""


@pytest.fixture(autouse=True)
def models_dir(settings: Any, tmp_path: Path) -> Path:
    settings.MODELS_DIR = tmp_path / "models"
    return settings.MODELS_DIR  # type: ignore[no-any-return]


@pytest.fixture
def catalog(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Puts a catalog of these TOML tables in the place of the server's own."""

    def use(file: Path, precision: str = "auto") -> Catalog:
        made = load_catalog(file).with_precision(precision, TASKS)
        for module in ("api.chat.backend_selection", "api.system.selectors", "api.system.management.commands.export_onnx"):
            monkeypatch.setattr(f"{module}.get_catalog", lambda: made)
        return made

    return use


def reason(model: str, backend: str = "auto") -> str:
    with pytest.raises(ValidationError) as caught:
        select(model, backend)
    return str(caught.value.detail["backend"][0])  # type: ignore[call-overload,index]


def test_what_is_published_in_onnx_is_taken_first_and_pytorch_where_it_is_asked_for() -> None:
    assert select(SMOL, "auto") == BackendSelection("onnx", SMOL, True, "onnx-int8")
    assert select(SMOL, "pytorch") == BackendSelection("pytorch", SMOL, True)
    assert select("llava-1.5-7b", "auto").backend == "pytorch"
    assert select("Gemma-3n-E2B-it-ONNX/Q4_MIXED", "auto") == BackendSelection("onnx", "Gemma-3n-E2B-it-ONNX/Q4_MIXED", True)


@pytest.mark.parametrize(("device", "backend"), [("cuda", "pytorch"), ("mps", "pytorch"), ("cpu", "onnx")])
def test_where_a_worker_has_an_accelerator_pytorch_comes_first(device: str, backend: str) -> None:
    worker = Worker.objects.create(hostname="far", pid=1, device={"device": {"type": device}})
    assert select(SMOL, "auto").backend == backend
    assert select(SMOL, "onnx").backend == "onnx"
    Worker.objects.filter(pk=worker.pk).update(state=Worker.State.STOPPED)
    assert select(SMOL, "auto").backend == "onnx"


@pytest.mark.parametrize(
    ("precision", "backend", "variant"),
    [("fp32", "onnx", "onnx-fp32"), ("int4", "onnx", "onnx-q4"), ("fp16", "onnx", "onnx-fp16"), ("bf16", "pytorch", "")],
)
def test_a_precision_chooses_among_what_there_is(catalog: Any, precision: str, backend: str, variant: str) -> None:
    catalog(load_file(""), precision)
    assert select(SMOL, "auto") == BackendSelection(backend, SMOL, True, variant)


def load_file(text: str) -> Path:
    import tempfile

    file = Path(tempfile.mkdtemp()) / "models.toml"
    file.write_text(text)
    return file


def test_what_cant_be_had_is_refused_with_the_reason(catalog: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend_selection, "find_spec", lambda package: None)
    catalog(load_file(""), "bf16")
    assert reason(SMOL, "onnx") == "ONNX models don't come in bf16."
    catalog(load_file(""), "int8")
    assert "bitsandbytes" in reason(SMOL, "pytorch")
    assert "no export of the family llava" in reason("llava-1.5-7b")
    assert "not published in int8, only as Q4_MIXED" in reason("Gemma-3n-E2B-it-ONNX/Q4_MIXED")
    assert "manage.py export_onnx phi-2 --precision int8" in reason("phi-2")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('precision = "int2"', "precision"),
        ('onnx = ["int9"]', "'int9'"),
        ("onnx_only = true", "onnx_only"),
        ('onnx_variant = "int8"', "onnx_variant"),
    ],
)
def test_a_catalog_that_says_it_wrongly_is_refused(line: str, words: str) -> None:
    with pytest.raises(CatalogError, match=words):
        load_catalog(load_file(PLAIN.format(path="nowhere") + line))


def test_a_variant_that_nothing_is_named_after_is_unknown() -> None:
    with pytest.raises(UnknownModel, match="@onnx-int8"):
        load_catalog().get(f"{SMOL}@magic")


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_a_precision_is_the_dtype_on_pytorch(exported: Exported, precision: str, dtype: torch.dtype) -> None:
    entry = dataclasses.replace(load_catalog(exported[0]).get("tiny-llama"), precision=precision)
    assert build_chat(entry, entry.path, processor()).model.dtype == dtype  # type: ignore[arg-type]


def test_eight_bits_on_pytorch_are_refused_on_a_processor(exported: Exported) -> None:
    entry = dataclasses.replace(load_catalog(exported[0]).get("tiny-llama"), precision="int8")
    with pytest.raises(DarkroomError, match="needs CUDA and bitsandbytes: this is a cpu device"):
        build_chat(entry, entry.path, processor())  # type: ignore[arg-type]


def processor() -> Device:
    return Device("cpu", 0, "a processor", torch.float32, True, 8 * 2**30)


# ---------------------------------------------------------------- exports


def test_an_export_is_made_once_kept_by_revision_and_answers_from_then_on(
    exported: Exported, catalog: Any, models_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = catalog(load_file(PLAIN.format(path=exported[0].parent / "llama")))
    assert select("plain", "auto").backend == "pytorch"
    call_command("export_onnx", "plain", "--precision", "int8")
    assert "greedy answers" in capsys.readouterr().out
    assert select("plain", "auto") == BackendSelection("onnx", "plain", False, "exported-int8")
    folder = next((models_dir / "exported" / "plain").iterdir())
    assert json.loads((folder / "onnx" / "int8.json").read_text())["precision"] == "int8"
    loader = ModelLoader(made, ModelStore(models_dir), processor())
    loader.load("plain@exported-int8")
    assert [model["id"] for model in loader.loaded()] == ["plain@exported-int8"]
    assert loader.unload("plain")
    call_command("export_onnx", "plain", "--precision", "int8")
    assert "there in int8 already" in capsys.readouterr().out


def test_an_export_of_other_weights_is_none_of_these(exported: Exported, catalog: Any, models_dir: Path) -> None:
    old = models_dir / "exported" / "plain" / "0123456789abcdef" / "onnx"
    old.mkdir(parents=True)
    (old / "int8.json").write_text("{}")
    catalog(load_file(PLAIN.format(path=exported[0].parent / "llama")))
    assert select("plain", "auto").backend == "pytorch"


@pytest.mark.parametrize(
    ("model", "words"),
    [("nothing", "no model 'nothing'"), ("starter", "doesn't chat"), ("Gemma-3n-E2B-it-ONNX/Q4_MIXED", "in ONNX already")],
)
def test_the_command_says_what_it_cant_export(model: str, words: str) -> None:
    with pytest.raises(CommandError, match=words):
        call_command("export_onnx", model)


# ---------------------------------------------------------------- the hub


def test_of_a_repository_only_the_chosen_variants_files_are_fetched(exported: Exported, tmp_path: Path) -> None:
    entry = ModelEntry(id="team/vlm", name="VLM", task="image-text-to-text", repo="team/vlm", onnx=("int8", "fp32"))
    with HubServer().running() as hub:
        hub.add("team/vlm", exported[0].parent / "vlm")
        store = ModelStore(tmp_path / "hub", endpoint=hub.endpoint, timeout=5, retry_seconds=0.01)
        loader = ModelLoader(Catalog({entry.id: entry}, {}), store, processor())
        loader.load("team/vlm@onnx-int8")
        fetched = set(hub.fetched())
    parts = {"vision_encoder", "embed_tokens", "decoder_model_merged"}
    assert {name for name in fetched if "onnx" in name} == {f"onnx/{part}_int8.onnx" for part in parts}
    assert "model.safetensors" not in fetched
    assert {"config.json", "tokenizer.json", "processor_config.json"} <= fetched


# ---------------------------------------------------------------- a server


def test_a_server_answers_on_onnx_and_says_so(exported: Exported, tmp_path: Path) -> None:
    settings = {"CATALOG_EXTRA": exported[0], "DEFAULT_CHAT_MODEL": "tiny/vlm", "DATABASE_URL": "", "DEVICE": "cpu"}
    with LiveServer(tmp_path / "server", **settings) as live:
        live.wait_until(lambda: live.answers("/api/ready/"), "a worker is ready")

        def told(**fields: Any) -> Any:
            body = {"messages": ask("hello"), "max_tokens": 8, "temperature": 0, **fields}
            return live.client.post("/v1/chat/completions", json=body, timeout=400).json()

        first, forced = told(), told(backend="pytorch")
        assert (first["backend"], forced["backend"]) == ("onnx", "pytorch")
        assert first["choices"][0]["message"]["content"]
        loaded = {model["id"] for model in live.client.get("/api/models/").json() if model["loaded"]}
        assert "tiny/vlm" in loaded
