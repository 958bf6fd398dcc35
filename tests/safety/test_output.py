"""Every picture that is made here is kept by `write_picture`, which signs it where that is asked for."""

from tests.structure.graph import ROOT

WRITES = "storage.write_image_files("
MAY_WRITE = {"api/files/services.py", "api/safety/output.py"}
"""Uploads, which are not made here; and `write_picture` itself."""


def test_no_other_file_writes_pictures() -> None:
    files = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in (ROOT / "api").rglob("*.py")}
    assert {name for name, text in files.items() if WRITES in text} == MAY_WRITE
    assert [name for name, text in files.items() if "import write_image_files" in text] == []
