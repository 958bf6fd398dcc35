"""Captions the pictures of a folder with a chat model, into JSON Lines or CSV. Stopped or killed, a second run goes on.

Each picture is a chat like any other: in the history, and run by a worker that is alive, else by this process. Several are under way
at once, and the model writes their answers together. A picture that can't be captioned has its reason in its row; delete that row to
have it tried again.
"""

import sys
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from rest_framework.exceptions import ValidationError
from tqdm import tqdm

from api.access.principals import LOCAL
from api.chat.backend_selection import select
from api.chat.caption_files import SUFFIXES, CaptionFile, CaptionsError
from api.chat.messages import CAPTION_QUESTION, DETAILS
from api.chat.python_api import messages_of, store_picture
from api.chat.serializers import ChatSerializer
from api.chat.spec import BACKENDS
from api.errors import DarkroomError
from api.files.errors import InvalidImage
from api.files.formats import FORMAT_OF_SUFFIX
from api.jobs.api.submission import submit
from api.jobs.lifecycle import cancel_job
from api.jobs.models import Job
from api.jobs.states import Status
from api.problems import field_errors
from api.system.command_jobs import INTERRUPTED, NoWorkerLeftError, Watch, a_worker, checked

PICTURES = frozenset({*FORMAT_OF_SUFFIX, ".gif", ".bmp", ".tif", ".tiff", ".heic", ".avif"})
"""What is taken for a picture by its name; those that this server doesn't read have a row that says so."""
FULL = (429, 503)


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("folder", type=Path)
        parser.add_argument("--output", type=Path, metavar="FILE", help=".jsonl or .csv (default: captions.jsonl in FOLDER)")
        parser.add_argument("--question", default=CAPTION_QUESTION, help=f"default: {CAPTION_QUESTION}")
        parser.add_argument("--system", metavar="TEXT", help="a system message before it")
        parser.add_argument("--model", metavar="ID", help="default: DEFAULT_CHAT_MODEL")
        parser.add_argument("--backend", choices=BACKENDS)
        parser.add_argument("--detail", choices=DETAILS, default="auto", help="how closely a picture is looked at")
        parser.add_argument("--max-tokens", type=int, metavar="N")
        parser.add_argument("--temperature", type=float, default=0.0, metavar="T", help="default: 0, the likeliest words")
        parser.add_argument("--recursive", action="store_true", help="the folders in it too")
        parser.add_argument("--at-once", type=count, default=4, metavar="N", help="pictures under way (default: 4)")

    def handle(self, *args: Any, folder: Path, output: Path | None, at_once: int, **options: Any) -> None:
        if not folder.is_dir():
            raise CommandError(f"{folder} is no folder.")
        check_model(options)
        output = output or folder / "captions.jsonl"
        if output.suffix.lower() not in SUFFIXES:
            raise CommandError(f"--output must end in {' or '.join(SUFFIXES)}.")
        captions = open_captions(output)
        try:
            pictures = find_pictures(folder, recursive=options["recursive"])
            left = [name for name in pictures if name not in captions.done]
            self.stderr.write(f"{len(pictures)} pictures in {folder}, {len(pictures) - len(left)} of them have their row.")
            failed = self.caption(Captioner(folder, captions, options), left, at_once) if left else 0
        finally:
            captions.close()
        self.stdout.write(str(output))
        if failed:
            self.stderr.write(f"{failed} could not be captioned; the column `error` says why.", self.style.WARNING)

    def caption(self, captioner: "Captioner", names: list[str], at_once: int) -> int:
        """How many could not be."""
        with (
            a_worker(self.stderr.write),
            Watch() as watch,
            tqdm(total=len(names), unit="picture", file=sys.stderr) as bar,
        ):
            try:
                for row in captioner.run(names, at_once, watch):
                    captioner.captions.add(row)
                    bar.update()
            except KeyboardInterrupt:
                raise CommandError("Stopped. The same command goes on where this ended.", returncode=INTERRUPTED) from None
            except NoWorkerLeftError:
                raise CommandError("The worker is gone. The same command goes on where this ended.") from None
            except DarkroomError as problem:
                raise CommandError(problem.detail) from None
            finally:
                captioner.cancel()
        return captioner.failed


class Captioner:
    """Keeps some chats under way, and gives the row of each as it ends."""

    def __init__(self, folder: Path, captions: CaptionFile, options: dict[str, Any]) -> None:
        self.folder, self.captions, self.options = folder, captions, options
        self.waiting: dict[str, Job] = {}
        self.failed = 0

    def run(self, names: list[str], at_once: int, watch: Watch) -> Iterator[dict[str, Any]]:
        """Raises DarkroomError where the server can't take more, NoWorkerLeftError, KeyboardInterrupt."""
        left = names[::-1]
        while left or self.waiting:
            while left and len(self.waiting) < at_once and (taken := self.begin(left[-1])) is not None:
                name = left.pop()
                if isinstance(taken, Job):
                    self.waiting[name] = taken
                else:
                    self.failed += 1
                    yield {"file": name, "error": taken}
                    watch.heed()
            yield from self.ended()
            if self.waiting:
                watch.wait()

    def begin(self, name: str) -> Job | str | None:
        """Its chat, or what is wrong with the picture; None where the queue is full for now."""
        try:
            picture = store_picture(self.folder / name)
            submission = chat_about(picture, self.options)
            return submit(submission, principal=LOCAL, source="command")
        except InvalidImage as error:
            return error.detail
        except OSError as error:
            return f"The file can't be read: {error.strerror}."
        except DarkroomError as problem:
            if problem.status in FULL and self.waiting:
                return None
            raise

    def ended(self) -> Iterator[dict[str, Any]]:
        names = {job.pk: name for name, job in self.waiting.items()}
        for job in Job.objects.filter(pk__in=names):
            if job.is_final:
                name = names.pop(job.pk)
                del self.waiting[name]
                yield self.row(name, job)
            else:
                names.pop(job.pk)
        for name in names.values():
            del self.waiting[name]
            yield self.row(name, None)

    def row(self, name: str, job: Job | None) -> dict[str, Any]:
        if job is not None and job.status == Status.SUCCEEDED and job.result is not None:
            choice = job.result["choices"][0]
            completion = {column: choice[column] for column in ("finish_reason", "completion_tokens")}
            where = {"model": job.result["model"], "backend": job.result["backend"], "job": str(job.pk)}
            return {"file": name, "caption": choice["text"], **completion, **where}
        self.failed += 1
        if job is None:
            return {"file": name, "error": "Its job was deleted."}
        reason = job.error["detail"] if job.error else f"Its job was {job.status}."
        return {"file": name, "error": reason, "model": job.model_id, "job": str(job.pk)}

    def cancel(self) -> None:
        """What is still under way: nobody waits for it any more."""
        for job in Job.objects.filter(pk__in=[job.pk for job in self.waiting.values()]):
            cancel_job(job=job)


def check_model(options: dict[str, Any]) -> None:
    """What is wrong with every picture alike is told before the first. Raises CommandError."""
    try:
        selection = select(options["model"], options["backend"] or "auto")
    except ValidationError as error:
        raise CommandError(
            "\n".join(f"--{wrong['field']}: {wrong['detail']}" for wrong in field_errors(error.detail))
        ) from None
    except DarkroomError as problem:
        raise CommandError(problem.detail) from None
    if not selection.accepts_images:
        raise CommandError(f"'{selection.model}' reads text only; it can't see pictures.")
    checked(ChatSerializer(data=request_for([], options), context={"principal": LOCAL}))


def chat_about(picture: object, options: dict[str, Any]) -> Any:
    return checked(ChatSerializer(data=request_for([picture], options), context={"principal": LOCAL}))


def request_for(pictures: list[Any], options: dict[str, Any]) -> dict[str, object]:
    said = {name: options[name] for name in ("model", "backend", "max_tokens", "temperature")}
    return {
        **said,
        "messages": messages_of(options["question"], pictures, system=options["system"], detail=options["detail"]),
        "metadata": {"command": "caption"},
    }


def open_captions(path: Path) -> CaptionFile:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return CaptionFile(path)
    except CaptionsError as error:
        raise CommandError(str(error)) from None
    except OSError as error:
        raise CommandError(f"{path} can't be written: {error.strerror}.") from None


def find_pictures(folder: Path, *, recursive: bool) -> list[str]:
    """Paths within the folder, in order; hidden files are none of them."""
    found = (path.relative_to(folder) for path in (folder.rglob("*") if recursive else folder.iterdir()))
    return sorted(
        path.as_posix()
        for path in found
        if path.suffix.lower() in PICTURES
        and not any(part.startswith(".") for part in path.parts)
        and (folder / path).is_file()
    )


def count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 256):
        raise ArgumentTypeError("must be a whole number from 1 to 256")
    return int(text)
