"""Makes pickled weights (.ckpt, .pt, .pth, .pth.tar) into safetensors, without running code of the file, and prints the table with
which a catalog offers them: checkpoints, VAEs, LoRAs, embeddings and upscalers for pictures, scorers, hazard models."""

import shutil
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
        parser.add_argument("file", type=Path, metavar="FILE")
        parser.add_argument("--id", help="the model's id in the catalog (default: from the file's name)")
        parser.add_argument("--base", help="the CLIP that a head stands on (default: one of the catalog's whose width fits)")
        parser.add_argument("--cells", type=Path, help="the cells.json of a hazard model: checked, and put beside the weights")
        parser.add_argument("--output", type=Path, help="the folder to write (default: one in the folder of models)")

    def handle(self, *args: Any, **options: Any) -> None:
        from api.loading.conversion import NotConvertible, read_checkpoint, write_checkpoint
        from api.loading.hazard_cells import InvalidCells

        source, cells, base = options["file"], options["cells"], options["base"]
        model_id = options["id"] or id_of(source)
        if not is_model_id(model_id):
            raise CommandError(f"{model_id!r} is no id: letters, digits, '_', '.', '-'.")
        if base and base not in get_catalog().models:
            raise CommandError(f"--base: there is no model '{base}' in the catalog.")
        try:
            found = read_checkpoint(source)
            target = target_of(model_id, found, options["output"])
            if cells:
                check_cells(cells, found)
            write_checkpoint(found, target)
        except NotConvertible as error:
            raise CommandError(str(error)) from None
        except InvalidCells as error:
            raise CommandError(f"--cells: {error}.") from None
        except OSError as error:
            raise CommandError(f"{error.filename}: {error.strerror}") from None
        self.stdout.write(f"{source.name} is {article(found.layout)} {found.layout}; written to {target}")
        if found.outputs is not None:
            self.stdout.write(add_cells(cells, target.parent))
        if found.kind in WITHOUT_TABLE:
            self.stdout.write(WITHOUT_TABLE[found.kind])
        else:
            self.stdout.write("Put this into the file that CATALOG_EXTRA names:\n")
            path = target if found.kind else target.parent
            self.stdout.write(table(model_id, path.resolve(), found, base))


def target_of(model_id: str, found: Any, output: Path | None) -> Path:
    """The file to write. A file that is a model by itself has the model's name."""
    name = model_id.replace("/", "--")
    if found.kind:
        return (output or settings.MODELS_DIR / "single-files") / f"{name}.safetensors"
    return (output or settings.MODELS_DIR / "heads" / name) / "model.safetensors"


def check_cells(file: Path, found: Any) -> None:
    """Raises InvalidCells, or OSError where there is no such file."""
    from api.loading.hazard_cells import InvalidCells, read_cells

    if found.outputs is None:
        raise InvalidCells(f"a {found.layout} has no cells")
    file.stat()
    read_cells(file).check_outputs(found.outputs)


def add_cells(file: Path | None, folder: Path) -> str:
    """Puts cells.json beside the weights; says so, or what is still to be done."""
    from api.loading.hazard_cells import FILE

    if file is None:
        return f"Put a {FILE} beside it (--cells does): the size of the reference picture, the boxes of the cells, and the classes."
    shutil.copyfile(file, folder / FILE)
    return f"{file.name} fits it; written to {folder / FILE}"


def article(layout: str) -> str:
    return "an" if layout[0].lower() in "aeiou" else "a"


def id_of(file: Path) -> str:
    """'sac+logos+ava1-l14-linearMSE.pth' gives 'sac-logos-ava1-l14-linearMSE'."""
    stem = file.stem.removesuffix(".pth")  # of .pth.tar
    return "".join(sign if (sign.isalnum() and sign.isascii()) or sign in "_.-" else "-" for sign in stem).strip("_.-")


TABLES = {"lora": "adapters", "embedding": "embeddings"}
WITHOUT_TABLE = {
    "vae": "Name it as `vae` in a model's table of the file that CATALOG_EXTRA names.",
}


def table(model_id: str, folder: Path, found: Any, base: str | None) -> str:
    lines = [f'[{TABLES.get(found.kind, "models")}."{model_id}"]', f'path = "{folder}"', f'family = "{found.family}"']
    if not found.kind or found.kind == "upscaler":
        lines.append(f'task = "{found.task}"')
    if found.needs_base:
        hint = "" if base else f"  # or another CLIP with embeddings of {found.width}"
        lines.append(f'base = "{base or BASES.get(found.width, "")}"{hint}')
    return "\n".join(lines if found.kind == "embedding" else [*lines, 'licence = "unknown"'])


BASES = {768: "clip-vit-large-patch14", 512: "clip-vit-base-patch32", 192: "starter-clip"}
"""Of the built-in catalog, by the width of their embeddings."""
