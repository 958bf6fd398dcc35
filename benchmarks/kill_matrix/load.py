"""What clients send while parts are killed: every request with a key of its own, again until it is answered."""

import base64
import http.client
import io
import json
import threading
import time
import urllib.error
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

from PIL import Image

from tests.webhooks.receiver import Receiver

CLIENTS = 6
AGAIN_SECONDS = 0.2
ANSWER_SECONDS = 90
MAY_BE_REFUSED = {503}
"""Where the database or the storage is away: asked again, as clients do."""
ASYNC = {"Prefer": "respond-async"}
SMALL = {"prompt": "a lake", "steps": 2, "width": 128, "height": 128}


class Load:
    """`begun` has every number that a client took up, `accepted` every id that was told for a key, `uploads` every picture that was
    accepted. Clients go on until `end`.
    """

    def __init__(self, url: str, receiver: Receiver, may_go: Callable[[int], bool]) -> None:
        self.url, self.receiver, self.may_go = url, receiver, may_go
        self.next, self.lock = 0, threading.Lock()
        self.begun: set[int] = set()
        self.accepted: dict[str, set[str]] = defaultdict(set)
        self.kinds: dict[str, str] = {}
        self.uploads: dict[str, bytes] = {}
        self.answers: Counter[int] = Counter()
        self.wrong: list[str] = []
        self.again, self.longest = 0, 0.0
        self.over, self.latest = threading.Event(), float("inf")
        self.threads = [threading.Thread(target=self.be_client, daemon=True) for _ in range(CLIENTS)]

    def start(self) -> None:
        for thread in self.threads:
            thread.start()

    def end(self) -> None:
        """No new requests. Those under way have ANSWER_SECONDS from now."""
        self.latest = time.monotonic() + ANSWER_SECONDS
        self.over.set()

    def join(self) -> None:
        for thread in self.threads:
            thread.join()

    def be_client(self) -> None:
        while not self.over.is_set():
            with self.lock:
                number, self.next = self.next, self.next + 1
            while not self.may_go(number):
                if self.over.wait(0.05):
                    return
            self.begun.add(number)
            try:
                MIX[number % len(MIX)](self, number)
            except Exception as error:
                self.wrong.append(f"job {number}: {error!r}")

    # ------------------------------------------------------------ requests

    def send(self, number: int, path: str, body: dict[str, Any], *, wait: bool = False) -> str:
        """The id of its job, however often it had to be sent."""
        key = f"job-{number}"
        body = {**body, "webhook": self.receiver.url(f"random/{number}")}
        headers = {"Idempotency-Key": key, **({} if wait else ASYNC)}
        self.kinds[key] = path
        _, reply = self.ask(path, body, headers, {200, 201, 202})
        job_id = reply["Location"].rstrip("/").rpartition("/")[2]
        with self.lock:
            self.accepted[key].add(job_id)
        return job_id

    def upload(self, number: int) -> str:
        buffer = io.BytesIO()
        Image.new("RGB", (48, 48), (number % 256, number // 256 % 256, 99)).save(buffer, "PNG")
        image = base64.b64encode(buffer.getvalue()).decode()
        answer, _ = self.ask("/api/images/", {"image": image}, {}, {200, 201})
        with self.lock:
            self.uploads[answer["id"]] = buffer.getvalue()
        return str(answer["id"])

    def cancel(self, job_id: str) -> None:
        self.ask(f"/api/jobs/{job_id}/cancel/", {}, {}, {200})

    def ask(self, path: str, body: dict[str, Any], headers: dict[str, str], wanted: set[int]) -> tuple[Any, Any]:
        """The first answer that is one, and its headers. Raises RuntimeError for one that no client should get."""
        data = json.dumps(body).encode()
        while True:
            request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json", **headers})
            asked = time.monotonic()
            try:
                with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as reply:
                    answer, status = json.load(reply), reply.status
                self.note(status, asked, "Prefer" in headers)
                if status not in wanted:
                    raise RuntimeError(f"{path} answered {status}")
                return answer, reply.headers
            except urllib.error.HTTPError as error:
                text = error.read()[:400].decode(errors="replace")
                self.note(error.code, asked, "Prefer" in headers)
                if error.code not in MAY_BE_REFUSED:
                    raise RuntimeError(f"{path} answered {error.code}: {text}") from None
            except (OSError, http.client.HTTPException, ValueError):
                pass  # cut off, or not there: whether it was accepted is not known
            if time.monotonic() > self.latest:
                raise RuntimeError(f"{path} was not answered within {ANSWER_SECONDS} s of the last kill")
            self.again += 1
            time.sleep(AGAIN_SECONDS)

    def note(self, status: int, asked: float, is_quick: bool) -> None:
        with self.lock:
            self.answers[status] += 1
            if is_quick:
                self.longest = max(self.longest, time.monotonic() - asked)


# ---------------------------------------------------------------- the mix


def test_job(kind: str, **params: Any) -> Callable[[Load, int], Any]:
    return lambda load, number: load.send(number, "/api/test-jobs/", {"kind": kind, "params": {**params, "data": f"{number}"}})


def send_picture(load: Load, number: int) -> None:
    load.send(number, "/api/txt2img/", {**SMALL, "seed": number})


def send_two_pictures_and_wait(load: Load, number: int) -> None:
    load.send(number, "/api/txt2img/", {**SMALL, "num_images": 2, "seed": number}, wait=True)


def send_edit_of_upload(load: Load, number: int) -> None:
    load.send(number, "/api/img2img/", {**SMALL, "image": load.upload(number)})


def send_look_at_upload(load: Load, number: int) -> None:
    load.send(number, "/api/detect/", {"image": load.upload(number)})


def send_chat(load: Load, number: int) -> None:
    message = {"role": "user", "content": f"What is {number}?"}
    load.send(number, "/v1/chat/completions", {"model": "starter-vlm", "messages": [message]}, wait=number % 2 == 0)


def send_grid(load: Load, number: int) -> None:
    axes = [{"field": "steps", "values": [1, 2]}, {"field": "seed", "values": [number, number + 1]}]
    load.send(number, "/api/grids/", {"request": SMALL, "axes": axes})


def send_and_cancel(load: Load, number: int) -> None:
    body = {"kind": "sleep", "params": {"steps": 20, "seconds": 0.1}}
    job_id = load.send(number, "/api/test-jobs/", body)
    time.sleep(number % 5 / 4)
    load.cancel(job_id)


def cancel_parent(load: Load, number: int) -> None:
    params = {"count": 2, "child": "sleep", "child_params": {"steps": 10, "seconds": 0.1}}
    job_id = load.send(number, "/api/test-jobs/", {"kind": "parent", "params": params})
    time.sleep(number % 7 / 4)
    load.cancel(job_id)


PARENT = {"count": 3, "child": "picture", "child_params": {"seconds": 0.05}}
MIX: list[Callable[[Load, int], Any]] = [
    test_job("picture", seconds=0.05), send_picture, send_edit_of_upload, send_and_cancel, test_job("parent", **PARENT), send_chat,
    test_job("picture"), send_look_at_upload, test_job("batched"), send_two_pictures_and_wait, send_grid, cancel_parent,
]  # fmt: skip
