"""The studio in a browser with many pictures: the first paint of /, pages of the gallery, what scrolling 5,000 pictures holds in memory,
the scripts' size.

python -m benchmarks.studio [--pictures 100000] [--scrolled 5000] [--database postgresql://…]
"""

import os
import re
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.gallery import fetch_pages, fill
from benchmarks.harness import make_server, median, parser, prepare, print_machine, print_table

PAINTS, SAMPLES, MEGABYTE = 9, 48, 2**20
VIEWPORT = {"width": 1280, "height": 800}
TIMINGS = """() => {
  const [page] = performance.getEntriesByType("navigation");
  const paint = performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? 0;
  return { server: page.responseEnd - page.requestStart, ready: page.domContentLoadedEventEnd, paint };
}"""


def make_thumbnails(count: int) -> None:
    """Files for the newest pictures: different ones to look at, each many times (as links)."""
    from django.conf import settings
    from PIL import Image

    from api.files.thumbnails import make_thumbnail
    from api.images.models import GeneratedImage

    folder = Path(settings.MEDIA_ROOT) / "output"
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(SAMPLES):
        noise = Image.frombytes("RGB", (24, 24), os.urandom(24 * 24 * 3)).resize((768, 768), Image.Resampling.BICUBIC)
        (folder / f"sample{number}").write_bytes(make_thumbnail(noise))
    newest = GeneratedImage.objects.order_by("-pk").values_list("file__thumbnail_name", flat=True)[:count]
    for number, name in enumerate(newest):
        os.link(folder / f"sample{number % SAMPLES}", Path(settings.MEDIA_ROOT) / str(name))


def paints(browser: Any, url: str, path: str) -> list[tuple[str, str]]:
    """Each in a new context: nothing is cached."""
    found = []
    for _ in range(PAINTS + 1):
        context = browser.new_context(viewport=VIEWPORT)
        page = context.new_page()
        page.goto(f"{url}{path}")
        page.wait_for_function("performance.getEntriesByName('first-contentful-paint').length")
        found.append(page.evaluate(TIMINGS))
        context.close()
    rows = []
    for name, words in (("server", "its HTML is here"), ("paint", "first paint"), ("ready", "scripts have run")):
        times = [one[name] for one in found[1:]]
        rows.append((f"{path} {words}", f"median {median(times):.0f} ms, {min(times):.0f} to {max(times):.0f}"))
    return rows


def children_of(pid: int) -> list[int]:
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(status.read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        if parent == pid:
            found += [int(status.parent.name), *children_of(int(status.parent.name))]
    return found


def renderers() -> dict[int, dict[str, float]]:
    """Of this process's browsers: proportional and private memory in MB."""
    found = {}
    for pid in children_of(os.getpid()):
        try:
            if b"--type=renderer" not in Path(f"/proc/{pid}/cmdline").read_bytes():
                continue
            lines = dict(re.findall(r"(\w+):\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text()))
        except (FileNotFoundError, ProcessLookupError):
            continue
        private = int(lines["Private_Dirty"]) + int(lines["Private_Clean"])
        found[pid] = {"pss": int(lines["Pss"]) / 1024, "private": private / 1024}
    return found


def scroll(browser: Any, url: str, count: int) -> list[tuple[str, str]]:
    before = set(renderers())
    context = browser.new_context(viewport=VIEWPORT)
    page = context.new_page()
    page.goto("about:blank")
    counter = context.new_cdp_session(page)
    counter.send("Performance.enable")
    page.goto(f"{url}/studio/gallery/")
    page.wait_for_selector("#grid .tile-cell")
    page.wait_for_timeout(1500)
    rows = [("gallery, first page", memory(counter, before))]
    started, shown = time.monotonic(), 0
    while shown < count:
        page.mouse.wheel(0, 1500)
        page.wait_for_timeout(60)
        shown = page.evaluate(
            "Math.max(0, ...[...document.querySelectorAll('#grid [aria-posinset]')].map((one) => Number(one.ariaPosInSet)))"
        )
        if time.monotonic() - started > 300:
            break
    rows.append((f"scrolled to picture {shown:,}", memory(counter, before)))
    page.wait_for_timeout(3000)
    counter.send("HeapProfiler.collectGarbage")
    rows.append(("3 s later, garbage collected", memory(counter, before)))
    context.close()
    return rows


def memory(counter: Any, before: set[int]) -> str:
    """Of the page's own process, and of its scripts."""
    mine = [found for pid, found in renderers().items() if pid not in before]
    largest = max(mine, key=lambda found: found["private"])
    metrics = {one["name"]: one["value"] for one in counter.send("Performance.getMetrics")["metrics"]}
    heap = metrics["JSHeapUsedSize"] / MEGABYTE
    return (
        f"process {largest['private']:.0f} MB private, {largest['pss']:.0f} MB proportional; "
        f"scripts' heap {heap:.1f} MB, {metrics['Nodes']:.0f} nodes"
    )


def script_sizes() -> list[tuple[str, str]]:
    from django.conf import settings

    folder = Path(settings.BASE_DIR) / "api/studio/static/studio"
    own = sum(path.stat().st_size for path in folder.rglob("*.js") if "vendor" not in path.parts)
    vendor = sum(path.stat().st_size for path in (folder / "vendor").glob("*.js"))
    styles = sum((folder / name).stat().st_size for name in ("studio.css", "gallery.css"))
    return [("JavaScript", f"{own:,} bytes of our own, {vendor:,} of htmx"), ("CSS of every page", f"{styles:,} bytes")]


def main() -> int:
    arguments = parser(__doc__.splitlines()[0])
    arguments.add_argument("--pictures", type=int, default=100_000)
    arguments.add_argument("--scrolled", type=int, default=5_000)
    options = arguments.parse_args()
    data = prepare(options, ALLOWED_HOSTS="testserver,localhost,127.0.0.1")
    print_machine(data)
    fill(options.pictures)
    make_thumbnails(min(options.pictures, options.scrolled + 600))
    from django.test import Client

    times = fetch_pages(Client(), "")
    rows = [("a page of the gallery, at the server", f"median {median(times):.1f}, slowest {max(times):.1f} ms")]
    server = make_server(data)
    server.start()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for path in ("/", "/studio/gallery/"):
            rows += paints(browser, server.url, path)
        rows += scroll(browser, server.url, options.scrolled)
        browser.close()
    server.stop()
    print_table(f"The studio with {options.pictures:,} pictures, load {os.getloadavg()[0]:.1f}", [*rows, *script_sizes()])
    return 0


if __name__ == "__main__":
    sys.exit(main())
