"""Caption files (JSON Lines or CSV) that an interrupted run can resume. No torch, no database."""

import csv
import fcntl
import io
import json
import os
from pathlib import Path
from typing import Any

from api.json_types import JsonObject

COLUMNS = ("file", "caption", "error", "model", "backend", "finish_reason", "completion_tokens", "job")
SUFFIXES = (".jsonl", ".csv")


class CaptionsError(Exception):
    """A caption file that can't be resumed. The message is for people."""


class CaptionFile:
    """`path` ends in .jsonl or .csv. `done`: the pictures that have their row. A row is on disk when `add` returns.

    What a killed run left half written is cut off. Raises CaptionsError where another run has the file open, or it is no such file.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.is_csv = path, path.suffix.lower() == ".csv"
        self.stream = path.open("a+b")
        try:
            fcntl.flock(self.stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.done = self._read()
        except BlockingIOError:
            self.stream.close()
            raise CaptionsError(f"Another run is writing {path}.") from None
        except (ValueError, KeyError, TypeError):  # also what is no UTF-8 and no JSON
            self.stream.close()
            raise CaptionsError(f"{path} has lines that are not captions.") from None

    def add(self, row: JsonObject) -> None:
        known = {name: row.get(name) for name in COLUMNS}
        self._write(line_of(known.values()) if self.is_csv else json.dumps(known, ensure_ascii=False) + "\n")
        self.done.add(str(row["file"]))

    def close(self) -> None:
        self.stream.close()

    def _read(self) -> set[str]:
        self.stream.seek(0)
        data = self.stream.read()
        whole = end_of_rows(data, quoted=self.is_csv)
        if whole < len(data):
            self.stream.truncate(whole)
        text = data[:whole].decode("utf-8", "surrogateescape")
        if not self.is_csv:
            return {json.loads(line)["file"] for line in text.split("\n") if line}
        if not text:
            self._write(line_of(COLUMNS))
        rows = csv.DictReader(io.StringIO(text, newline=""))
        return {row["file"] for row in rows}

    def _write(self, text: str) -> None:
        """File names that are no UTF-8 keep their bytes."""
        self.stream.write(text.encode("utf-8", "surrogateescape"))
        self.stream.flush()
        os.fsync(self.stream.fileno())


def line_of(values: Any) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(values)
    return buffer.getvalue()


def end_of_rows(data: bytes, *, quoted: bool) -> int:
    """Where the last whole row ends: at a newline, and in CSV at one outside of quotes."""
    end = data.rfind(b"\n") + 1
    while quoted and end and data.count(b'"', 0, end) % 2:
        end = data.rfind(b"\n", 0, end - 1) + 1
    return end
