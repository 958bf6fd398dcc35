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

    def send(self, client: httpx.Client) -> httpx.Response:
        return client.post(
            self.path, json=self.json, files=self.files, data=self.data, content=self.content, params=self.params
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


def pairs_of(size: int) -> dict[str, tuple[Call, Call]]:
    """Each dialect's call, and ours for the same job."""
    png = encode(size)
    text = base64.b64encode(png).decode()
    url, seed, prompt = f"data:image/png;base64,{text}", 7, "a serene lake at sunset"
    size_text = f"{size}x{size}"
    made = {"prompt": prompt, "width": size, "height": size, "steps": 20, "seed": seed}
    changed = {"prompt": prompt, "image": text, "steps": 20, "strength": 0.6, "seed": seed, "width": size, "height": size}
    a1111 = {"prompt": prompt, "width": size, "height": size, "steps": 20, "seed": seed, "cfg_scale": 5}
    own = Call("/api/txt2img/", made, params=BASE64)
    own_edit = Call("/api/img2img/", changed, params=BASE64)
    upload = {"image": ("upload", png, "application/octet-stream")}
    masked = {**upload, "mask": ("mask.png", encode_mask(size), "image/png")}
    return {
        "POST /generate": (Call("/generate", {**made, "guidance": 5}), own),
        "POST /v1/images/generations": (
            Call("/v1/images/generations", {"prompt": prompt, "size": size_text, "response_format": "b64_json", "seed": seed}),
            own,
        ),
        "POST /v1/images/edits": (
            Call("/v1/images/edits", files=upload, data={"prompt": prompt, "size": size_text, "response_format": "b64_json"}),
            Call(
                "/api/img2img/", files=upload, data={"prompt": prompt, "width": str(size), "height": str(size)}, params=BASE64
            ),
        ),
        "POST /v1/images/edits, with a mask": (
            Call(
                "/v1/images/edits",
                files=masked,
                data={"prompt": prompt, "size": size_text, "response_format": "b64_json"},
            ),
            Call(
                "/api/img2img/",
                files=masked,
                data={"prompt": prompt, "width": str(size), "height": str(size), "strength": "1", "mask_invert": "true"},
                params=BASE64,
            ),
        ),
        "POST /sdapi/v1/txt2img": (Call("/sdapi/v1/txt2img", a1111), own),
        "POST /sdapi/v1/img2img": (Call("/sdapi/v1/img2img", {**a1111, "init_images": [text]}), own_edit),
        "POST /hf/text-to-image": (
            Call(
                "/hf/text-to-image",
                {"inputs": prompt, "parameters": {"num_inference_steps": 20, "width": size, "height": size, "seed": seed}},
            ),
            own,
        ),
        "POST /hf/image-to-image": (
            Call(
                "/hf/image-to-image",
                {
                    "inputs": text,
                    "parameters": {
                        "prompt": prompt,
                        "num_inference_steps": 20,
                        "strength": 0.6,
                        "seed": seed,
                        "target_size": {"width": size, "height": size},
                    },
                },
            ),
            own_edit,
        ),
        "POST /hf/object-detection, bytes": (
            Call("/hf/object-detection", content=png),
            Call("/api/detect/", files=upload),
        ),
        "POST /score (layout server)": (Call("/score", {"image": url}), Call("/api/score/", {"image": url})),
        "POST /v1/responses, beside a chat completion": (
            Call("/v1/responses", {"model": "starter-vlm", "input": "What is it?", "seed": seed}),
            Call("/v1/chat/completions", {"model": "starter-vlm", "messages": said("What is it?"), "seed": seed}),
        ),
        "POST /v1/responses of 41 messages and a tool": (
            Call(
                "/v1/responses", {"model": "starter-vlm", "input": [*dialogue(), *said("So?")], "tools": [TOOL], "seed": seed}
            ),
            Call(
                "/v1/chat/completions",
                {"model": "starter-vlm", "messages": [*dialogue(), *said("So?")], "tools": [NESTED_TOOL], "seed": seed},
            ),
        ),
        "POST /v1/detection (LocalAI)": (Call("/v1/detection", {"image": url}), Call("/api/detect/", {"image": url})),
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
