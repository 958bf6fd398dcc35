from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from config.catalog import get_catalog


@pytest.fixture
def library(db: None, tmp_path: Path, settings: Any) -> Iterator[Path]:
    """An empty folder that is the library."""
    folder = tmp_path / "library"
    folder.mkdir()
    settings.LIBRARY_DIRS, settings.DATA_DIR = [folder], tmp_path
    get_catalog.cache_clear()
    yield folder
    get_catalog.cache_clear()
