"""What `./start.sh` does before the server starts: tables, the admin account, a key where one is needed. Safe to run again,
and by several processes at once.

What would keep the server from working is said before anything is changed: a sentence for each thing, and exit status 1.
"""

from collections.abc import Iterator

from django.conf import settings
from django.core.checks import WARNING, run_checks
from django.core.management import call_command
from django.core.management.base import BaseCommand
from django.db import Error, connection

from api.access.services import any_key_exists, create_key
from api.jobs.start_failures import forget_start_failures
from api.system.addresses import LOOPBACK, why_not_to_listen
from api.system.broker_trial import try_broker
from api.system.media_checks import describe_absence, try_storage
from api.system.migration_lock import migration_lock
from api.system.worker_trial import device_failure
from config.failures import database_failure, postgres_failure


class Command(BaseCommand):
    help = __doc__
    requires_system_checks = []  # run in `obstacles`, which says them in its own form

    def handle(self, *args: object, **options: object) -> None:
        found = list(self.obstacles())
        for sentence in found:
            self.stderr.write(f"Darkroom can't start: {sentence}", self.style.ERROR)
        if found:
            raise SystemExit(1)
        call_command("migrate", verbosity=0, skip_checks=True)
        forget_start_failures()
        with migration_lock():
            self.make_first_account_and_key()

    def make_first_account_and_key(self) -> None:
        call_command("make_admin", stdout=self.stdout, stderr=self.stderr)
        if settings.HOST not in LOOPBACK and not any_key_exists():
            _, token = create_key(name="first key", scopes=["read", "submit", "staff"])
            self.stdout.write(f"API key (shown this once): {token}")

    def obstacles(self) -> Iterator[str]:
        """Warnings are written as they are found; they stop nothing."""
        found = run_checks()
        for message in found:
            sentence = f"{message.msg} {message.hint or ''}".strip()
            if message.is_silenced():
                continue
            if message.is_serious():
                yield sentence
            elif message.level >= WARNING:
                self.stderr.write(f"Note: {sentence}", self.style.WARNING)
        if sentence := why_not_to_listen(settings.HOST, settings.PORT):
            yield sentence
        if sentence := why_no_database():
            yield sentence
        if not any(message.is_serious() for message in found):
            yield from self.why_no_storage()
            self.try_broker()
        if settings.JOB_RUNNER == "embedded" and settings.LOAD_MODELS and (sentence := device_failure(settings.DEVICE)):
            yield sentence

    def try_broker(self) -> None:
        """One that is away stops nothing: it costs time, never a job."""
        if settings.JOB_RUNNER == "celery":
            trial = try_broker(settings.CELERY_BROKER_URL)
            if trial.reason:
                self.stderr.write(f"Note: {trial.sentence} {trial.cure}", self.style.WARNING)

    def why_no_storage(self) -> Iterator[str]:
        """One that is away for a moment stops nothing: requests that need it are answered with 503 until it is back."""
        try:
            if sentence := try_storage():
                yield sentence
        except OSError as error:
            self.stderr.write(f"Note: {describe_absence(error)}", self.style.WARNING)


def why_no_database() -> str:
    if connection.vendor == "postgresql":
        return postgres_failure(connection)
    try:
        with connection.cursor() as cursor:  # writes: a file that may only be read is opened without an error
            cursor.execute("PRAGMA user_version = 0")
    except Error as error:
        sentence = database_failure(error)
        if sentence is None:
            raise
        return sentence
    return ""
