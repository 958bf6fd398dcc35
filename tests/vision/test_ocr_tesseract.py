"""Tesseract in a process of its own: what it is given, what it answers, and how it can fail."""

import stat
from pathlib import Path

import numpy as np
import pytest

from api.errors import DarkroomError
from api.vision.backends.ocr import tesseract
from api.vision.backends.ocr.straighten import as_dark_on_light
from api.vision.backends.ocr.tesseract import join_words, parse_table, read_with_tesseract
from tests.vision.ocr import draw_line, needs_tesseract

LINE = np.full((48, 200), 255, np.uint8)


def grey(text: str) -> np.ndarray:
    line = np.asarray(draw_line(text, (420, 48), at=(10, 5), height=30))
    last = int(np.nonzero((line < 128).any(axis=(0, 2)))[0].max())
    return as_dark_on_light(line[:, : last + 8], noisy=False)


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A script in the program's place, which writes its environment and its arguments down."""
    file = tmp_path / "tesseract"
    file.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\nenv > {tmp_path}/env\ncat > /dev/null\n')
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return file


@needs_tesseract
def test_each_line_is_read_in_its_place() -> None:
    texts = ["Nhà hàng Sông Hương", "Bệnh viện Bạch Mai", "Phở bò 24/11"]
    found = read_with_tesseract([grey(text) for text in texts], ["vie"])
    assert [text for text, _ in found] == texts
    assert all(score > 0.7 for _, score in found)


@needs_tesseract
def test_more_lines_than_one_process_takes_stay_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tesseract, "LINES_AT_ONCE", 2)
    assert [text for text, _ in read_with_tesseract([grey(text) for text in ("một", "hai", "chín")], ["vie"])] == [
        "một",
        "hai",
        "chín",
    ]


def test_one_process_reads_many_lines_on_one_thread_with_nothing_of_our_environment(
    program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    assert read_with_tesseract([LINE] * 5, ["vie", "eng"]) == [("", 0.0)] * 5
    assert (program.parent / "calls").read_text().splitlines() == ["stdin stdout -l vie+eng --psm 7 --oem 1 tsv"]
    environment = (program.parent / "env").read_text()
    assert "OMP_THREAD_LIMIT=1" in environment
    assert "secret" not in environment


def test_without_lines_no_process_is_started(program: Path) -> None:
    assert read_with_tesseract([], ["vie"]) == []
    assert not (program.parent / "calls").exists()


@pytest.mark.parametrize(
    ("script", "code", "status"), [("exit 3", "tesseract_failed", 500), ("sleep 30", "tesseract_timeout", 504)]
)
def test_a_process_that_fails_or_hangs_is_an_error(
    program: Path, monkeypatch: pytest.MonkeyPatch, script: str, code: str, status: int
) -> None:
    monkeypatch.setattr(tesseract, "SECONDS", 0.5)
    program.write_text(
        f"#!/bin/sh\ncat > /dev/null\nexec {script}\n" if script.startswith("sleep") else f"#!/bin/sh\n{script}\n"
    )
    with pytest.raises(DarkroomError) as failed:
        read_with_tesseract([LINE], ["vie"])
    assert (failed.value.code, failed.value.status) == (code, status)


def test_a_program_that_is_gone_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DarkroomError) as failed:
        read_with_tesseract([LINE], ["vie"])
    assert (failed.value.code, failed.value.status) == ("tesseract_missing", 503)


def test_the_table_is_read_by_its_words() -> None:
    head = "level\tpage_num\tblock_num\tpar_num\tline_num\tword_num\tleft\ttop\twidth\theight\tconf\ttext"
    rows = [
        "1\t1\t0\t0\t0\t0\t0\t0\t9\t9\t-1\t",
        "5\t1\t1\t1\t1\t1\t0\t0\t9\t9\t90\tNhà",
        "5\t1\t1\t1\t1\t2\t0\t0\t9\t9\t70.5\thàng",
        "5\t3\t1\t1\t1\t1\t0\t0\t9\t9\t95\t ",
    ]
    assert parse_table("\n".join([head, *rows]), 3) == [
        ("Nhà hàng", pytest.approx((3 * 90 + 4 * 70.5) / 7 / 100)),
        ("", 0.0),
        ("", 0.0),
    ]
    assert join_words([]) == ("", 0.0)
