"""Writes a chat model in ONNX, which is faster on a processor. From then on it answers so, unless a request asks for pytorch."""

import dataclasses
import json
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from api.catalog import ModelEntry, UnknownModel
from api.system.management.commands.preload_models import fetch_with_bar
from api.system.selectors import model_store
from config.catalog import CHAT_TASKS, get_catalog


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("model", help="its id in the catalog")
        parser.add_argument("--precision", choices=["fp32", "fp16", "int8", "int4"], default="int8", help="(default: int8)")
        parser.add_argument("--output", type=Path, metavar="DIR", help="another folder, which the server does not look into")

    def handle(self, *args: Any, **options: Any) -> None:
        from api.errors import DarkroomError

        entry = find_entry(options["model"])
        try:
            folder = self.fetched(entry)
        except DarkroomError as error:
            raise CommandError(f"{entry.id}: {error.detail} ({error.code})") from None
        self.export(entry, folder, options["precision"], options["output"])

    def fetched(self, entry: ModelEntry) -> Path:
        store = model_store()
        if store.folder(entry) is None:
            fetch_with_bar(store, entry)
        folder: Path = store.folder(entry)
        return folder

    def export(self, entry: ModelEntry, folder: Path, precision: str, output: Path | None) -> None:
        from api.chat.export import VARIANTS, ExportError, export_onnx
        from api.downloads.onnx_exports import export_folder, report_file
        from api.errors import DarkroomError

        target = output or export_folder(settings.MODELS_DIR, entry)
        assert target is not None  # it has weights, and so a revision
        report = report_file(target, VARIANTS[precision])
        if output is None and report.is_file():
            self.stdout.write(f"{entry.id} is there in {precision} already: {target}")
            return
        started = time.monotonic()
        with tqdm(desc=entry.id, total=100, bar_format="{desc}: {percentage:3.0f}% {bar} {postfix}") as bar:

            def show(fraction: float, text: str) -> None:
                bar.set_postfix_str(text)
                bar.update(round(100 * fraction) - bar.n)

            try:
                found = export_onnx(folder, target, precision, task=entry.task, on_progress=show)[precision]
            except (ExportError, DarkroomError) as error:
                raise CommandError(f"{entry.id}: {error}") from None
        report.write_text(json.dumps({"model": entry.id, "precision": precision, **dataclasses.asdict(found)}, indent=1))
        size = sum(file.stat().st_size for file in (target / "onnx").iterdir()) / 1e6
        self.stdout.write(f"Against PyTorch in fp32: {found}.")
        self.stdout.write(f"{target}: {size:.0f} MB in all, in {time.monotonic() - started:.0f} s.")


def find_entry(name: str) -> ModelEntry:
    try:
        entry = get_catalog().get(name)
    except UnknownModel as error:
        raise CommandError(str(error)) from None
    if entry.task not in CHAT_TASKS:
        raise CommandError(f"{entry.id} doesn't chat (its task is {entry.task}).")
    if entry.onnx_variant:
        raise CommandError(f"{entry.id} is in ONNX already.")
    return dataclasses.replace(entry, precision="fp32")
