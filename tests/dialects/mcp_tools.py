"""What each tool does: a picture is made, and the others work on it."""

import base64
from typing import Any

from mcp import ClientSession
from PIL import Image

from tests.dialects.mcp_servers import data_url, pictures_of, text_of


async def make_one(client: ClientSession) -> dict[str, Any]:
    told: list[tuple[float, str]] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, message or ""))

    asked = {"prompt": "a red circle above a blue square", "seed": 3, "tags": ["mcp"]}
    made = await client.call_tool("make_picture", asked, progress_callback=note)
    assert not made.is_error, text_of(made)
    [picture] = made.structured_content["pictures"]
    assert (picture["seed"], picture["width"]) == (3, 128)
    assert [image.size for image in pictures_of(made)] == [(128, 128)]
    assert picture["id"] in text_of(made)
    assert any("of 20" in sentence for _, sentence in told)
    assert [progress for progress, _ in told] == sorted({progress for progress, _ in told})  # each more than the one before
    return picture


async def choose_among_candidates(client: ClientSession, picture: dict[str, Any]) -> None:
    best = await client.call_tool("make_picture", {"prompt": "a red circle", "best_of": 2, "steps": 2})
    assert len(best.structured_content["candidates"]) == 2
    assert all(0 <= one["clip_score"] <= 100 for one in best.structured_content["candidates"])


async def edit_it(client: ClientSession, picture: dict[str, Any]) -> None:
    mask = Image.new("L", (128, 128))
    mask.paste(255, (0, 0, 64, 128))
    edit = {"image": picture["url"], "mask": data_url(mask), "prompt": "a green circle", "steps": 6, "num_images": 2}
    edited = await client.call_tool("edit_picture", edit)
    assert not edited.is_error, text_of(edited)
    assert len(pictures_of(edited)) == len(edited.structured_content["pictures"]) == 2


async def look_at_it(client: ClientSession, picture: dict[str, Any]) -> None:
    looks = ["description", "objects", "text", "hazards"]
    seen = await client.call_tool("look_at_picture", {"image": picture["id"], "look_for": looks})
    assert not seen.is_error, text_of(seen)
    assert {one["label"] for one in seen.structured_content["objects"]} >= {"circle", "square"}
    assert "circle" in seen.structured_content["description"]
    assert list(seen.structured_content["jobs"]) == looks
    assert any("squeezed" in warning for warning in seen.structured_content["warnings"])


async def ask_about_it(client: ClientSession, picture: dict[str, Any]) -> None:
    asked = {"image": picture["uri"], "question": "What colour is the circle?"}
    assert "red" in text_of(await client.call_tool("look_at_picture", asked)).lower()


async def judge_it(client: ClientSession, picture: dict[str, Any]) -> None:
    judged = await client.call_tool("judge_layout", {"image": picture["id"], "variant": {"layout": "text-center"}})
    assert 0 <= judged.structured_content["aesthetic_score"] <= 100
    assert judged.structured_content["reasoning"]
    assert len(pictures_of(judged)) == 1


async def find_it(client: ClientSession, picture: dict[str, Any]) -> None:
    found = await client.call_tool("find_in_history", {"tag": "mcp", "created_after": "2026-01-01T00:00:00Z"})
    assert [one["id"] for one in found.structured_content["pictures"]] == [picture["id"]]
    assert [max(image.size) for image in pictures_of(found)] == [128]
    rated = await client.call_tool("find_in_history", {"tag": "mcp", "min_rating": 1})
    assert rated.structured_content == {"pictures": [], "more": False}


async def read_it(client: ClientSession, picture: dict[str, Any]) -> None:
    resource = (await client.read_resource(picture["uri"])).contents[0]
    assert base64.b64decode(resource.blob).startswith(b"\x89PNG")  # type: ignore[union-attr]
    assert picture["uri"] in [one.uri for one in (await client.list_resources()).resources]


OF_A_PICTURE = (choose_among_candidates, edit_it, look_at_it, ask_about_it, judge_it, find_it, read_it)
