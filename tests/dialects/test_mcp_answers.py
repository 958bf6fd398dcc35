"""What /mcp makes of an answer that takes long or is large, without a server."""

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import pytest
from mcp_types import CallToolResult
from PIL import Image


async def test_what_is_long_in_coming_becomes_a_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy ends what stays silent; the call ends with its client."""
    from mcp.server.lowlevel import Server
    from starlette.requests import Request

    from api.dialects.mcp import direct

    ended = []

    async def slow(context: Any, asked: Any) -> CallToolResult:
        try:
            await asyncio.sleep(asked.arguments["seconds"])
        finally:
            ended.append(asked.name)
        return CallToolResult(content=[])

    async def call(name: str, seconds: float) -> Any:
        message = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "tools/call",
            "params": {"name": name, "arguments": {"seconds": seconds}},
        }
        return await direct.answer(Server("slow", on_call_tool=slow), message, Request({"type": "http", "headers": []}))

    monkeypatch.setattr(direct, "SILENT_SECONDS", 0.05)
    assert (await call("quick", 0))["Content-Type"] == "application/json"
    late = await call("late", 0.2)
    chunks = [chunk async for chunk in late]
    assert chunks[0] == b": ping\r\n\r\n"
    assert json.loads(chunks[-1].decode().partition("data: ")[2])["result"] == {"content": [], "isError": False}
    (await call("left", 60)).close()
    await asyncio.sleep(0.05)
    assert ended == ["quick", "late", "left"]


def test_a_large_picture_goes_out_as_a_preview(tmp_path: Path) -> None:
    from api.dialects.mcp.pictures import make_preview

    noise = Image.effect_noise((1800, 1200), 90).convert("RGB")  # nothing compresses worse
    preview = make_preview(noise, 60_000)
    assert len(preview) <= 60_000
    width, height = Image.open(io.BytesIO(preview)).size
    assert width == pytest.approx(height * 1.5, abs=2)
