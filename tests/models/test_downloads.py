"""Weights come from the hub checked, pinned and resumable. A local server speaks the hub's protocol."""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import huggingface_hub
import pytest

from api.catalog import AdapterEntry, ModelEntry
from api.downloads.store import ModelStore
from api.errors import DarkroomError
from tests.models.hub_server import HubServer
from tests.models.tiny import build_tiny_sd

UNET = "unet/diffusion_pytorch_model.safetensors"
ENTRY = ModelEntry(id="team/tiny", name="Tiny", repo="team/tiny")
TRANSFORMERS = {"config.json": b'{"model_type": "clip"}', "model.safetensors": b"weights" * 1000}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_sd(tmp_path_factory.mktemp("checkpoint"))


def files_below(folder: Path) -> set[str]:
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}


def test_the_local_server_is_good_enough_for_huggingface_hub_itself(hub: HubServer, checkpoint: Path, tmp_path: Path) -> None:
    hub.add("team/tiny", checkpoint)
    folder = huggingface_hub.snapshot_download("team/tiny", endpoint=hub.endpoint, local_dir=tmp_path / "copy", token=False)
    assert (Path(folder) / UNET).read_bytes() == (checkpoint / UNET).read_bytes()


def test_importing_downloads_loads_neither_torch_nor_transformers() -> None:
    code = "import sys, api.downloads.store, api.catalog; print([name for name in ('torch', 'transformers') if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_a_checkpoint_is_fetched_whole_into_a_plain_folder(hub: HubServer, store: ModelStore, checkpoint: Path) -> None:
    hub.add("team/tiny", checkpoint)
    folder = store.fetch(ENTRY)
    assert folder == store.models_dir / "team--tiny"
    assert files_below(folder) == files_below(checkpoint)
    assert (folder / UNET).read_bytes() == (checkpoint / UNET).read_bytes()


def test_what_is_complete_is_found_again_without_the_network(hub: HubServer, store: ModelStore, checkpoint: Path) -> None:
    hub.add("team/tiny", checkpoint)
    assert store.folder(ENTRY) is None
    folder = store.fetch(ENTRY)
    hub.seen.clear()
    assert store.folder(ENTRY) == folder
    assert store.fetch(ENTRY) == folder
    assert store.available(ENTRY)
    assert hub.seen == []


def test_a_version_tells_weights_from_others(hub: HubServer, store: ModelStore, tmp_path: Path) -> None:
    hub.add("team/tiny", TRANSFORMERS)
    assert store.version(ENTRY) == ""
    store.fetch(ENTRY)
    commit = json.loads((store.models_dir / ".manifests" / "team--tiny.json").read_text())["commit"]
    assert store.version(ENTRY) == commit[:12]
    local, versions = ModelEntry(id="mine", name="Mine", path=tmp_path / "mine"), []
    (tmp_path / "mine").mkdir()
    assert store.version(local) == ""
    for weights in (b"one" * 1_000_000, b"two" * 1_000_000, b"one" * 1_000_000):
        (tmp_path / "mine" / "model.safetensors").write_bytes(weights)
        versions.append(store.version(local))
    assert versions[0] == versions[2] != versions[1]
    assert len(versions[0]) == 12


def test_progress_counts_up_to_the_whole(hub: HubServer, store: ModelStore, checkpoint: Path) -> None:
    hub.add("team/tiny", checkpoint)
    told: list[tuple[int, int]] = []
    store.fetch(ENTRY, lambda done, total: told.append((done, total)))
    size = sum(file.stat().st_size for file in checkpoint.rglob("*") if file.is_file())
    assert told[-1] == (size, size) == (store.size_on_disk(ENTRY), size)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_code_and_pickles_are_never_fetched(hub: HubServer, store: ModelStore) -> None:
    extra = dict.fromkeys(("modeling.py", "pytorch_model.bin", "a.pt", "b.pkl", "c.ckpt", "README.md", "d.h5"), b"x")
    hub.add("team/tiny", TRANSFORMERS | extra)
    assert files_below(store.fetch(ENTRY)) == {"config.json", "model.safetensors"}
    assert set(hub.fetched()) == {"config.json", "model.safetensors"}


def test_a_repository_of_pickles_alone_is_refused(hub: HubServer, store: ModelStore) -> None:
    hub.add("team/tiny", {"config.json": b"{}", "pytorch_model.bin": b"x"})
    with pytest.raises(DarkroomError, match="pickled weights only") as caught:
        store.fetch(ENTRY)
    assert caught.value.code == "unsafe_files"


def test_only_the_wanted_variant_is_fetched_and_no_duplicate(
    hub: HubServer, store: ModelStore, checkpoint: Path, tmp_path: Path
) -> None:
    repository = tmp_path / "repository"
    shutil.copytree(checkpoint, repository)
    half = UNET.replace(".safetensors", ".fp16.safetensors")
    for name in (half, UNET.replace(".safetensors", ".non_ema.safetensors"), "tiny-v1.safetensors"):
        shutil.copy(repository / UNET, repository / name)
    (repository / "safety_checker").mkdir()
    shutil.copy(repository / UNET, repository / "safety_checker/model.safetensors")
    hub.add("team/tiny", repository)
    entry = ModelEntry(id="tiny", name="Tiny", repo="team/tiny", variant="fp16")
    weights = {name for name in files_below(store.fetch(entry)) if name.endswith(".safetensors")}
    assert weights == {half, "text_encoder/model.safetensors", "vae/diffusion_pytorch_model.safetensors"}


def test_patterns_of_an_entry_choose_its_files(hub: HubServer, store: ModelStore) -> None:
    onnx = {"onnx/decoder_int8.onnx": b"1", "onnx/decoder_int8.onnx_data": b"2", "onnx/decoder.onnx": b"3", "onnx/run.py": b"4"}
    hub.add("team/tiny", TRANSFORMERS | onnx)
    entry = ModelEntry(id="tiny", name="Tiny", repo="team/tiny", files=("config.json", "onnx/*_int8.*", "onnx/*.py"))
    assert files_below(store.fetch(entry)) == {"config.json", "onnx/decoder_int8.onnx", "onnx/decoder_int8.onnx_data"}


def test_a_gated_model_without_a_token_names_hf_token(hub: HubServer, store: ModelStore) -> None:
    hub.add("team/tiny", TRANSFORMERS, token="hf_secret")
    with pytest.raises(DarkroomError, match="HF_TOKEN") as caught:
        store.fetch(ENTRY)
    assert (caught.value.code, caught.value.status) == ("gated", 403)


def test_a_token_that_may_not_read_it_is_told_the_same_and_never_shown(
    hub: HubServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hub.add("team/tiny", TRANSFORMERS, token="hf_right")
    store = ModelStore(tmp_path, token="hf_wrong_secret", endpoint=hub.endpoint)
    with caplog.at_level("DEBUG"), pytest.raises(DarkroomError) as caught:
        store.fetch(ENTRY)
    assert caught.value.code == "gated"
    assert "hf_wrong_secret" not in caplog.text + repr(caught.value) + repr(caught.value.__cause__)


def test_the_right_token_opens_a_gated_model(hub: HubServer, tmp_path: Path) -> None:
    hub.add("team/tiny", TRANSFORMERS, token="hf_right")
    store = ModelStore(tmp_path, token="hf_right", endpoint=hub.endpoint)
    assert store.folder(ENTRY) is None
    assert (store.fetch(ENTRY) / "model.safetensors").exists()
    assert not any("hf_right" in file.read_text() for file in (tmp_path / ".manifests").glob("*.json"))


def test_the_token_does_not_follow_a_redirect_to_another_host(hub: HubServer, tmp_path: Path) -> None:
    with HubServer().running() as cdn:
        commit = cdn.add("team/tiny", TRANSFORMERS).commit
        hub.add("team/tiny", TRANSFORMERS, token="hf_right", commit=commit, redirect=cdn.endpoint)
        ModelStore(tmp_path, token="hf_right", endpoint=hub.endpoint).fetch(ENTRY)
        assert {seen.authorization for seen in cdn.seen} == {None}
    assert {seen.authorization for seen in hub.seen} == {"Bearer hf_right"}


def test_a_missing_repository_is_not_found(hub: HubServer, store: ModelStore) -> None:
    with pytest.raises(DarkroomError, match="no repository team/tiny") as caught:
        store.fetch(ENTRY)
    assert caught.value.code == "not_found"


def test_a_commit_that_is_not_there_is_not_found(hub: HubServer, store: ModelStore) -> None:
    hub.add("team/tiny", TRANSFORMERS)
    with pytest.raises(DarkroomError) as caught:
        store.fetch(ModelEntry(id="tiny", name="Tiny", repo="team/tiny", revision="0" * 40))
    assert caught.value.code == "not_found"


def test_a_hub_that_cannot_be_reached_is_offline(tmp_path: Path) -> None:
    store = ModelStore(tmp_path, endpoint="http://127.0.0.1:9/secret", timeout=1, retry_seconds=0)
    with pytest.raises(DarkroomError) as caught:
        store.fetch(ENTRY)
    assert (caught.value.code, caught.value.status) == ("offline", 503)
    assert "127.0.0.1 can't be reached" in caught.value.detail
    assert "HTTPS_PROXY" in caught.value.detail
    assert "manage.py preload_models team/tiny" in caught.value.detail
    assert "secret" not in caught.value.detail


def test_an_adapter_of_a_hub_that_cannot_be_reached_has_a_cure_of_its_own(tmp_path: Path) -> None:
    adapter = AdapterEntry(id="ink", name="Ink", family="sd1", repo="team/ink", filename="ink.safetensors")
    with pytest.raises(DarkroomError, match="name it as `path` in CATALOG_EXTRA"):
        ModelStore(tmp_path, endpoint="http://127.0.0.1:9", timeout=1, retry_seconds=0).fetch_adapter(adapter)


def test_the_switch_that_keeps_the_hub_s_client_offline_is_named(
    hub: HubServer, store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add("team/tiny", TRANSFORMERS)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(DarkroomError, match=r"HF_HUB_OFFLINE is set\. To mend it, unset it") as caught:
        store.fetch(ENTRY)
    assert caught.value.code == "offline"


@pytest.mark.parametrize("size", [-5, None, "many", 1.5])
def test_a_size_that_is_none_is_named_with_its_file(hub: HubServer, store: ModelStore, size: object) -> None:
    hub.add("team/tiny", TRANSFORMERS, sizes={"model.safetensors": size})
    with pytest.raises(DarkroomError, match=r"negative one, for model\.safetensors") as caught:
        store.fetch(ENTRY)
    assert (caught.value.code, caught.value.status) == ("bad_answer", 502)


@pytest.mark.parametrize(
    "answer", [b"<html>", b"[]", b"null", b'{"siblings": 5}', b'{"siblings": [{}]}', b'{"siblings": [{"size": 1}]}']
)
def test_an_answer_that_is_no_listing_is_an_error_of_the_hub(hub: HubServer, store: ModelStore, answer: bytes) -> None:
    hub.add("team/tiny", TRANSFORMERS, answer=answer)
    with pytest.raises(DarkroomError) as caught:
        store.fetch(ENTRY)
    assert (caught.value.code, caught.value.status) == ("bad_answer", 502)


def test_a_file_in_the_place_of_a_folder_is_an_error_of_the_disk(hub: HubServer, store: ModelStore, checkpoint: Path) -> None:
    hub.add("team/tiny", checkpoint)
    (store.models_dir / "team--tiny").mkdir(parents=True)
    (store.models_dir / "team--tiny" / "unet").write_text("in the way")
    with pytest.raises(DarkroomError, match="can't be written to the models folder") as caught:
        store.fetch(ENTRY)
    assert caught.value.code == "not_writable"


def test_a_slow_hub_is_waited_for_as_long_as_bytes_come(hub: HubServer, store: ModelStore) -> None:
    hub.add("team/tiny", TRANSFORMERS, seconds_per_chunk=0.1)
    assert (store.fetch(ENTRY) / "model.safetensors").stat().st_size == 7000


def test_a_hub_that_stalls_ends_as_offline(hub: HubServer, tmp_path: Path) -> None:
    hub.add("team/tiny", TRANSFORMERS, seconds_per_chunk=1.0)
    store = ModelStore(tmp_path, endpoint=hub.endpoint, timeout=0.1, retry_seconds=0)
    with pytest.raises(DarkroomError) as caught:
        store.fetch(ENTRY)
    assert caught.value.code == "offline"


def test_a_cut_is_taken_up_where_it_broke(hub: HubServer, store: ModelStore) -> None:
    hub.add("team/tiny", TRANSFORMERS, cuts={"model.safetensors": [3000, 1500]})
    folder = store.fetch(ENTRY)
    assert [seen.range for seen in hub.seen if seen.path.endswith("model.safetensors")] == [None, "bytes=3000-", "bytes=4500-"]
    assert (folder / "model.safetensors").read_bytes() == TRANSFORMERS["model.safetensors"]


def test_what_a_dead_process_left_is_taken_up_by_the_next(hub: HubServer, store: ModelStore) -> None:
    hub.add("team/tiny", TRANSFORMERS, cuts={"model.safetensors": [3000, 0, 0, 0, 0, 0, 0]})
    with pytest.raises(DarkroomError, match="goes on from there") as caught:
        store.fetch(ENTRY)
    assert caught.value.code == "offline"
    hub.repositories["team/tiny"].cuts.clear()
    hub.seen.clear()
    told: list[int] = []
    ModelStore(store.models_dir, endpoint=hub.endpoint).fetch(ENTRY, lambda done, total: told.append(done))
    assert [seen.range for seen in hub.seen] == ["bytes=3000-"]
    assert told[0] >= 3000


def test_a_server_without_ranges_is_read_from_the_beginning(hub: HubServer, store: ModelStore) -> None:
    hub.add("team/tiny", TRANSFORMERS, cuts={"model.safetensors": [3000]}, ranges=False)
    assert (store.fetch(ENTRY) / "model.safetensors").read_bytes() == TRANSFORMERS["model.safetensors"]


def test_a_file_that_comes_damaged_is_fetched_again(
    hub: HubServer, store: ModelStore, caplog: pytest.LogCaptureFixture
) -> None:
    hub.add("team/tiny", TRANSFORMERS, damage={"model.safetensors": 1, "config.json": 1})
    folder = store.fetch(ENTRY)
    assert (folder / "model.safetensors").read_bytes() == TRANSFORMERS["model.safetensors"]
    assert "model.safetensors of team/tiny came damaged" in caplog.text


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_file_that_always_comes_damaged_is_given_up_by_name(hub: HubServer, store: ModelStore, name: str) -> None:
    hub.add("team/tiny", TRANSFORMERS, damage={name: 9})
    with pytest.raises(DarkroomError, match=name) as caught:
        store.fetch(ENTRY)
    assert caught.value.code == "damaged"
    assert store.folder(ENTRY) is None


def test_a_file_damaged_on_disk_is_named_and_fetched_again(
    hub: HubServer, store: ModelStore, caplog: pytest.LogCaptureFixture
) -> None:
    hub.add("team/tiny", TRANSFORMERS)
    weights = store.fetch(ENTRY) / "model.safetensors"
    weights.write_bytes(b"W" + weights.read_bytes()[1:])
    hub.seen.clear()
    assert store.folder(ENTRY) is None
    assert "model.safetensors of team/tiny is damaged" in caplog.text
    store.fetch(ENTRY)
    assert hub.fetched() == ["model.safetensors"]
    assert weights.read_bytes() == TRANSFORMERS["model.safetensors"]


def test_a_file_that_is_only_touched_is_hashed_again_and_kept(hub: HubServer, store: ModelStore) -> None:
    hub.add("team/tiny", TRANSFORMERS)
    folder = store.fetch(ENTRY)
    (folder / "model.safetensors").touch()
    assert store.folder(ENTRY) == folder


def test_a_missing_file_makes_the_model_incomplete(hub: HubServer, store: ModelStore) -> None:
    hub.add("team/tiny", TRANSFORMERS)
    (store.fetch(ENTRY) / "config.json").unlink()
    assert store.folder(ENTRY) is None
    assert not store.available(ENTRY)


def test_the_commit_of_the_first_use_stays_required(hub: HubServer, store: ModelStore) -> None:
    first = hub.add("team/tiny", TRANSFORMERS)
    store.fetch(ENTRY)
    manifest = json.loads((store.models_dir / ".manifests/team--tiny.json").read_text())
    assert (manifest["commit"], manifest["pinned"]) == (first.commit, "first_use")
    hub.add("team/tiny", TRANSFORMERS | {"model.safetensors": b"another"})
    store.remove(ENTRY)
    with pytest.raises(DarkroomError):
        store.fetch(ENTRY)
    store.remove(ENTRY, forget=True)
    assert (store.fetch(ENTRY) / "model.safetensors").read_bytes() == b"another"


def test_a_hub_that_changes_a_file_of_the_same_commit_is_caught(hub: HubServer, store: ModelStore) -> None:
    commit = hub.add("team/tiny", TRANSFORMERS).commit
    store.fetch(ENTRY)
    store.remove(ENTRY)
    hub.add("team/tiny", TRANSFORMERS | {"model.safetensors": b"another" * 1000}, commit=commit)
    with pytest.raises(DarkroomError) as caught:
        store.fetch(ENTRY)
    assert caught.value.code == "damaged"


def test_a_catalog_that_pins_another_commit_replaces_what_is_here(hub: HubServer, store: ModelStore) -> None:
    hub.add("team/tiny", TRANSFORMERS | {"old.json": b"{}"})
    store.fetch(ENTRY)
    commit = hub.add("team/tiny", TRANSFORMERS | {"model.safetensors": b"another"}).commit
    pinned = ModelEntry(id="team/tiny", name="Tiny", repo="team/tiny", revision=commit)
    assert store.folder(pinned) is None
    folder = store.fetch(pinned)
    assert (folder / "model.safetensors").read_bytes() == b"another"
    assert files_below(folder) == set(TRANSFORMERS)


@pytest.mark.parametrize("name", ["../evil.json", "unet/../../evil.json", "/etc/evil.json", "a\\..\\evil.json", "C:/evil.json"])
def test_a_listing_that_leaves_its_folder_is_refused(hub: HubServer, store: ModelStore, name: str) -> None:
    hub.add("team/tiny", TRANSFORMERS | {name: b"{}"})
    with pytest.raises(DarkroomError, match="unsafe name") as caught:
        store.fetch(ENTRY)
    assert caught.value.code == "unsafe_files"
    assert hub.fetched() == []


def test_a_full_disk_is_said_before_anything_is_fetched(
    hub: HubServer, store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add("team/tiny", TRANSFORMERS)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9 - 1000, 1000))
    with pytest.raises(DarkroomError, match="are free") as caught:
        store.fetch(ENTRY)
    assert (caught.value.code, caught.value.status) == ("disk_full", 507)
    assert hub.fetched() == []


def test_a_disk_that_fills_up_on_the_way_is_the_same_error(
    hub: HubServer, store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    hub.add("team/tiny", TRANSFORMERS)
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(DarkroomError) as caught:
        store.fetch(ENTRY)
    assert caught.value.code == "disk_full"


def test_an_adapter_is_one_checked_file(hub: HubServer, store: ModelStore) -> None:
    hub.add("team/lora", {"lora.safetensors": b"delta" * 100, "train.py": b"", "optimizer.bin": b""})
    adapter = AdapterEntry(id="style", name="Style", family="sd1", repo="team/lora", filename="lora.safetensors")
    assert store.adapter_file(adapter) is None
    file = store.fetch_adapter(adapter)
    assert file.read_bytes() == b"delta" * 100
    assert store.adapter_file(adapter) == file
    assert hub.fetched() == ["lora.safetensors"]


def test_a_folder_of_the_owners_is_used_where_it_lies(store: ModelStore, checkpoint: Path) -> None:
    entry = ModelEntry(id="mine", name="Mine", path=checkpoint)
    assert store.folder(entry) == store.fetch(entry) == checkpoint
    store.remove(entry)
    assert (checkpoint / UNET).exists()


def test_a_folder_of_the_owners_that_is_not_there_is_said(store: ModelStore, tmp_path: Path) -> None:
    entry = ModelEntry(id="mine", name="Mine", path=tmp_path / "nowhere")
    assert store.folder(entry) is None
    with pytest.raises(DarkroomError, match="not there"):
        store.fetch(entry)
