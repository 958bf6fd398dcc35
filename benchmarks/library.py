"""The library of files: how long scans of 10,000 small files take, the header of a large file, and what a web process needs for them.

    python -m benchmarks.library [--files 10000] [--folder /a/disk]

cold    nothing is known: every header is read, every row is written
warm    nothing has changed
one     one file is new
header  of a sparse file of 7 GB with the tensors of a full SDXL checkpoint's UNet, read and told apart
memory  of a server's process before and after it has listed all files over HTTP three times, and what the list takes
"""

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.harness import make_server, parser, prepare, print_machine, print_table

LARGE = 7_000_000_000
LORAS_FOR_EACH_MODEL = 4
BLOCKS = 1500


def main() -> None:
    made = parser(__doc__ or "")
    made.add_argument("--files", type=int, default=10_000)
    options = made.parse_args()
    data = prepare(options)
    print_machine(data)
    from django.conf import settings

    library = data / "library"
    settings.LIBRARY_DIRS = [library]
    make_files(library, options.files)
    print_table(f"A library of {options.files} files", [*measure_scans(library), measure_header(data)])
    print_table("Memory of a web process", measure_server(data))


def make_files(library: Path, count: int) -> None:
    """One checkpoint to four LoRAs, a hundred to a folder."""
    from tests.library.files import write_checkpoint, write_lora

    for number in range(count):
        write = write_checkpoint if number % (LORAS_FOR_EACH_MODEL + 1) == 0 else write_lora
        write(library / f"folder-{number // 100}" / f"file {number}.safetensors")


def measure_scans(library: Path) -> list[tuple[str, str]]:
    from api.library.scan import scan_library
    from tests.library.files import write_checkpoint

    cold = seconds(scan_library)
    warm = statistics.median(seconds(scan_library) for _ in range(5))
    write_checkpoint(library / "one more.safetensors")
    one = seconds(scan_library)
    figures = {"cold scan": cold, "warm scan, median of 5": warm, "scan with one new file": one}
    return [(name, f"{figure:.2f} s") for name, figure in figures.items()]


def measure_header(data: Path) -> tuple[str, str]:
    from api.model_files.header import read_header
    from api.model_files.identify import identify
    from tests.library.files import write_file
    from tests.model_files.test_identify import SDXL

    block = LARGE // 2 // BLOCKS // 1000
    more = {f"model.diffusion_model.middle_block.{number}.weight": (block, 1000) for number in range(BLOCKS)}
    file = write_file(data / "large.safetensors", SDXL | more)
    taken = [seconds(lambda: identify(read_header(file), file.name)) for _ in range(20)]
    size = file.stat().st_size
    file.unlink()
    return f"header of a file of {size / 1e9:.1f} GB, median of 20", f"{statistics.median(taken) * 1000:.1f} ms"


def measure_server(data: Path) -> list[tuple[str, str]]:
    """After three lists each. SQLite's page cache, which config/databases.py bounds at 16 MB a connection, is part of it."""
    import psutil

    rows = []
    for name, folder in (("without a library", ""), ("with the library", str(data / "library"))):
        server = make_server(data, LIBRARY_DIRS=folder, DATABASE_URL=os.environ["DATABASE_URL"])
        server.start()
        assert server.process is not None
        (web,) = psutil.Process(server.process.pid).children()  # gunicorn's one worker; JOB_RUNNER is external
        for query in ("?kind=model", "?limit=100", "", "?limit=10000"):
            for _ in range(3):
                started = time.perf_counter()
                reply = server.client.get(f"/api/models/{query}", timeout=60)
                taken = time.perf_counter() - started
            rss = web.memory_info().rss / 2**20
            figures = f"{len(reply.json())} listed in {taken:.2f} s, {len(reply.content) / 1e6:.1f} MB"
            rows.append((f"{name}, /api/models/{query}", f"{rss:.0f} MiB; {figures}"))
        server.stop()
    return rows


def seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
