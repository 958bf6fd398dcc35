"""A picture written with its thumbnail, and sent to a client again: in a folder, and in a bucket of moto's server in this process.

    OMP_NUM_THREADS=1 python -m benchmarks.media [--runs 40]

The two take turns, and what is told is their ratio: moto stores in memory and answers in Python, so a bucket elsewhere has another price
for each request (one to write a file, one to read it), and a folder's is its disk's `fsync`.
"""

import os
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from benchmarks.harness import parser, prepare, print_machine, print_table

SIDE = 1024
Spent = dict[str, dict[str, list[float]]]
"""Milliseconds by step and place."""


def main() -> None:
    made = parser(__doc__ or "")
    made.add_argument("--runs", type=int, default=40)
    options = made.parse_args()
    print_machine(prepare(options))
    from tests.files.s3_server import s3_server, straight_options_of

    with s3_server() as server:
        spent = measure(straight_options_of(server), options.runs)
    print_table(f"{SIDE}², median of {options.runs}, by the clock", rows_of(spent))
    print(f"\nload at the end {os.getloadavg()[0]:.1f}")


def measure(bucket: dict[str, Any], runs: int) -> Spent:
    from django.core.files.storage import default_storage

    from api.files.durable import DurableFileSystemStorage
    from api.files.s3.storage import S3MediaStorage
    from benchmarks.encoding import drawing

    image = drawing(SIDE)
    spent: Spent = defaultdict(lambda: defaultdict(list))
    places = {"folder": DurableFileSystemStorage(), "bucket": S3MediaStorage(**bucket)}
    for run in range(runs + 1):
        for name, place in places.items():
            default_storage._wrapped = place
            taken = one_picture(image)
            for step, milliseconds in taken.items() if run else ():  # the first makes folders and connections
                spent[step][name].append(milliseconds)
    return spent


def one_picture(image: Any) -> dict[str, float]:
    from django.test import RequestFactory

    from api.files import storage
    from api.files.formats import FORMATS, encode
    from api.files.models import StoredFile
    from api.files.responses import file_response

    data = encode(image, FORMATS["png"])
    write, written = timed(lambda: storage.write_image_files(data, image, "png"))
    row = StoredFile(
        name=written.name, thumbnail_name=written.thumbnail_name, sha256=written.sha256, content_type=written.content_type
    )

    def send(thumbnail: bool) -> bytes:
        reply: Any = file_response(RequestFactory().get("/"), row, thumbnail)
        return bytes(reply.getvalue())

    taken = {"written": write}
    for step, thumbnail in (("sent", False), ("its thumbnail", True), ("its thumbnail again", True)):
        taken[step] = timed(lambda thumbnail=thumbnail: send(thumbnail))[0]  # type: ignore[misc]
    storage.remove_written(written)
    return taken


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    result = call()
    return 1000 * (time.perf_counter() - started), result


def rows_of(spent: Spent) -> list[tuple[str, str]]:
    rows = []
    for step, taken in spent.items():
        folder, bucket = (statistics.median(taken[place]) for place in ("folder", "bucket"))
        rows.append((step, f"folder {folder:.2f} ms, bucket {bucket:.2f} ms: {bucket / folder:.1f} ×"))
    return rows


if __name__ == "__main__":
    main()
