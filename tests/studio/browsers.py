"""What tests in a real browser share. Their fixtures are in conftest.py."""

import os
import shutil
from pathlib import Path

import pytest
from playwright import sync_api

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
ARGUMENTS += ["--disable-component-update", "--disable-sync"]
WIDE: sync_api.ViewportSize = {"width": 1280, "height": 800}
NARROW: sync_api.ViewportSize = {"width": 390, "height": 844}
EACH_SCREEN = pytest.mark.parametrize(("viewport", "colours"), [(WIDE, "light"), (NARROW, "dark")], ids=["wide", "narrow"])
"""What fits a screen does so in any colours: each style sheet is used once."""
PASSWORD = "a password for tests"
MARKS = [
    pytest.mark.browser,
    pytest.mark.models,
    pytest.mark.skipif(CHROMIUM is None and os.environ.get("CI") != "true", reason="Chromium is not installed"),
]


def keep_screenshot(page: sync_api.Page, name: str) -> None:
    """For people who want to look: SCREENSHOTS names a folder."""
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name[:80]}.png", full_page=True)


def drop(page: sync_api.Page, data: bytes, content_type: str) -> None:
    page.evaluate(
        """([bytes, type]) => {
          const transfer = new DataTransfer();
          transfer.items.add(new File([new Uint8Array(bytes)], "dropped", { type }));
          dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
        }""",
        [list(data), content_type],
    )
