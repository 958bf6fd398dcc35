"""One server with the built-in models, and behind it one that is scripted, for all clients."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.clients.scripted_model import NAME, ScriptedModel
from tests.live import LiveServer


@dataclass
class Where:
    """What a client has to be told."""

    url: str
    key: str


@pytest.fixture(scope="session")
def where(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Where]:
    folder = tmp_path_factory.mktemp("clients")
    with ScriptedModel().running() as model:
        remote = {"CHAT_REMOTE_URL": model.url, "CHAT_REMOTE_MODELS": NAME}
        with LiveServer(folder / "data", DATABASE_URL="", DEVICE="cpu", MEDIA_ROOT=folder / "media", **remote) as live:
            key = live.manage("create_key", "clients").split()[-1]
            live.wait_until(lambda: live.answers("/api/ready/"), "a worker is ready")
            yield Where(f"{live.url}/v1", key)
