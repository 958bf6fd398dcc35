"""docs/clients.md is true: what it shows runs as it stands, against a server that has a key."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.clients.environments import need
from tests.dialects.a1111.other_clients import OpenWebUI, SillyTavern
from tests.dialects.conftest import TwoKeys
from tests.live import ROOT, LiveServer

pytestmark = [pytest.mark.models, pytest.mark.own_database]
PAGE = (ROOT / "docs/clients.md").read_text()
HERE = "http://localhost:8000"
KEY = "DARKROOM_KEY"


class Page:
    """The page as somebody reads it who has this server and this key, in an empty folder with a photograph."""

    def __init__(self, server: LiveServer, key: str, folder: Path) -> None:
        self.server, self.key, self.folder = server, key, folder
        shutil.copy(ROOT / "api/starter/weights/lake.png", folder / "photo.png")

    def read(self, text: str) -> str:
        return text.replace(HERE, self.server.url).replace("port=8000", f"port={self.server.port}")

    def typed(self, text: str) -> str:
        """With the key in the place of its name, as in a field."""
        return self.read(text).replace(KEY, self.key)

    def run(self, *command: str) -> str:
        environment = {**os.environ, KEY: self.key, "PYTHONPATH": ""}
        done = subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=280, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def server(with_two_keys: TwoKeys) -> LiveServer:
    return with_two_keys.live


@pytest.fixture(scope="module")
def key(with_two_keys: TwoKeys) -> str:
    return with_two_keys.owner


@pytest.fixture
def page(server: LiveServer, key: str, tmp_path: Path) -> Page:
    return Page(server, key, tmp_path)


def part(heading: str) -> str:
    return PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def blocks(heading: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", part(heading), re.DOTALL)


PYTHON = [(heading, block) for heading in ("openai", "huggingface_hub", "webuiapi") for block in blocks(heading, "python")]
ASSISTANTS = "Assistants"
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "a client", "version": "1"}},
}
WRITTEN = {"text-to-image": "lake.png", "/v1/images": "lake.json"}


def test_every_block_of_the_page_is_run_here() -> None:
    shown = len(re.findall(r"^```[a-z]+$", PAGE, re.MULTILINE))
    languages = {"curl": ["bash"], "n8n": ["json"], "Open WebUI": ["env"], ASSISTANTS: ["bash", "json", "python"]}
    run = sum(len(blocks(heading, language)) for heading, of in languages.items() for language in of)
    assert shown == len(PYTHON) + run


@pytest.mark.parametrize("command", blocks("curl", "bash"))
def test_every_curl_is_answered(page: Page, command: str) -> None:
    shown = page.run("bash", "-c", page.read(command))
    written = next((name for path, name in WRITTEN.items() if path in command), None)
    if written == "lake.png":
        Image.open(page.folder / written).load()
    elif written:
        assert json.loads((page.folder / written).read_text())["data"]
    else:
        assert json.loads(shown)


@pytest.mark.parametrize(("heading", "block"), PYTHON, ids=[heading for heading, _ in PYTHON])
def test_every_program_runs(page: Page, heading: str, block: str) -> None:
    pytest.importorskip(heading)
    page.run(sys.executable, "-c", page.read(block))
    if "lake.png" in block:
        Image.open(page.folder / "lake.png").load()


@pytest.mark.parametrize("number", [0, 1])
def test_every_node_of_n8n_makes_a_request_that_is_answered(page: Page, number: int) -> None:
    [node] = json.loads(page.typed(blocks("n8n", "json")[number]))["nodes"]
    parameters = node["parameters"]
    headers = {one["name"]: one["value"] for one in parameters["headerParameters"]["parameters"]}
    if parameters.get("contentType") == "binaryData":
        sent: dict[str, Any] = {"content": (page.folder / "photo.png").read_bytes()}
        headers["Content-Type"] = "image/png"
    else:
        sent = {"json": json.loads(parameters["jsonBody"])}
    reply = httpx.request(parameters["method"], parameters["url"], headers=headers, timeout=300, **sent)
    wanted = "image/png" if "response" in parameters["options"] else "application/json"
    assert (reply.status_code, reply.headers["Content-Type"]) == (200, wanted), reply.text[:300]


def settings_of(page: Page, number: int) -> dict[str, str]:
    lines = page.typed(blocks("Open WebUI", "env")[number]).splitlines()
    return dict(line.split("=", 1) for line in lines)


def test_open_webui_makes_and_edits_pictures_with_openai_s_settings(page: Page) -> None:
    said = settings_of(page, 0)
    headers = {"Authorization": f"Bearer {said['IMAGES_OPENAI_API_KEY']}"}
    asked = {"model": said["IMAGE_GENERATION_MODEL"], "prompt": "a lake", "n": 1, "size": said["IMAGE_SIZE"]}
    made = httpx.post(f"{said['IMAGES_OPENAI_API_BASE_URL']}/images/generations", json=asked, headers=headers, timeout=300)
    assert made.json()["data"], made.text
    files = {"image": ("photo.png", (page.folder / "photo.png").read_bytes(), "image/png")}
    edited = httpx.post(
        f"{said['IMAGES_EDIT_OPENAI_API_BASE_URL']}/images/edits",
        data={"model": said["IMAGE_EDIT_MODEL"], "prompt": "a lake at night", "n": "1"},
        files=files,
        headers={"Authorization": f"Bearer {said['IMAGES_EDIT_OPENAI_API_KEY']}"},
        timeout=300,
    )
    assert edited.json()["data"], edited.text


def test_open_webui_makes_pictures_with_automatic1111_s_settings(page: Page) -> None:
    said = settings_of(page, 1)
    webui = OpenWebUI(said["AUTOMATIC1111_BASE_URL"], said["AUTOMATIC1111_API_AUTH"])
    assert webui.verify()
    assert webui.models()
    assert webui.generate("a lake")["images"]


def test_open_webui_s_fields_say_the_same_as_its_environment(page: Page) -> None:
    rows = {cells[0]: cells[1:] for cells in table("Open WebUI")}
    openai, a1111 = settings_of(page, 0), settings_of(page, 1)
    assert [page.typed(cell) for cell in rows["API Base URL"]] == [
        openai["IMAGES_OPENAI_API_BASE_URL"], a1111["AUTOMATIC1111_BASE_URL"],
    ]  # fmt: skip
    assert [page.typed(cell) for cell in rows["API Key / API Auth String"]] == [
        openai["IMAGES_OPENAI_API_KEY"], a1111["AUTOMATIC1111_API_AUTH"],
    ]  # fmt: skip
    assert rows["Image Size"][0] == openai["IMAGE_SIZE"]


def test_sillytavern_connects_and_makes_pictures_with_its_settings(page: Page) -> None:
    said = {name: page.typed(value) for name, value in table("SillyTavern")}
    tavern = SillyTavern(said["SD Web UI URL"], said["Authentication (optional)"])
    assert tavern.ping()
    assert tavern.models()
    assert tavern.generate("a lake")["images"]


def test_assistants_connect_with_the_addresses_and_headers_that_are_shown(page: Page) -> None:
    [command] = blocks(ASSISTANTS, "bash")
    words = shlex.split(page.read(command).replace("$DARKROOM_KEY", page.key))
    assert words[:5] == ["claude", "mcp", "add", "--transport", "http"]
    shown = [(words[6], words[words.index("--header") + 1])]
    for block in blocks(ASSISTANTS, "json"):
        written = json.loads(page.typed(block).replace("${input:darkroom-key}", page.key))
        server = (written.get("mcpServers") or written["servers"])["darkroom"]
        if "command" in server:
            header = server["args"][-1].replace("${DARKROOM_AUTH}", server["env"]["DARKROOM_AUTH"])
            shown.append((server["args"][2], header))
        else:
            shown.append((server["url"], f"Authorization: {server['headers']['Authorization']}"))
    assert len(shown) == 4
    for url, header in shown:
        name, value = header.split(":", 1)
        headers = {name: value.strip(), "Accept": "application/json, text/event-stream"}
        reply = httpx.post(url, json=INITIALIZE, headers=headers, timeout=60)
        assert reply.status_code == 200, (url, header, reply.text)
        assert '"serverInfo"' in reply.text


def test_the_protocols_own_client_makes_a_picture(page: Page) -> None:
    page.run(sys.executable, "-c", page.read(blocks(ASSISTANTS, "python")[1]))
    Image.open(page.folder / "lake.png").load()


def test_openai_agents_lists_the_tools(page: Page) -> None:
    python = str(need("python") / "bin/python")
    listing = """
import asyncio
async def main():
    async with darkroom:
        print(*[tool.name for tool in await darkroom.list_tools()])
asyncio.run(main())
"""
    assert "make_picture" in page.run(python, "-c", page.read(blocks(ASSISTANTS, "python")[0]) + listing)


def table(heading: str) -> list[list[str]]:
    rows = [line.strip("| ").split("|") for line in part(heading).splitlines() if line.startswith("|")]
    return [[cell.strip().strip("`") for cell in row] for row in rows[2:]]
