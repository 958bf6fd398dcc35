"""Makes pictures from the shell. A job in the history like any other: run by a worker that is alive, else by this process."""

import sys
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from django.core.management.base import BaseCommand
from tqdm import tqdm

from api.access.principals import LOCAL
from api.files.formats import FORMAT_NAMES, FORMAT_OF_SUFFIX
from api.files.models import StoredFile
from api.files.services import read_file
from api.files.storage import describe_place
from api.images.serializers import Txt2ImgSerializer
from api.jobs.api.submission import Submission
from api.jobs.models import Job
from api.jobs.states import Status
from api.system.command_jobs import checked, run_to_end


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("prompt")
        parser.add_argument("--out", type=Path, metavar="FILE", help="copy the picture there; a folder is fine too")
        parser.add_argument("--model", dest="model_id", metavar="ID")
        parser.add_argument("--negative", dest="negative_prompt", metavar="PROMPT")
        parser.add_argument("--steps", type=int)
        parser.add_argument("--guidance", dest="guidance_scale", type=float)
        parser.add_argument("--seed", type=int)
        parser.add_argument("--size", type=read_size, metavar="N or WxH", help="in pixels (default: the model's own)")
        parser.add_argument("--scheduler", metavar="NAME")
        parser.add_argument("--number", dest="num_images", type=int, metavar="N", help="of pictures, from consecutive seeds")
        parser.add_argument("--format", dest="output_format", choices=FORMAT_NAMES, help="default: what FILE ends in, else png")

    def handle(self, *args: object, out: Path | None, **options: object) -> None:
        submission = read_request(options, out)
        job = run_to_end(self, submission, follow_with_bar)
        self.report(job, out)

    def report(self, job: Job, out: Path | None) -> None:
        assert job.result is not None
        images = job.result["images"]
        for number, image in enumerate(images, start=1):
            file = StoredFile.objects.get(pk=image["id"])
            place = describe_place(file.name)
            if out is not None:
                copy = place_for(out, file, number if len(images) > 1 else 0)
                copy.write_bytes(read_file(file))
                place = str(copy)
            self.stdout.write(f"{place}  {image['width']}x{image['height']}, seed {image['seed']}")


def read_size(text: str) -> tuple[int, int]:
    sides = text.lower().split("x")
    if not 1 <= len(sides) <= 2 or not all(side.isascii() and side.isdigit() for side in sides):
        raise ArgumentTypeError("must be a number of pixels, or two as in 512x768")
    return int(sides[0]), int(sides[-1])


def read_request(options: dict[str, Any], out: Path | None) -> Submission:
    """Through the same serializer as a request over HTTP. Raises CommandError with what is wrong."""
    wanted = {name: value for name, value in options.items() if name in Txt2ImgSerializer().fields and value is not None}
    if options["size"]:
        wanted["width"], wanted["height"] = options["size"]
    if out is not None and "output_format" not in wanted:
        wanted["output_format"] = FORMAT_OF_SUFFIX.get(out.suffix.lower(), "png")
    return checked(Txt2ImgSerializer(data=wanted, context={"principal": LOCAL}))


def follow_with_bar(rows: Iterator[Job]) -> Job:
    """The last of them."""
    with tqdm(unit="step", file=sys.stderr) as bar:
        for now in rows:
            bar.set_description(now.progress.get("stage") or now.status, refresh=False)
            bar.total = now.progress.get("steps", now.params["steps"])
            bar.n = now.progress.get("step", 0) if now.status != Status.SUCCEEDED else bar.total
            bar.refresh()
    return now


def place_for(out: Path, file: StoredFile, number: int) -> Path:
    """`number` is 0 for the only picture. Folders are made as needed."""
    if out.is_dir() or not out.suffix:
        out = out / PurePosixPath(file.name).name
    elif number:
        out = out.with_stem(f"{out.stem}-{number}")
    out.parent.mkdir(parents=True, exist_ok=True)
    return out
