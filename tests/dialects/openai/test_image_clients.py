"""Other clients of OpenAI's images.

LiteLLM, openai-node and the AI SDK run unchanged (`./start.sh clients` installs them); Open WebUI's calls are sent as it sends them.
"""

import base64
import io
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.clients.environments import run_node, run_python
from tests.dialects.openai.conftest import OpenAIServer, blue, mask, opened

pytestmark = [pytest.mark.models]


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "blue.png").write_bytes(blue())
    (tmp_path / "mask.png").write_bytes(mask())
    monkeypatch.setenv("PICTURES", str(tmp_path))


# ---------------------------------------------------------------- LiteLLM

LITELLM = """
import asyncio, io, json, os, litellm
litellm.drop_params = False
where = {"api_base": os.environ["OPENAI_BASE_URL"], "api_key": os.environ["OPENAI_API_KEY"], "max_retries": 0}
names = ("blue.png", "mask.png", "blue.png")
blue, mask, again = (open(os.path.join(os.environ["PICTURES"], name), "rb") for name in names)
made = litellm.image_generation(prompt="a red circle", model="openai/dall-e-2", n=2, size="64x64", **where)
other = litellm.image_generation(prompt="a red circle", model="openai/gpt-image-1", quality="low", **where)
ours = litellm.image_generation(prompt="a red circle", model="openai/starter", extra_body={"steps": 4}, **where)
later = asyncio.run(litellm.aimage_generation(prompt="a red circle", model="openai/gpt-image-1-mini", **where))
edited = litellm.image_edit(model="openai/gpt-image-1", image=blue, mask=mask, prompt="a red circle", size="64x64", **where)
varied = litellm.image_variation(model="openai/dall-e-2", image=again, n=1, **where)
try:
    litellm.image_generation(prompt="a red circle", model="openai/dall-e-2", size="65x65", **where)
    refused = None
except litellm.BadRequestError as error:
    refused = str(error)
print(json.dumps({
    "urls": [one.url for reply in (made, ours, varied) for one in reply.data], "refused": refused,
    "base64": [reply.data[0].b64_json for reply in (other, later, edited)],
}))
"""


def test_litellms_image_calls(server: OpenAIServer, pictures: None) -> None:
    printed = run_python("python", "-c", LITELLM, url=server.base_url, key=server.key)
    said = json.loads(printed.splitlines()[-1])
    assert all(server.get(url).headers["Content-Type"] == "image/png" for url in said["urls"])
    assert len(said["urls"]) == 4
    assert [opened(one).size for one in said["base64"]] == [(128, 128), (128, 128), (64, 64)]
    assert "size" in said["refused"]


# ---------------------------------------------------------------- node

OPENAI_NODE = """
import fs from 'node:fs'
import OpenAI, { toFile } from 'openai'
const client = new OpenAI({ maxRetries: 0 })
const options = { prompt: 'a red circle', size: '64x64' }
const made = await client.images.generate({ ...options, model: 'dall-e-2', n: 2 })
const url = await fetch(made.data[0].url, { headers: { Authorization: `Bearer ${client.apiKey}` } })
const whole = await client.images.generate({ ...options, model: 'gpt-image-1', output_format: 'webp', steps: 4 })
const events = []
const streamed = { ...options, model: 'gpt-image-1', stream: true, partial_images: 1, steps: 100 }
for await (const event of await client.images.generate(streamed)) events.push(event.type)
const file = (name) => toFile(fs.readFileSync(`${process.env.PICTURES}/${name}`), name, { type: 'image/png' })
const masked = { image: await file('blue.png'), mask: await file('mask.png'), model: 'gpt-image-1' }
const edited = await client.images.edit({ ...options, ...masked })
const several = await client.images.edit({ ...options, image: [await file('blue.png')], model: 'gpt-image-1' })
const varied = await client.images.createVariation({ image: await file('blue.png'), response_format: 'b64_json' })
let refused
try { await client.images.generate({ ...options, n: 11 }) }
catch (error) { refused = [error.constructor.name, error.status, error.param, error.code] }
const models = []
for await (const model of client.models.list()) models.push(model.id)
console.log(JSON.stringify({
  n: made.data.length, type: url.headers.get('content-type'), format: whole.output_format, events, refused, models,
  base64: [whole, edited, several, varied].map((reply) => reply.data[0].b64_json),
}))
"""


def node(program: str, server: OpenAIServer) -> Any:
    return json.loads(run_node(program, url=server.base_url, key=server.key).splitlines()[-1])


def test_openais_sdk_for_node(server: OpenAIServer, pictures: None) -> None:
    said = node(OPENAI_NODE, server)
    assert (said["n"], said["type"], said["format"]) == (2, "image/png", "webp")
    assert said["events"][-1] == "image_generation.completed"
    assert set(said["events"][:-1]) <= {"image_generation.partial_image"}
    assert said["refused"] == ["BadRequestError", 400, "n", "max_value"]
    assert {"starter", "starter-vlm"} <= set(said["models"])
    assert [opened(one).format for one in said["base64"]] == ["WEBP", "PNG", "PNG", "PNG"]


AI_SDK = """
import fs from 'node:fs'
import { createOpenAI } from '@ai-sdk/openai'
import * as ai from 'ai'
const generateImage = ai.generateImage ?? ai.experimental_generateImage
const openai = createOpenAI({ baseURL: process.env.OPENAI_BASE_URL, apiKey: process.env.OPENAI_API_KEY })
const prompt = 'a red circle'
const one = await generateImage({ model: openai.image('dall-e-3'), prompt, size: '64x64', maxRetries: 0 })
const several = await generateImage({
  model: openai.image('gpt-image-1'), prompt, n: 2, size: '64x64', maxRetries: 0,
  providerOptions: { openai: { quality: 'low', outputFormat: 'png' } },
})
const seed = await generateImage({ model: openai.image('starter'), prompt, seed: 7, size: '64x64', maxRetries: 0 })
const picture = (name) => fs.readFileSync(`${process.env.PICTURES}/${name}`)
const edited = await generateImage({
  model: openai.image('gpt-image-1'), prompt: { text: prompt, images: [picture('blue.png')], mask: picture('mask.png') }, maxRetries: 0,
})
let refused
try { await generateImage({ model: openai.image('dall-e-3'), prompt, size: '65x65', maxRetries: 0 }) }
catch (error) { refused = [error.name, error.statusCode, error.message] }
const images = [one, several, seed, edited].map((made) => made.images.map((image) => image.base64))
console.log(JSON.stringify({ images, refused }))
"""


def test_the_ai_sdks_image_calls(server: OpenAIServer, pictures: None) -> None:
    said = node(AI_SDK, server)
    assert [len(images) for images in said["images"]] == [1, 2, 1, 1]
    assert {opened(one).format for images in said["images"] for one in images} == {"PNG"}
    name, status, message = said["refused"]
    assert (name, status) == ("AI_APICallError", 400)
    assert message.startswith("size: ")


# ---------------------------------------------------------------- Open WebUI


def test_open_webuis_generation(server: OpenAIServer) -> None:
    """Its body; it follows an address with the headers that it sent, or reads base64."""
    body = {"model": "dall-e-2", "prompt": "a red circle", "n": 1, "size": "64x64", "response_format": "b64_json"}
    made = server.post("images/generations", json=body).json()
    assert opened(made["data"][0]["b64_json"]).size == (64, 64)
    made = server.post("images/generations?api-version=2024-10-21", json={**body, "response_format": "url"}).json()
    reply = server.get(made["data"][0]["url"])
    assert reply.headers["Content-Type"].split("/")[0] == "image"
    assert Image.open(io.BytesIO(reply.content)).size == (64, 64)


@pytest.mark.parametrize("name", ["image", "image[]"])
def test_open_webuis_edit(server: OpenAIServer, name: str) -> None:
    """A form with a file for each picture, `image` where it has one and `image[]` where it has a list, and without a mask."""
    fields = {"model": "dall-e-2", "prompt": "a red circle", "n": "1", "size": "64x64", "response_format": "b64_json"}
    reply = server.post("images/edits", data=fields, files={name: ("blue.png", blue(), "image/png")})
    assert opened(reply.json()["data"][0]["b64_json"]).size == (64, 64)


# ---------------------------------------------------------------- on the wire


def test_a_stream_is_openais_to_the_letter(server: OpenAIServer) -> None:
    body = {"model": "gpt-image-1", "prompt": "a red circle", "stream": True, "partial_images": 3, "steps": 100}
    reply = server.post("images/generations", json=body, headers={"Accept": "application/json"})
    assert (reply.status_code, reply.headers["Content-Type"]) == (200, "text/event-stream")
    *events, end = reply.text.split("\n\n")
    assert end == ""
    read = [(lines[0], json.loads(lines[1].removeprefix("data: "))) for lines in (event.split("\n") for event in events)]
    assert all(line == f"event: {data['type']}" for line, data in read)
    common = {"type", "b64_json", "created_at", "background", "output_format", "quality", "size"}
    assert all(data.keys() == {*common, "partial_image_index", "image_index"} for _, data in read[:-1])
    assert read[-1][1].keys() >= {*common, "usage", "image_index"}
    assert "Location" in reply.headers


def status_at_the_end(server: OpenAIServer, job: str) -> Any:
    ended = ("succeeded", "failed", "cancelled")
    server.live.wait_until(lambda: server.get(job).json()["status"] in ended, "it has ended")
    return server.get(job).json()["status"]


def test_a_client_that_leaves_cancels_nothing(server: OpenAIServer) -> None:
    for number, stream in enumerate((False, True)):
        body = {"prompt": f"left alone {number}", "size": "128x128", "steps": 100, "stream": stream}
        with pytest.raises(httpx.TimeoutException):
            server.post("images/generations", json=body, timeout=0.4)
        [job] = server.jobs(f"left alone {number}")
        assert status_at_the_end(server, job["links"]["self"]) == "succeeded"


def test_a_picture_that_was_deleted_is_gone(server: OpenAIServer) -> None:
    body = {"prompt": "a red circle", "size": "64x64", "steps": 4, "response_format": "b64_json"}
    headers = {"Idempotency-Key": "deleted"}
    made = server.post("images/generations", json=body, headers=headers).json()
    server.live.client.delete(f"/api/images/{made['data'][0]['id']}/", headers={"Authorization": f"Bearer {server.key}"})
    reply = server.post("images/generations", json=body, headers=headers)
    assert (reply.status_code, reply.json()["error"]["code"]) == (410, "picture_gone")


def test_localais_detection(server: OpenAIServer) -> None:
    picture = Image.new("RGB", (128, 128), "white")
    picture.paste((220, 30, 30), (32, 40, 96, 100))
    written = io.BytesIO()
    picture.save(written, "PNG")
    body = {"model": "starter-detector", "image": base64.b64encode(written.getvalue()).decode(), "threshold": 0.1}
    reply = server.post("detection", json=body)
    assert (reply.status_code, list(reply.json())) == (200, ["detections"])
    for found in reply.json()["detections"]:
        assert found.keys() == {"x", "y", "width", "height", "confidence", "class_name"}
        assert found["x"] + found["width"] <= 128
