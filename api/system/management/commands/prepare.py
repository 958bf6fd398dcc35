"""What `./start.sh` does before the server starts: tables, the admin account, a key where one is needed. Safe to run again."""

from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand

from api.access.services import any_key_exists, create_key

LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Command(BaseCommand):
    help = __doc__

    def handle(self, *args: Any, **options: Any) -> None:
        call_command("migrate", verbosity=0)
        call_command("make_admin")
        if settings.HOST not in LOOPBACK and not any_key_exists():
            _, token = create_key(name="first key", scopes=["read", "submit", "staff"])
            self.stdout.write(f"API key (shown this once): {token}")
        host = "localhost" if settings.HOST in (*LOOPBACK, "0.0.0.0", "::") else settings.HOST  # noqa: S104
        address = f"http://{host}:{settings.PORT}"
        self.stdout.write(f"Darkroom  {address}/\n  admin   {address}/admin/\n  API     {address}/api/docs/")
