"""manage.py caption: with a real tiny model, killed and gone on with."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from PIL import Image

from api import model_loader
from api.chat import generate_text
from api.chat.caption_files import COLUMNS, CaptionFile, CaptionsError, line_of
from api.chat.models import Conversation
from api.jobs.models import Job
from api.system.command_jobs import a_worker
from config.catalog import get_catalog
from tests.chat.conftest import picture
from tests.interrupting import ctrl_c_as_a_transaction_ends
from tests.live import DATABASE, PATIENCE_SECONDS, migrated_file

COLORS = ("red", "green", "blue", "white", "black", "orange")


def run(*command: str) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    call_command("caption", *command, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def rows_of(path: Path) -> dict[str, dict[str, Any]]:
    with path.open(newline="", encoding="utf-8") as stream:
        found = list(csv.DictReader(stream)) if path.suffix == ".csv" else [json.loads(line) for line in stream]
    assert len({row["file"] for row in found}) == len(found), "a picture has two rows"
    return {row["file"]: row for row in found}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six pictures, one of them in a folder of its own and one turned by its EXIF; and two that are none."""
    place = tmp_path / "pictures"
    (place / "more").mkdir(parents=True)
    for number, color in enumerate(COLORS[:5]):
        picture(color).save(place / f"{number}.png")
    picture(COLORS[5]).save(place / "more" / "5.webp")
    (place / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    (place / "notes.txt").write_text("not looked at")
    (place / ".hidden.png").write_bytes(b"")
    return place


@pytest.fixture
def model(chat_catalog: Path, settings: Any, media: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    get_catalog.cache_clear()
    settings.CATALOG_EXTRA, settings.DEFAULT_CHAT_MODEL, settings.DEVICE = chat_catalog, "tiny/vlm", "cpu"
    monkeypatch.setattr(model_loader, "_loader", None)
    yield
    get_catalog.cache_clear()


@pytest.mark.models
@pytest.mark.django_db(transaction=True)
class TestTheCommand:
    def test_every_picture_has_its_row_and_its_chat(self, folder: Path, model: None) -> None:
        out, err = run(str(folder), "--max-tokens", "5", "--recursive")
        rows = rows_of(folder / "captions.jsonl")
        assert rows.keys() == {"0.png", "1.png", "2.png", "3.png", "4.png", "broken.jpg", "more/5.webp"}
        assert rows["broken.jpg"]["error"] == "This is not a PNG, JPEG, WebP or AVIF image."
        assert all(row["caption"] and row["backend"] == "pytorch" for name, row in rows.items() if name != "broken.jpg")
        assert out.strip() == str(folder / "captions.jsonl")
        assert "1 could not be captioned" in err
        assert (Job.objects.count(), Conversation.objects.count()) == (6, 6)
        assert str(Job.objects.first().pk) in {row["job"] for row in rows.values()}  # type: ignore[union-attr]

    def test_what_has_its_row_is_not_asked_again(self, folder: Path, model: None) -> None:
        output = folder / "captions.csv"
        run(str(folder), "--output", str(output), "--max-tokens", "5")
        before = output.read_bytes()
        picture("pink").save(folder / "new.png")
        _, err = run(str(folder), "--output", str(output), "--max-tokens", "5")
        assert "7 pictures" in err
        assert "6 of them have their row" in err
        assert output.read_bytes().startswith(before)
        assert rows_of(output)["new.png"]["caption"]
        assert Job.objects.count() == 6

    def test_several_are_written_together(self, folder: Path, model: None) -> None:
        run(str(folder), "--max-tokens", "40", "--question", "hello")
        spans = [(job.started_at, job.finished_at) for job in Job.objects.all()]
        assert any(a is not b and a[0] < b[1] and b[0] < a[1] for a in spans for b in spans)  # type: ignore[operator]

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (["--model", "nobody"], "There is no model 'nobody'"),
            (["--model", "tiny-llama"], "reads text only"),
            (["--max-tokens", "0"], "max_tokens: "),
            (["--output", "captions.txt"], ".jsonl or .csv"),
        ],
    )
    def test_what_is_wrong_with_all_of_them_is_told_at_once(
        self, folder: Path, model: None, options: list[str], words: str
    ) -> None:
        with pytest.raises(CommandError, match=words):
            run(str(folder), *options)
        assert Job.objects.count() == 0

    @pytest.mark.parametrize("which", [1, 2, 3, 6])
    def test_ctrl_c_where_a_transaction_ends_does_no_harm(self, folder: Path, model: None, which: int) -> None:
        with (
            ctrl_c_as_a_transaction_ends(which),
            pytest.raises(CommandError, match="goes on where this ended") as stopped,
        ):
            run(str(folder), "--max-tokens", "200")
        assert stopped.value.returncode == 130
        assert all(job.is_final for job in Job.objects.all())

    def test_from_python_a_picture_is_upright(self, folder: Path, model: None) -> None:
        tilted = Image.new("RGB", (64, 32), "red")
        exif = tilted.getexif()
        exif[0x0112] = 6  # turned by 90 degrees
        tilted.save(folder / "tilted.jpg", exif=exif)
        with a_worker(lambda text: None):
            assert generate_text(text="hello", images=[folder / "tilted.jpg"], max_tokens=4, temperature=0)
            assert generate_text(text="hello", images=[Image.open(folder / "tilted.jpg")], max_tokens=4, temperature=0)
        sizes = {file.file.width < file.file.height for job in Job.objects.all() for file in job.inputs.all()}
        assert sizes == {True}


# ---------------------------------------------------------------- killed, in a process of its own


def begin(folder: Path, catalog: Path, data: Path) -> "subprocess.Popen[str]":
    settings = {"CATALOG_EXTRA": str(catalog), "DEFAULT_CHAT_MODEL": "tiny/vlm", "DEVICE": "cpu", "DATA_DIR": str(data)}
    environment = {**os.environ, **settings, "DATABASE_URL": "", "OMP_NUM_THREADS": "1"}
    data.mkdir(exist_ok=True)
    if not (data / DATABASE).exists():
        shutil.copyfile(migrated_file(), data / DATABASE)
    command = [sys.executable, "manage.py", "caption", str(folder), "--max-tokens", "200", "--at-once", "2"]
    return subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=hear_interrupts
    )


def hear_interrupts() -> None:
    """A shell that runs the tests in the background has their children ignore SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.models
@pytest.mark.timeout(700)
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_was_stopped_is_gone_on_with(folder: Path, chat_catalog: Path, tmp_path: Path, sign: signal.Signals) -> None:
    output = folder / "captions.jsonl"
    first = begin(folder, chat_catalog, tmp_path / "data")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline and first.poll() is None and not (output.exists() and output.read_bytes().count(b"\n")):
        time.sleep(0.01)
    first.send_signal(sign)
    _, err = first.communicate(timeout=PATIENCE_SECONDS)
    kept = output.read_bytes()
    assert 1 <= kept.count(b"\n") < 6
    if sign == signal.SIGINT:
        assert first.returncode == 130, err
        assert "goes on where this ended" in err
        assert "Traceback" not in err
    second = begin(folder, chat_catalog, tmp_path / "data")
    _, err = second.communicate(timeout=PATIENCE_SECONDS)
    assert second.returncode == 0, err
    assert output.read_bytes().startswith(kept)
    assert len(rows_of(output)) == 6


# ---------------------------------------------------------------- the file


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
@pytest.mark.parametrize("caption", ["plain", 'two\nlines, a "quote"\r\n', "ünïcode \u2028", ""])
def test_a_row_that_was_cut_off_is_written_anew(tmp_path: Path, suffix: str, caption: str) -> None:
    path = tmp_path / f"captions{suffix}"
    rows = [{"file": f'{name},"x".png', "caption": caption} for name in "abc"]
    file = CaptionFile(path)
    for row in rows:
        file.add(row)
    file.close()
    whole = path.read_bytes()
    for size in range(whole.rindex(b"c,") + 1, len(whole)):
        path.write_bytes(whole[:size])
        file = CaptionFile(path)
        assert file.done == {row["file"] for row in rows[:2]}
        file.add(rows[2])
        file.close()
        assert path.read_bytes() == whole
    assert [rows_of(path)[row["file"]]["caption"] for row in rows] == [caption] * 3


def test_two_runs_never_write_one_file(tmp_path: Path) -> None:
    first = CaptionFile(tmp_path / "captions.jsonl")
    with pytest.raises(CaptionsError, match="Another run"):
        CaptionFile(tmp_path / "captions.jsonl")
    first.close()
    CaptionFile(tmp_path / "captions.jsonl").close()


@pytest.mark.parametrize(("name", "text"), [("a.jsonl", "hello\n"), ("a.jsonl", '{"a": 1}\n'), ("a.csv", "name\nhello\n")])
def test_a_file_of_something_else_is_left_as_it_is(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(CaptionsError, match="not captions"):
        CaptionFile(tmp_path / name)
    assert (tmp_path / name).read_text() == text


def test_a_csv_begins_with_its_columns(tmp_path: Path) -> None:
    CaptionFile(tmp_path / "a.csv").close()
    assert (tmp_path / "a.csv").read_text() == line_of(COLUMNS)
