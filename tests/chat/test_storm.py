"""The short form of `python -m benchmarks.chat_storm`: many chats that end in every way, and nothing is left over."""

import pytest

from benchmarks.chat_storm import Storm, leftovers
from tests.live import LiveServer

pytestmark = pytest.mark.models


async def test_after_many_chats_with_cancels_disconnects_and_stop_strings_nothing_is_left_over(server: LiveServer) -> None:
    storm = Storm(server.url, seed=1)
    await storm.run(60)
    assert storm.faults + leftovers(server, storm) == []
