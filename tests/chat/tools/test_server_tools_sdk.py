"""The built-in chat model is made to call tools that the server runs, through OpenAI's SDK; its worker is killed meanwhile."""

import os
import signal
import sqlite3
from pathlib import Path
from typing import Any

import openai
import pytest
from PIL import Image

from api.starter import world
from api.starter.world.scene import Scene
from tests.chat.conftest import ask, data_url
from tests.live import LiveServer

pytestmark = pytest.mark.models
SCENE = Scene(landform="sea", time="night", weather="clouds", objects=("moon", "palms"), style="plain")
OPTIONS: Any = {"model": "starter-vlm", "temperature": 0, "max_tokens": 120}
OWN: Any = {"server_tools": ["find_objects", "make_picture"]}


def forced(name: str) -> Any:
    return {"type": "function", "function": {"name": name}}


@pytest.fixture(scope="module")
def question() -> list[Any]:
    return ask("What is there?", data_url(Image.fromarray(world.render(SCENE, 5, size=256))))


def test_a_call_is_run_on_the_picture_of_the_conversation(sdk: openai.OpenAI, question: list[Any]) -> None:
    reply: Any = sdk.chat.completions.create(messages=question, tool_choice=forced("find_objects"), extra_body=OWN, **OPTIONS)
    message = reply.choices[0].message
    assert (message.tool_calls, reply.warnings) == (None, [])
    assert message.content
    [call] = message.server_tool_calls
    assert (call["name"], call["status"]) == ("find_objects", "succeeded")
    assert call["arguments"] in ("{}", '{"picture": 1}')
    assert {one["label"] for one in call["output"]["objects"]} == {"palm tree"}
    again: Any = {"tool_choice": forced("find_objects"), "extra_body": OWN, **OPTIONS}
    with sdk.chat.completions.stream(messages=question, **again) as stream:
        streamed: Any = stream.get_final_completion().choices[0].message
    assert streamed.content == message.content
    [told] = streamed.server_tool_calls
    assert {**told, "id": "", "job": ""} == {**call, "id": "", "job": ""}


@pytest.mark.slow  # a worker starts anew
def test_a_worker_that_is_killed_while_a_picture_is_made_costs_nothing(server: LiveServer, question: list[Any]) -> None:
    body = {**OPTIONS, **OWN, "messages": question, "tool_choice": forced("make_picture")}
    reply = server.client.post("/v1/chat/completions", json=body, headers={"Prefer": "respond-async"})
    job = reply.json()["id"]

    def running() -> list[int]:
        rows = "SELECT w.pid FROM jobs_job j JOIN jobs_worker w ON w.id = j.worker_id WHERE j.kind = 'txt2img' AND j.status = 'running'"
        return [pid for (pid,) in ask_database(server.folder, rows)]

    server.wait_until(running, "the picture is being made")
    os.kill(running()[0], signal.SIGKILL)
    server.wait_until(lambda: server.client.get(f"/api/jobs/{job}/").json()["finished_at"], "the chat has ended")
    done = server.client.get(f"/api/jobs/{job}/").json()
    assert done["status"] == "succeeded", done["error"]
    [call] = done["result"]["choices"][0]["server_tool_calls"]
    assert (call["status"], done["warnings"]) == ("succeeded", [])
    child = server.client.get(f"/api/jobs/{call['job']}/").json()
    assert (child["status"], child["attempt"]) == ("succeeded", 2)
    assert server.client.get(call["images"][0]["url"]).headers["Content-Type"] == "image/png"
    assert ask_database(server.folder, "SELECT COUNT(*) FROM jobs_job WHERE kind = 'txt2img'") == [(1,)]


def test_a_client_that_leaves_takes_the_tools_jobs_with_it(server: LiveServer, question: list[Any]) -> None:
    body = {**OPTIONS, **OWN, "messages": question, "tool_choice": forced("make_picture"), "stream": True}
    with server.client.stream("POST", "/v1/chat/completions", json=body) as stream:
        next(line for line in stream.iter_lines() if "server_tool_calls" in line)
    newest = "SELECT kind, status FROM jobs_job ORDER BY id DESC LIMIT 2"
    server.wait_until(
        lambda: all(state in ("cancelled", "succeeded") for _, state in ask_database(server.folder, newest)), "an end"
    )
    assert dict(ask_database(server.folder, newest))["chat"] == "cancelled"


def ask_database(folder: Path, query: str) -> list[Any]:
    with sqlite3.connect(f"file:{next(folder.glob('*.sqlite3'))}?mode=ro", uri=True) as connection:
        return connection.execute(query).fetchall()
