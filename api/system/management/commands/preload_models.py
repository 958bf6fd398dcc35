"""Fetches the weights of models before they are needed. What was half fetched goes on where it broke off."""

from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from api.catalog import ModelEntry, UnknownModel
from api.catalog.single_files import why_not
from api.chat.backend_selection import preferred_entry
from api.system.selectors import model_store
from config.catalog import get_catalog


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        which = parser.add_mutually_exclusive_group()
        which.add_argument("--models", nargs="+", metavar="ID", help="these (default: DEFAULT_IMAGE_MODEL)")
        which.add_argument("--all", action="store_true", help="everything in the catalog, which is more than 100 GB")

    def handle(self, *args: Any, **options: Any) -> None:
        everything = list(get_catalog().models)
        entries = find_entries(everything if options["all"] else options["models"] or [settings.DEFAULT_IMAGE_MODEL])
        failed = [entry.id for entry in entries if not self.preload(entry)]
        if failed:
            raise CommandError(f"{len(failed)} of {len(entries)} are not here: {', '.join(failed)}. The reasons are above.")

    def preload(self, entry: ModelEntry) -> bool:
        """Whether the model is here now; the reason goes to standard error where it is not."""
        from api.errors import DarkroomError

        store = model_store()
        try:
            if store.folder(entry) is None:
                fetch_with_bar(store, entry)
        except DarkroomError as error:
            self.stderr.write(f"{entry.id}: {error.detail} ({error.code})", self.style.ERROR)
            return False
        if reason := why_not(entry):
            self.stderr.write(f"{entry.id}: can't be loaded from {entry.path}: {reason}.", self.style.ERROR)
            return False
        self.stdout.write(f"{entry.id}: here, {store.size_on_disk(entry) / 1e9:.2f} GB at {store.folder(entry)}")
        return True


def find_entries(names: Sequence[str]) -> list[ModelEntry]:
    """All of them with those that they stand on, or a CommandError before anything is fetched."""
    catalog = get_catalog()
    try:
        wanted = [preferred_entry(part) for name in names for part in catalog.with_base(catalog.get(name))]
        return list({entry.id: entry for entry in wanted}.values())
    except UnknownModel as error:
        raise CommandError(str(error)) from None


def fetch_with_bar(store: Any, entry: ModelEntry) -> None:
    with tqdm(desc=entry.id, unit="B", unit_scale=True) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        store.fetch(entry, show)
