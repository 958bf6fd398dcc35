"""No ten lines stand twice: what is said in two places is changed in one of them."""

from collections import defaultdict
from pathlib import Path

from tests.structure.graph import ROOT

LINES = 10
FOLDERS = ("api", "config", "benchmarks", "templates")
ENDINGS = (".py", ".css", ".js", ".html")


def sources() -> list[Path]:
    found = (path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in ENDINGS)
    return sorted(path for path in found if "migrations" not in path.parts and ".min." not in path.name)


def telling_lines(path: Path) -> list[tuple[int, str]]:
    """Number and text of the lines that say something: no blank lines, comments, imports or lone brackets."""
    lines = enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
    stripped = ((number, line.strip()) for number, line in lines)
    return [(n, s) for n, s in stripped if any(c.isalnum() for c in s) and not s.startswith(("#", "import ", "from "))]


def repeated(files: list[Path]) -> list[str]:
    places: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for path in files:
        lines = telling_lines(path)
        for start in range(len(lines) - LINES + 1):
            window = lines[start : start + LINES]
            places[tuple(text for _, text in window)].append(f"{path.name}:{window[0][0]}")
    return [" = ".join(where) for where in places.values() if len(where) > 1]


def test_no_ten_lines_stand_twice() -> None:
    assert repeated(sources()) == []


def test_the_check_finds_ten_lines(tmp_path: Path) -> None:
    text = "\n\n".join(f"value_{number} = {number}" for number in range(LINES))
    for name in ("one.py", "other.py"):
        (tmp_path / name).write_text(f"# {name}\n{text}\n")
    assert repeated(sorted(tmp_path.iterdir())) == ["one.py:2 = other.py:2"]
