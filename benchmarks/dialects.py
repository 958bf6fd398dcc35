"""What each dialect adds to the same request at our own address, with kinds of job that make a flat picture, find one box and say one word.

    python -m benchmarks.dialects [--pairs 100] [--size 512] [--only PART] [--database postgresql://…] [--folder /dev/shm]

One client asks both addresses in turn; a line is the median of the differences of pairs, with the quartiles, and the same of the web
process's processor time. Our own answers carry the picture as base64 (`?include=base64`), as the dialects' carry it or its file.
"""

import base64
import io
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

from benchmarks.harness import WorkerProcess, make_server, parser, prepare, print_machine, print_table
from benchmarks.server import serving

BASE64 = {"include": "base64"}
FUNCTION: dict[str, Any] = {"name": "add", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}}
TOOL, NESTED_TOOL = {"type": "function", **FUNCTION}, {"type": "function", "function": FUNCTION}


@dataclass(frozen=True)
class Call:
    path: str
    json: dict[str, Any] | None = None
    files: dict[str, Any] | None = None
    data: dict[str, str] | None = None
    content: bytes | None = None
    params: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)

    def send(self, client: httpx.Client) -> httpx.Response:
        return client.post(
            self.path,
            json=self.json,
            files=self.files,
            data=self.data,
            content=self.content,
            params=self.params,
            headers=self.headers,
        )


def encode(size: int) -> bytes:
    """A photograph's worth of PNG: noise would be ten times as large, a flat picture a hundredth."""
    small = Image.effect_noise((size // 8, size // 8), 60).resize((size, size))
    written = io.BytesIO()
    Image.merge("RGB", [small, small.rotate(90), small.rotate(180)]).save(written, "PNG")
    return written.getvalue()


def encode_mask(size: int) -> bytes:
    """Open where it is transparent, as OpenAI's are; for ours that is `mask_invert`."""
    mask = Image.new("RGBA", (size, size), "black")
    mask.paste((0, 0, 0, 0), (size // 4, size // 4, size // 2, size // 2))
    written = io.BytesIO()
    mask.save(written, "PNG")
    return written.getvalue()


def said(text: str, role: str = "user") -> list[dict[str, str]]:
    return [{"role": role, "content": text}]


def dialogue() -> list[dict[str, str]]:
    return [turn for number in range(20) for turn in said(f"Is {number} even?") + said("I see.", "assistant")]


Pairs = dict[str, tuple[Call, Call]]
"""Each dialect's call, and ours for the same job."""
PROMPT, SEED = "a serene lake at sunset", 7


def pairs_of(size: int) -> Pairs:
    png = encode(size)
    return {**making_pairs(size), **editing_pairs(size, png), **looking_pairs(png), **chat_pairs()}


def as_data_url(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def making_pairs(size: int) -> Pairs:
    made = {"prompt": PROMPT, "width": size, "height": size, "steps": 20, "seed": SEED}
    asked = {"prompt": PROMPT, "size": f"{size}x{size}", "response_format": "b64_json", "seed": SEED}
    parameters = {"num_inference_steps": 20, "width": size, "height": size, "seed": SEED}
    own = Call("/api/txt2img/", made, params=BASE64)
    return {
        "POST /generate": (Call("/generate", {**made, "guidance": 5}), own),
        "POST /v1/images/generations": (Call("/v1/images/generations", asked), own),
        "POST /sdapi/v1/txt2img": (Call("/sdapi/v1/txt2img", {**made, "cfg_scale": 5}), own),
        "POST /mcp, make_picture": (called("make_picture", **made), own),
        "POST /hf/text-to-image": (Call("/hf/text-to-image", {"inputs": PROMPT, "parameters": parameters}), own),
    }


def editing_pairs(size: int, png: bytes) -> Pairs:
    text = base64.b64encode(png).decode()
    changed = {"prompt": PROMPT, "image": text, "steps": 20, "strength": 0.6, "seed": SEED, "width": size, "height": size}
    a1111 = {"prompt": PROMPT, "width": size, "height": size, "steps": 20, "seed": SEED, "cfg_scale": 5, "init_images": [text]}
    target = {"target_size": {"width": size, "height": size}}
    parameters = {"prompt": PROMPT, "num_inference_steps": 20, "strength": 0.6, "seed": SEED, **target}
    asked = {"prompt": PROMPT, "size": f"{size}x{size}", "response_format": "b64_json"}
    sized = {"prompt": PROMPT, "width": str(size), "height": str(size)}
    upload = {"image": ("upload", png, "application/octet-stream")}
    masked = {**upload, "mask": ("mask.png", encode_mask(size), "image/png")}
    painted = {**sized, "strength": "1", "mask_invert": "true"}
    own = Call("/api/img2img/", changed, params=BASE64)
    return {
        "POST /v1/images/edits": (
            Call("/v1/images/edits", files=upload, data=asked),
            Call("/api/img2img/", files=upload, data=sized, params=BASE64),
        ),
        "POST /v1/images/edits, with a mask": (
            Call("/v1/images/edits", files=masked, data=asked),
            Call("/api/img2img/", files=masked, data=painted, params=BASE64),
        ),
        "POST /sdapi/v1/img2img": (Call("/sdapi/v1/img2img", a1111), own),
        "POST /hf/image-to-image": (Call("/hf/image-to-image", {"inputs": text, "parameters": parameters}), own),
    }


def looking_pairs(png: bytes) -> Pairs:
    url = as_data_url(png)
    upload = {"image": ("upload", png, "application/octet-stream")}
    return {
        "POST /hf/object-detection, bytes": (Call("/hf/object-detection", content=png), Call("/api/detect/", files=upload)),
        "POST /v1/detection (LocalAI)": (Call("/v1/detection", {"image": url}), Call("/api/detect/", {"image": url})),
        "POST /score (layout server)": (Call("/score", {"image": url}), Call("/api/score/", {"image": url})),
        "POST /mcp, judge_layout": (called("judge_layout", image=url), Call("/api/score/", {"image": url})),
        "POST /v1/embeddings, beside a detection": (
            Call("/v1/embeddings", {"model": "starter-clip", "input": [{"image": url}], "encoding_format": "base64"}),
            Call("/api/detect/", {"image": url}),
        ),
    }


def called(tool: str, **arguments: object) -> Call:
    """Of the Model Context Protocol."""
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": arguments}}
    return Call("/mcp", message, headers={"Accept": "application/json, text/event-stream"})


def chat_pairs() -> Pairs:
    model = {"model": "starter-vlm", "seed": SEED}
    turns = [*dialogue(), *said("So?")]
    return {
        "POST /v1/responses, beside a chat completion": (
            Call("/v1/responses", {**model, "input": "What is it?"}),
            Call("/v1/chat/completions", {**model, "messages": said("What is it?")}),
        ),
        "POST /v1/responses of 41 messages and a tool": (
            Call("/v1/responses", {**model, "input": turns, "tools": [TOOL]}),
            Call("/v1/chat/completions", {**model, "messages": turns, "tools": [NESTED_TOOL]}),
        ),
    }


@dataclass(frozen=True)
class Spent:
    """Milliseconds of one request: by the clock, and of the web process's processor time."""

    clock: float
    processor: float


def processor_milliseconds(pid: int) -> float:
    """Of all threads that there are, to the microsecond (Linux)."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e6


def ask(client: httpx.Client, pid: int, call: Call) -> Spent:
    before, started = processor_milliseconds(pid), time.perf_counter()
    reply = call.send(client)
    spent = Spent((time.perf_counter() - started) * 1000, processor_milliseconds(pid) - before)
    if reply.status_code not in (200, 201):
        raise RuntimeError(f"{call.path}: {reply.status_code} {reply.text[:300]}")
    return spent


def measure(client: httpx.Client, pid: int, dialect: Call, own: Call, pairs: int) -> tuple[float, str]:
    """The median of the differences, and the line that is shown."""
    for call in (dialect, own):
        ask(client, pid, call)
    found: list[tuple[Spent, Spent]] = []
    for number in range(pairs):
        if number % 2:  # who goes first alternates
            ours, theirs = ask(client, pid, own), ask(client, pid, dialect)
        else:
            theirs, ours = ask(client, pid, dialect), ask(client, pid, own)
        found.append((theirs, ours))
    low, middle, high = statistics.quantiles([theirs.clock - ours.clock for theirs, ours in found], n=4)
    medians = [statistics.median(one.clock for one in calls) for calls in zip(*found, strict=True)]
    added = statistics.median(theirs.processor - ours.processor for theirs, ours in found)
    clock = f"{middle:+5.1f} ms ({low:+.1f} to {high:+.1f}), {medians[0]:.1f} ms beside {medians[1]:.1f} ms"
    return middle, f"{clock};  {added:+.1f} ms of the web process's processor time"


def main() -> int:
    arguments = parser((__doc__ or "").splitlines()[0])
    arguments.add_argument("--pairs", type=int, default=100)
    arguments.add_argument("--only", default="", help="the addresses that have this in them")
    arguments.add_argument("--size", type=int, default=512)
    options = arguments.parse_args()
    data = prepare(options, DJANGO_SETTINGS_MODULE="benchmarks.quick_kinds.settings")
    print_machine(data)
    server = make_server(data)
    server.start()
    pid = serving(server).pid
    worker = WorkerProcess(data)
    rows, slowest = [], 0.0
    with httpx.Client(base_url=server.url, timeout=60) as client:
        for name, (dialect, own) in pairs_of(options.size).items():
            if options.only not in name:
                continue
            added, line = measure(client, pid, dialect, own, options.pairs)
            slowest = max(slowest, added)
            rows.append((name, line))
    worker.stop()
    server.stop()
    print_table(f"Added by each dialect, {options.pairs} pairs of {options.size}² pictures (wanted: 3 ms)", rows)
    return 0 if slowest <= 3 else 1


if __name__ == "__main__":
    sys.exit(main())
