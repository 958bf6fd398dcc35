"""What large pictures cost a web process: one at a time, and nothing afterwards."""

import io
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
from PIL import Image

from api.files import decoding
from api.files.decoding import decode_image, room_for
from tests.live import LiveServer

MEGABYTE = 2**20


def png(width: int, height: int, colour: int = 0) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), (colour, 20, 100)).save(buffer, "PNG")
    return buffer.getvalue()


def test_large_pictures_that_come_at_once_leave_nothing_behind(tmp_path: Path) -> None:
    """Of 25 megapixels each, in 84 KB: without a bound each of the threads kept what its pictures had needed."""
    pictures = [png(5000, 5000, colour) for colour in range(6)]
    with LiveServer(tmp_path, JOB_RUNNER="external", DATABASE_URL="") as server:
        [web] = psutil.Process(server.process.pid).children()  # type: ignore[union-attr]
        server.client.get("/api/jobs/")

        def send(data: bytes) -> int:
            files, headers = {"image": ("a.png", data)}, {"Prefer": "respond-async"}
            address = f"{server.url}/api/img2img/"
            return httpx.post(address, data={"prompt": "x"}, files=files, headers=headers, timeout=300).status_code

        before, peak, over = web.memory_info().rss, [0], threading.Event()

        def watch() -> None:
            while not over.wait(0.02):
                peak.append(web.memory_info().rss)

        watching = threading.Thread(target=watch)
        watching.start()
        with ThreadPoolExecutor(len(pictures)) as pool:
            assert list(pool.map(send, pictures)) == [202] * len(pictures)
        over.set()
        watching.join()
        assert max(peak) - before < 450 * MEGABYTE
        server.wait_until(lambda: web.memory_info().rss - before < 60 * MEGABYTE, "its memory is given back", 10)


def test_a_large_picture_waits_for_another_and_a_small_one_does_not() -> None:
    done = []
    with ThreadPoolExecutor(2) as pool, room_for(png(1500, 1000)):
        large = pool.submit(lambda: done.append(decode_image(png(1501, 1000)).size))
        pool.submit(lambda: done.append(decode_image(png(64, 64)).size)).result(10)
        assert done == [(64, 64)]
        assert not large.done()
    assert done[1] == (1501, 1000)


def test_what_is_no_picture_needs_no_room() -> None:
    assert decoding.count_pixels(b"no picture") == decoding.count_pixels(b"") == 0
