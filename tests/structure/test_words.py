"""Words that were retired in favour of the field's terms do not come back as identifiers or module names."""

import keyword
import tokenize
from collections import defaultdict
from pathlib import Path

import pytest

from tests.structure.graph import ROOT

RETIRED = {
    "bell": "notifier",
    "ring": "notify",
    "owed_ring": "deferred notification",
    "Keeper": "OutputSink",
    "Contest": "BestOfN",
    "Panel": "OutputSink",
    "Album": "CollectAll",
    "Fate": "Outcome",
    "Made": "GeneratedPicture",
    "Choice": "SelectedPictures, Completion",
    "Shown": "GeneratedPicture",
    "Asked": "a request",
    "Voice": "TokenizerSpec",
    "voice": "tokenizer_spec",
    "Narrator": "SseEncoder",
    "RoomyLayer": "PreallocatedLayer",
    "Rows": "SequenceGroup",
    "Listener": "ChatCallbacks, Subscription",
    "Slot": "LoadedModel",
    "Ladder": "OomRetry",
    "ladder": "retry_on_oom",
    "rung": "measure",
    "Pupil": "Trainer",
    "tally": "counters",
    "hosting": "worker_factory",
    "housekeeping": "maintenance",
    "told": "events, or what it is",
    "alone": "exclusive_type, or what it is",
    "look": "timings, encode, preprocess, or what it does",
    "at": "processed, or what it is",
}
"""The word, and what to say. (`stars` stays: the field of a rating, in rows and in the API.)"""

ALLOWED: dict[str, set[str]] = {"at": {"api/scoring/backends/taste_evaluation.py"}}
"""Files that need the word for a name of a library (numpy's `ufunc.at`)."""


def sources() -> list[Path]:
    found = (path for folder in ("api", "config") for path in (ROOT / folder).rglob("*.py"))
    return sorted(path for path in found if "migrations" not in path.parts)


def identifiers(path: Path) -> set[str]:
    with path.open(encoding="utf-8") as lines:
        names = {token.string for token in tokenize.generate_tokens(lines.readline) if token.type == tokenize.NAME}
    return {name for name in names if not keyword.iskeyword(name)}


@pytest.fixture(scope="module")
def found() -> dict[str, set[str]]:
    """For each retired word, the files with an identifier or a module name of it."""
    files: dict[str, set[str]] = defaultdict(set)
    for path in sources():
        for word in (identifiers(path) | set(path.relative_to(ROOT).with_suffix("").parts)) & RETIRED.keys():
            files[word].add(path.relative_to(ROOT).as_posix())
    return files


def test_no_retired_word_comes_back(found: dict[str, set[str]]) -> None:
    new = {word: sorted(files - ALLOWED.get(word, set())) for word, files in found.items()}
    assert {f"{word} (say {RETIRED[word]})": files for word, files in new.items() if files} == {}


def test_the_list_of_allowed_files_has_no_file_that_is_mended(found: dict[str, set[str]]) -> None:
    mended = {word: sorted(files - found.get(word, set())) for word, files in ALLOWED.items()}
    assert {word: files for word, files in mended.items() if files} == {}
