"""The studio's gallery with many pictures: the slowest of its first pages, for each order and filter, and the pages at / and of a picture.

python -m benchmarks.gallery [--pictures 100000] [--database postgresql://…]
"""

import random
import re
import sys
import time
import uuid
from typing import Any

from benchmarks.harness import median, parser, prepare, print_machine, print_table

CHUNK, PAGES, YEAR = 2000, 12, 365 * 86_400_000
NOUNS = ["lake", "house", "mountain", "river", "tree", "cat", "portrait", "boat", "bridge", "city", "forest"]
ADJECTIVES = ["serene", "golden", "tiny", "huge", "misty", "bright", "old", "quiet", "stormy"]
SIZES = [(512, 512), (768, 512), (512, 768), (1024, 1024)]
QUERIES = (
    "", "order=oldest", "order=match", "order=rating", "q=lake", "q=zebra", "tag=print", "favourite=yes", "rating=4", "rating=none",
    "match=30", "shape=tall", "origin=upscaled", "order=match&q=zebra", "order=rating&tag=print",
)  # fmt: skip


def fill(count: int) -> None:
    """Rows without files, over the last year."""
    from django.db import transaction

    from api.files.models import StoredFile
    from api.images.models import GeneratedImage, Tag
    from api.jobs.models import Job

    random.seed(1)
    tagged, through = Tag.objects.create(name="print"), GeneratedImage.tags.through
    begin = int(time.time() * 1000) - YEAR
    for start in range(0, count, CHUNK):
        rows = [make_rows(begin + YEAR * place // count) for place in range(start, min(count, start + CHUNK))]
        with transaction.atomic():
            for model, place in ((Job, 0), (StoredFile, 1), (GeneratedImage, 2)):
                model.objects.bulk_create((row[place] for row in rows), batch_size=400)  # type: ignore[attr-defined]
            links = [through(generatedimage_id=row[2].pk, tag_id=tagged.pk) for row in rows if random.random() < 0.1]
            through.objects.bulk_create(links, batch_size=400)


def make_rows(milliseconds: int) -> tuple[Any, Any, Any]:
    from api.files.models import StoredFile
    from api.images.models import GeneratedImage
    from api.jobs.models import Job

    job_id, file_id = make_id(milliseconds), make_id(milliseconds)
    prompt = f"a {random.choice(ADJECTIVES)} {random.choice(NOUNS)} by a {random.choice(ADJECTIVES)} {random.choice(NOUNS)}"
    (width, height), seed, score = random.choice(SIZES), random.randrange(2**32), random.gauss(25, 4)
    params = {"prompt": prompt, "negative_prompt": "blurry", "width": width, "height": height, "steps": 25, "seed": seed}
    names = {"name": f"output/{file_id}.png", "thumbnail_name": f"output/{file_id}_t.webp"}
    image = GeneratedImage(
        file_id=file_id, job_id=job_id, index=0, owner_key="local", model_id=random.choice(("starter", "sdxl-base-1.0")), prompt=prompt,
        seed=seed, steps=25, guidance_scale=7.0, width=width, height=height, parameters=params, scores={"clip_score": score},
        clip_score=score, rating=random.choice((None, None, None, 1, 2, 3, 4, 5)), favourite=random.random() < 0.02,
    )  # fmt: skip
    return (
        Job(
            id=job_id,
            kind="txt2img",
            status="succeeded",
            model_id=image.model_id,
            params=params,
            prompt=prompt,
            owner_key="local",
        ),
        StoredFile(id=file_id, owner_key="local", purpose="output", size=1, width=width, height=height, **names),
        image,
    )


def make_id(milliseconds: int) -> uuid.UUID:
    """A UUIDv7 of a moment."""
    return uuid.UUID(int=milliseconds << 80 | 7 << 76 | random.getrandbits(12) << 64 | 2 << 62 | random.getrandbits(62))


def fetch(client: Any, path: str) -> tuple[float, str]:
    """The time in ms, and the page."""
    started = time.monotonic()
    reply = client.get(path, headers={"HX-Request": "true"} if "gallery" in path else {})
    assert reply.status_code == 200, (path, reply.status_code)
    return (time.monotonic() - started) * 1000, reply.content.decode()


def fetch_pages(client: Any, query: str) -> list[float]:
    """The first pages, each by the address that the one before names."""
    path, times = f"/studio/gallery/?{query}", []
    while path and len(times) < PAGES:
        milliseconds, page = fetch(client, path)
        times.append(milliseconds)
        following = re.search(r'class="tile-more"><a class="plain" href="([^"]+)"', page)
        path = following[1].replace("&amp;", "&") if following else ""
    return times


def main() -> int:
    arguments = parser(__doc__.splitlines()[0])
    arguments.add_argument("--pictures", type=int, default=100_000)
    options = arguments.parse_args()
    print_machine(prepare(options, ALLOWED_HOSTS="testserver,localhost,127.0.0.1"))
    fill(options.pictures)
    from django.test import Client

    from api.images.models import GeneratedImage

    client, rows = Client(), []
    fetch(client, "/studio/gallery/")
    for query in QUERIES:
        times = fetch_pages(client, query)
        rows.append((query or "newest first", f"median {median(times):.1f}, slowest {max(times):.1f} ms of {len(times)} pages"))
    for path in ("/", f"/studio/images/{GeneratedImage.objects.order_by('-pk')[1000].pk}/"):
        times = [fetch(client, path)[0] for _ in range(9)]
        rows.append((path[:16], f"median {median(times):.1f}, slowest {max(times):.1f} ms"))
    print_table(f"The gallery with {options.pictures:,} pictures", rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
