"""Numbers as people read them."""

from datetime import UTC, datetime, timedelta

import pytest

from api.jobs.admin.tools import bytes_text, first_id_of, seconds_text
from api.jobs.identifiers import uuid7


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (-0.01, "0.00 s"),
        (0.424, "0.42 s"),
        (12.34, "12.3 s"),
        (59.96, "60.0 s"),
        (185, "3 min 05 s"),
        (7800, "2 h 10 min"),
    ],
)
def test_seconds(seconds: float | None, text: str) -> None:
    assert seconds_text(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"), [(None, "–"), (900, "900 B"), (2048, "2 KiB"), (5 * 2**20, "5 MiB"), (3 * 2**29, "1.5 GiB")]
)
def test_sizes(size: int | None, text: str) -> None:
    assert bytes_text(size) == text


def test_an_id_lies_between_the_first_ids_of_its_moment_and_of_the_next() -> None:
    now = datetime.now(UTC)
    assert first_id_of(now - timedelta(milliseconds=5)) < uuid7() < first_id_of(now + timedelta(seconds=5))
