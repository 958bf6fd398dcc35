"""Every example of the OpenAPI document, posted as it stands to a real server: what Swagger UI's "Execute" sends."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.live import LiveServer

pytestmark = [pytest.mark.models, pytest.mark.own_database, pytest.mark.slow]
LACKING = {"/api/ratings/": "image", "/api/comparisons/": "images", "/api/scorers/": "on"}
"""What their notes say that they lack, and the field that the answer names."""
OF_A_CONVERSATION = "/api/conversations/{id}/branch/"
"""Its note says so: the address needs the id of one."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """As ./start.sh makes it, with the built-in models."""
    with LiveServer(tmp_path_factory.mktemp("examples"), DATABASE_URL="", SYNC_WAIT_SECONDS=240) as live:
        live.client.timeout = httpx.Timeout(250)
        live.wait_until(lambda: live.answers("/api/ready/"), "a worker is ready")
        yield live


@pytest.fixture(scope="module")
def document(server: LiveServer) -> dict[str, Any]:
    return server.client.get("/api/schema/").json()  # type: ignore[no-any-return]


def examples(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any], Any]]:
    """(method, path, operation, body)"""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            content = operation.get("requestBody", {"content": {}})["content"].get("application/json", {})
            for example in content.get("examples", {}).values():
                yield method, path, operation, example


@pytest.fixture(scope="module")
def pictures(server: LiveServer) -> list[str]:
    """The ids of two."""
    made = server.client.post("/api/txt2img/", json={"prompt": "A serene lake at sunset", "num_images": 2, "steps": 4})
    return [image["id"] for image in made.json()["result"]["images"]]


def test_every_example_gets_the_answer_that_it_promises(
    server: LiveServer, document: dict[str, Any], pictures: list[str]
) -> None:
    for method, path, operation, example in examples(document):
        address = path.replace("{id}", pictures[0]).replace("{model_id}", "starter").replace("{name}", "product-shot")
        reply = server.client.request(method, address, json=example["value"])
        if path in LACKING:
            assert (reply.status_code, reply.json()["errors"][0]["field"]) == (400, LACKING[path]), (path, reply.text)
            assert "400" in example["description"]
        elif path == OF_A_CONVERSATION:
            assert reply.status_code == 404
        else:
            assert reply.status_code in (200, 201), (path, example, reply.text[:1000])
            assert str(reply.status_code) in operation["responses"], (path, reply.text[:1000])


@pytest.mark.parametrize("path", ["/api/ratings/", "/api/comparisons/"])
def test_with_the_ids_of_pictures_here_the_examples_are_taken(
    server: LiveServer, document: dict[str, Any], pictures: list[str], path: str
) -> None:
    for _, at, _, example in examples(document):
        if at != path:
            continue
        body = {**example["value"]}
        body |= {"image": pictures[0]} if "image" in body else {"images": pictures, "preferred": pictures[0]}
        assert server.client.post(path, json=body).status_code == 201
