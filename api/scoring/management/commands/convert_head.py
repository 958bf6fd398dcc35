"""Makes a scorer's pickled weights (.pth) into safetensors, and prints the table with which a catalog offers it."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from api.catalog import is_model_id
from config.catalog import get_catalog


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE.pth")
        parser.add_argument("--id", help="the model's id in the catalog (default: from the file's name)")
        parser.add_argument("--base", help="the CLIP that a head stands on (default: one of the catalog's whose width fits)")
        parser.add_argument("--output", type=Path, help="the folder to write (default: heads/ID in the folder of models)")

    def handle(self, *args: Any, **options: Any) -> None:
        from api.loading.conversion import NotConvertible, convert

        model_id = options["id"] or id_of(options["file"])
        if not is_model_id(model_id):
            raise CommandError(f"{model_id!r} is no id: letters, digits, '_', '.', '-'.")
        if options["base"] and options["base"] not in get_catalog().models:
            raise CommandError(f"--base: there is no model '{options['base']}' in the catalog.")
        folder = options["output"] or settings.MODELS_DIR / "heads" / model_id.replace("/", "--")
        try:
            found = convert(options["file"], folder / "model.safetensors")
        except NotConvertible as error:
            raise CommandError(str(error)) from None
        except OSError as error:
            raise CommandError(f"{error.filename}: {error.strerror}") from None
        self.stdout.write(f"{options['file'].name} is a {found.layout}; written to {folder / 'model.safetensors'}")
        self.stdout.write("Put this into the file that CATALOG_EXTRA names:\n")
        self.stdout.write(table(model_id, folder.resolve(), found, options["base"]))


def id_of(file: Path) -> str:
    """'sac+logos+ava1-l14-linearMSE.pth' gives 'sac-logos-ava1-l14-linearMSE'."""
    return "".join(sign if (sign.isalnum() and sign.isascii()) or sign in "_.-" else "-" for sign in file.stem).strip("_.-")


def table(model_id: str, folder: Path, found: Any, base: str | None) -> str:
    lines = [f'[models."{model_id}"]', f'path = "{folder}"', f'task = "{found.task}"', f'family = "{found.family}"']
    if found.needs_base:
        hint = "" if base else f"  # or another CLIP with embeddings of {found.width}"
        lines.append(f'base = "{base or BASES.get(found.width, "")}"{hint}')
    return "\n".join([*lines, 'licence = "unknown"'])


BASES = {768: "clip-vit-large-patch14", 512: "clip-vit-base-patch32", 192: "starter-clip"}
"""Of the built-in catalog, by the width of their embeddings."""
