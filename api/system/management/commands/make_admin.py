"""Makes the account for the admin pages where there is none, with a password that is printed this once (or ADMIN_PASSWORD)."""

import secrets
from argparse import ArgumentParser

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand
from django.db import IntegrityError

from config.env import env_secret


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--username", default="admin")

    def handle(self, *args: object, username: str, **options: object) -> None:
        users = get_user_model()._default_manager
        if users.filter(is_superuser=True, is_active=True).exists():
            return
        given = env_secret("ADMIN_PASSWORD")
        password = given or secrets.token_urlsafe(12)
        try:
            users.create_superuser(username, password=password)  # type: ignore[attr-defined]
        except IntegrityError:
            self.stderr.write(
                f"There is an account '{username}' that is no active administrator; give another name with --username."
            )
            raise SystemExit(1) from None
        shown = "the password in ADMIN_PASSWORD" if given else f"password {password}  (shown only now)"
        self.stdout.write(f"Admin account: {username}, {shown}")
