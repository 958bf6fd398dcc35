"""Text in pictures: drawn pages and signs through a real server and its worker, beside the plain libraries in the same run.

    OMP_NUM_THREADS=1 python -m benchmarks.ocr [--pages 8] [--signs 100] [--folder /dev/shm]

Pages are 1280×800 with 32 lines. Signs are tilted, in perspective, noisy, soft and in JPEG (benchmarks/ocr_pages.py). The plain
libraries: `RapidOCR()(picture)` on one thread, and Tesseract on the whole picture.
"""

import io
import json
import os
import resource
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import psutil

from benchmarks.harness import make_server, median, parser, prepare, print_machine, print_table
from benchmarks.ocr_pages import LINES_OF_A_PAGE, Drawing, draw_page, draw_sign

FIRST_SEED = 1000
SAMPLE_SECONDS = 0.02
MIB = 2**20
TESSERACT = {"en": "eng", "vi": "vie"}
PLAIN = """
import json, resource, sys
from rapidocr import RapidOCR
one = {"EngineConfig.onnxruntime.intra_op_num_threads": 1, "EngineConfig.onnxruntime.inter_op_num_threads": 1}
engine = RapidOCR(params={"Global.log_level": "error", "Global.use_cls": False, **one})
for file in sys.argv[1:]:
    before = resource.getrusage(resource.RUSAGE_SELF)
    found = engine(file, use_det=True, use_cls=False, use_rec=True)
    after = resource.getrusage(resource.RUSAGE_SELF)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps([list(found.txts or ()), seconds, after.ru_maxrss]))
"""
"""In a process of its own: what RapidOCR's first page says."""


@dataclass(frozen=True)
class Reading:
    """What was read of one picture."""

    lines: list[str]
    seconds: float
    """Of the processor: the worker's, and those of the processes that it started."""


def right_lines(found: Sequence[str], drawing: Drawing) -> int:
    return sum((Counter(found) & Counter(drawing.lines)).values())


class MeasuredWorker:
    """The embedded worker of a server: its processor time, and the most memory that it and its children held."""

    def __init__(self, server: Any) -> None:
        self.server = server
        found = [one for one in psutil.Process(server.process.pid).children(recursive=True) if "worker" in one.cmdline()]
        self.process = found[0]
        self.peak = 0
        self.watching = True
        threading.Thread(target=self.watch, daemon=True).start()

    def watch(self) -> None:
        while self.watching:
            self.peak = max(self.peak, self.memory())
            time.sleep(SAMPLE_SECONDS)

    def memory(self) -> int:
        """With Tesseract's process; one that has not become it yet still shows the worker's own memory."""
        total = int(self.process.memory_info().rss)
        for child in self.process.children():
            try:
                total += child.memory_info().rss if child.name() == "tesseract" else 0
            except psutil.NoSuchProcess:
                continue  # it has just ended
        return total

    def processor_seconds(self) -> float:
        times = self.process.cpu_times()
        return float(times.user + times.system + times.children_user + times.children_system)

    def read(self, drawing: Drawing, language: str) -> Reading:
        before = self.processor_seconds()
        files = {"image": ("picture.png", as_png(drawing), "image/png")}
        reply = self.server.client.post("/api/ocr/", files=files, data={"languages": language})
        job = reply.json()
        if job["status"] != "succeeded":
            raise RuntimeError(job)
        return Reading([line["text"] for line in job["result"]["lines"]], self.processor_seconds() - before)


def as_png(drawing: Drawing) -> bytes:
    buffer = io.BytesIO()
    drawing.image.save(buffer, "PNG")
    return buffer.getvalue()


# ---------------------------------------------------------------- the plain libraries


def read_with_rapidocr(drawings: Sequence[Drawing], folder: Any) -> tuple[list[Reading], int]:
    """And the most memory that the process held."""
    files = []
    for number, drawing in enumerate(drawings):
        files.append(str(folder / f"plain-{number}.png"))
        drawing.image.save(files[-1])
    done = subprocess.run([sys.executable, "-c", PLAIN, *files], capture_output=True, text=True, check=True)
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    return [Reading(lines, seconds) for lines, seconds, _ in rows], rows[-1][2] * 1024


def read_with_tesseract(drawing: Drawing, language: str) -> Reading:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = ["tesseract", "stdin", "stdout", "-l", TESSERACT[language]]
    environment = {**os.environ, "OMP_THREAD_LIMIT": "1"}
    done = subprocess.run(command, input=as_png(drawing), capture_output=True, env=environment, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Reading([line.strip() for line in done.stdout.decode().splitlines() if line.strip()], seconds)


# ---------------------------------------------------------------- rows of the tables


def summary(read: Callable[[Drawing], Reading], drawings: Sequence[Drawing]) -> str:
    return describe([read(drawing) for drawing in drawings], drawings)


def describe(readings: Sequence[Reading], drawings: Sequence[Drawing]) -> str:
    right = sum(right_lines(one.lines, drawing) for one, drawing in zip(readings, drawings, strict=True))
    total = sum(len(drawing.lines) for drawing in drawings)
    seconds = median([one.seconds for one in readings])
    return f"{right}/{total} lines exact ({right / total:.1%}); {seconds:.2f} CPU s a picture (median)"


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--pages", type=int, default=8)
    options.add_argument("--signs", type=int, default=100)
    chosen = options.parse_args()
    data = prepare(chosen, JOB_RUNNER="embedded", DJANGO_SETTINGS_MODULE="config.settings")
    print_machine(data)
    pages = {code: [draw_page(code, FIRST_SEED + number) for number in range(chosen.pages)] for code in ("vi", "en")}
    signs = [draw_sign(FIRST_SEED + number) for number in range(chosen.signs)]
    with make_server(data) as server:
        server.wait_until(lambda: server.client.get("/api/status/").json()["status"] == "ready", "the worker waits for jobs")
        worker = MeasuredWorker(server)
        idle = worker.memory()
        first, second = worker.read(pages["en"][0], "en"), worker.read(pages["en"][0], "en")
        rows = [
            ("idle worker", f"{idle / MIB:.0f} MiB"),
            ("first page, with loading", f"{first.seconds:.2f} CPU s"),
            ("second page at once", f"{second.seconds:.2f} CPU s"),
            ("English pages", summary(lambda page: worker.read(page, "en"), pages["en"])),
            ("Vietnamese pages", summary(lambda page: worker.read(page, "vi"), pages["vi"])),
            ("Vietnamese signs", summary(lambda sign: worker.read(sign, "vi"), signs)),
            ("peak above idle", f"{(worker.peak - idle) / MIB:.0f} MiB, Tesseract's process included"),
        ]
        worker.watching = False
    print_table(f"Darkroom, {LINES_OF_A_PAGE} lines a page", rows)
    plain, peak = read_with_rapidocr([*pages["en"], *pages["vi"], *signs], data)
    count = chosen.pages
    print_table(
        "The plain libraries",
        [
            ("RapidOCR, English pages", describe(plain[:count], pages["en"])),
            ("RapidOCR, Vietnamese pages", describe(plain[count : 2 * count], pages["vi"])),
            ("RapidOCR, Vietnamese signs", describe(plain[2 * count :], signs)),
            ("RapidOCR, its process", f"{peak / MIB:.0f} MiB at most"),
            ("Tesseract, English pages", summary(lambda page: read_with_tesseract(page, "en"), pages["en"])),
            ("Tesseract, Vietnamese pages", summary(lambda page: read_with_tesseract(page, "vi"), pages["vi"])),
            ("Tesseract, Vietnamese signs", summary(lambda sign: read_with_tesseract(sign, "vi"), signs)),
        ],
    )


if __name__ == "__main__":
    main()
