"""manage.py create_key NAME: makes an API key and prints its token, once."""

import argparse
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.utils import timezone

from api.access.models import default_scopes
from api.access.scopes import MAX_WEIGHT, SCOPES
from api.access.services import any_key_exists, create_key
from api.quotas import FORM, read_quotas


def positive(text: str) -> int:
    number = int(text)
    if not 0 < number <= 36_500:
        raise argparse.ArgumentTypeError("must be between 1 and 36500")
    return number


def weight(text: str) -> int:
    number = int(text)
    if not 1 <= number <= MAX_WEIGHT:
        raise argparse.ArgumentTypeError(f"must be between 1 and {MAX_WEIGHT}")
    return number


class Command(BaseCommand):
    help = "Makes an API key and prints its token. The token can't be shown again."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("name", help="who or what will use the key")
        parser.add_argument(
            "--scope",
            action="append",
            choices=SCOPES,
            dest="scopes",
            help=f"may be given more than once; without it {' and '.join(default_scopes())}. staff "
            "includes read and submit; priority puts jobs of a priority above 0 before those of all other keys",
        )
        parser.add_argument("--expires", type=positive, metavar="DAYS", help="the key ends after so many days")
        parser.add_argument("--quota", type=positive, metavar="N", help="queued and running jobs at once")
        parser.add_argument(
            "--limit",
            action="append",
            default=[],
            dest="limits",
            metavar="NAME=N",
            help=f"what it may use in a day or a month (UTC), or keep; may be given more than once: {FORM}",
        )
        parser.add_argument(
            "--weight",
            type=weight,
            default=1,
            metavar="N",
            help="its share of the workers beside other keys' waiting jobs; 2 gets twice as much as 1, the default",
        )
        parser.add_argument("--if-none", action="store_true", help="do nothing where there is a key already")

    @transaction.atomic
    def handle(self, *args: Any, **options: Any) -> None:
        if options["if_none"] and any_key_exists():
            self.stderr.write("There is a key already.")
            return
        days = options["expires"]
        try:
            quotas = read_quotas(options["limits"])
        except ValueError as error:
            raise CommandError(str(error)) from None
        key, token = create_key(
            name=options["name"][:100],
            scopes=options["scopes"],
            expires_at=timezone.now() + timedelta(days=days) if days else None,
            max_active_jobs=options["quota"],
            weight=options["weight"],
            quotas=quotas,
        )
        self.stderr.write(f"Key '{key.name}' ({', '.join(key.scopes)}). Keep the token now; it can't be shown again:")
        self.stdout.write(token)
