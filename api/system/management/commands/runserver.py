"""Serves while the code is worked on: gunicorn with its asgi worker, as start.sh does, loaded anew when a file changes.

Django's own runserver speaks WSGI, under which an event stream is buffered to its end.
"""

import os
import sys
from argparse import ArgumentParser

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.core.management.commands.runserver import naiveip_re
from django.db import DatabaseError, connections
from django.db.migrations.executor import MigrationExecutor

from api.system.addresses import why_not_to_listen


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("addrport", nargs="?", help="a port, or an address and a port (default: HOST and PORT)")
        parser.add_argument("--noreload", action="store_false", dest="reload", help="don't load the code anew when it changes")

    def handle(self, *args: object, addrport: str | None, reload: bool, **options: object) -> None:
        address = read_address(addrport)
        if warning := warn_of_migrations():
            self.stderr.write(warning, self.style.WARNING)
        host, _, port = address.rpartition(":")
        if sentence := why_not_to_listen(host.strip("[]"), int(port)):
            raise CommandError(sentence)
        os.chdir(settings.BASE_DIR)
        os.execv(sys.executable, server_command(address, reload=reload))  # noqa: S606


def read_address(addrport: str | None) -> str:
    """What gunicorn binds to. Raises CommandError."""
    host, port = settings.HOST, str(settings.PORT)
    if addrport:
        match = naiveip_re.match(addrport)
        if match is None:
            raise CommandError(f"{addrport!r} is not a port, nor an address and a port.")
        host, port = match["addr"] or host, match["port"]
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"


def warn_of_migrations() -> str:
    try:
        executor = MigrationExecutor(connections["default"])
        missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError:
        return "The database does not answer; `manage.py doctor` says more."
    finally:
        connections.close_all()
    return f"{len(missing)} migrations are not applied; run `manage.py migrate`." if missing else ""


def server_command(address: str, *, reload: bool) -> list[str]:
    command = [sys.executable, "-m", "gunicorn", "--config", "config/gunicorn.py", "--bind", address]
    command += ["--graceful-timeout", "5", *(["--reload"] if reload else [])]
    return [*command, "config.asgi:application"]
