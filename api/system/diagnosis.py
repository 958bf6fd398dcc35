"""What `manage.py doctor` looks at. Each examination yields findings; torch is loaded by the one that tries the device.

A finding is `fine`, `note` (works, but worth knowing) or `wrong` (something would fail), and then says its cure.
"""

import importlib.util
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

import psutil
from django.conf import settings
from django.core.checks import WARNING, run_checks
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from api.access.services import any_key_exists
from api.catalog import CatalogError, UnknownModel
from api.catalog.single_files import why_not
from api.catalog.storages import STORAGES, why_no_storage
from api.files.storage import describe_storage, free_space, media_folder
from api.files.sweep import missing_files
from api.jobs.draining import draining_ids
from api.jobs.start_failures import start_failure
from api.library.diagnosis import examine_folders
from api.system.access_checks import is_loopback
from api.system.addresses import is_darkroom, reachable_name, why_not_to_listen
from api.system.broker_trial import try_broker
from api.system.checks import check_broker
from api.system.media_checks import AWAY_CURE, media_storage_messages, try_storage
from api.system.selectors import is_available, live_workers, model_store, queue_length, usable_workers
from api.system.versions import differences, newer_migrations
from api.system.worker_trial import DEVICE_CURE, DRIVER_CURE
from config.catalog import get_catalog
from config.failures import INSTALL, database_failure

Level = Literal["fine", "note", "wrong"]
OLDEST_PYTHON = (3, 11)
MISSING_SHOWN = 3
WORKER_COMMANDS = {
    "embedded": "./start.sh",
    "external": ".venv/bin/python manage.py worker",
    "celery": ".venv/bin/celery -A config worker",
}


@dataclass(frozen=True)
class Finding:
    level: Level
    text: str
    cure: str = ""


def fine(text: str) -> Finding:
    return Finding("fine", text)


def note(text: str, cure: str = "") -> Finding:
    return Finding("note", text, cure)


def wrong(text: str, cure: str) -> Finding:
    return Finding("wrong", text, cure)


def bytes_text(size: float) -> str:
    """'21.7 MB', '7.5 GB': with the unit that leaves something before the point."""
    for unit, least in (("GB", 1e9), ("MB", 1e6)):
        if size >= least:
            return f"{size / least:.1f} {unit}"
    return f"{size / 1e3:.1f} kB"


# ---------------------------------------------------------------- the machine


def examine_machine() -> Iterator[Finding]:
    python = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.version_info < OLDEST_PYTHON:
        yield wrong(python, "Darkroom needs Python 3.11 or newer: make the virtual environment with one.")
    else:
        yield fine(python)
    memory = psutil.virtual_memory()
    yield fine(
        f"{psutil.cpu_count()} processors, {bytes_text(memory.total)} of memory, {bytes_text(memory.available)} of it free"
    )


def examine_device() -> Iterator[Finding]:
    for package in ("torch", "diffusers", "transformers"):
        if importlib.util.find_spec(package) is None:
            yield wrong(f"{package} is not installed: no model can run here.", f"{INSTALL} requirements.txt")
            return
    import torch

    from api.devices import DeviceUnavailable, dtype_name, probe_device

    try:
        device = probe_device(settings.DEVICE)
    except DeviceUnavailable as error:
        yield wrong(str(error), DEVICE_CURE)
        return
    except Exception as error:
        yield wrong(f"PyTorch can't use this device: {error}", DRIVER_CURE)
        return
    yield fine(f"PyTorch {torch.__version__} on {device.type}: {device.name}, {bytes_text(device.memory_total)}")
    yield from examine_storages()
    if device.runs_in_slow_fp32:
        yield note(f"{device.name} has no fast half precision: models run in float32, slowly and with twice the memory.")
    else:
        yield fine(f"Models run in {dtype_name(device.dtype)} ({device.dtype_reason})")
    if settings.DEVICE == "auto" and device.type == "cpu" and shutil.which("nvidia-smi"):
        cure = "Install PyTorch's CUDA build (pytorch.org/get-started); if it is installed, check that `nvidia-smi` runs."
        yield wrong("This machine has an NVIDIA driver, and PyTorch does not see a GPU.", cure)


def examine_storages() -> Iterator[Finding]:
    """In what weights can be kept; what is missing is no fault."""
    usable = [name for name in STORAGES if not why_no_storage(name)]
    missing = "".join(f"; {name} needs the package {STORAGES[name]}" for name in STORAGES if name not in usable)
    yield fine(f"Weights can be kept in {', '.join(usable)} (`storage` in the catalog){missing}")


def examine_storage() -> Iterator[Finding]:
    """A storage elsewhere is tried out; where the settings' check has said why it can't be made, it says no more."""
    if list(media_storage_messages()) or media_folder() is not None:
        return
    try:
        refusal = try_storage()
    except OSError as error:
        yield wrong(error.strerror or str(error), AWAY_CURE)
        return
    if refusal:
        yield wrong(refusal, "MEDIA_STORAGE_OPTIONS has its settings.")
    else:
        yield fine(f"The storage of pictures ({describe_storage()}) is written to and read")


def examine_disk() -> Iterator[Finding]:
    yield from examine_storage()
    free, floor, folder = free_space(), settings.MIN_FREE_DISK_BYTES, media_folder()
    if free is None:
        yield fine("Pictures and database are kept elsewhere; no disk of this machine fills")
        return
    where = f"{bytes_text(free)} free for {f'pictures in {folder}' if folder else 'the database here'}"
    if free < floor:
        yield wrong(
            f"{where}: below MIN_FREE_DISK_BYTES ({bytes_text(floor)}), so requests are refused (507).", "Free some space."
        )
    else:
        yield fine(where)


# ---------------------------------------------------------------- settings and database


def examine_settings() -> Iterator[Finding]:
    messages = run_checks(include_deployment_checks=True)
    for message in messages:
        if message.is_silenced():
            continue
        text = f"{message.msg} ({message.id})"
        yield wrong(text, message.hint or "") if message.is_serious(WARNING + 1) else note(text, message.hint or "")
    if not any(message.is_serious(WARNING) and not message.is_silenced() for message in messages):
        yield fine("Settings: nothing to complain about")
    token = "is set" if settings.HF_TOKEN else "is not set; only gated models and the hub's own inference need it"
    yield fine(f"HF_TOKEN {token}")


def examine_database() -> Iterator[Finding]:
    try:
        connection.ensure_connection()
        plan = pending_migrations()
    except DatabaseError as error:
        yield wrong(database_failure(error) or f"The database does not answer: {error}", "")
        return
    yield fine(f"{connection.display_name} {'.'.join(map(str, connection.get_database_version()))} answers")
    if plan:
        yield wrong(f"{plan} migrations are not applied.", ".venv/bin/python manage.py migrate")
        return
    yield fine("Every migration is applied")
    yield from examine_versions()
    yield from examine_workers()
    yield from examine_broker()
    yield from examine_files()
    if not is_loopback(settings.HOST) and not any_key_exists():
        yield note("No API key exists: only this machine itself can use the API.", ".venv/bin/python manage.py create_key NAME")


def pending_migrations() -> int:
    executor = MigrationExecutor(connection)
    return len(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def examine_versions() -> Iterator[Finding]:
    if newer := newer_migrations():
        text = f"The database was migrated by a newer version ({newer[-1]}): this one works on its tables for as long as a restart takes."
        yield note(text, "Start the newer version here, too.")
    for sentence in differences():
        yield note(
            sentence, "Start it again with this version and the same settings, or wait until a rolling restart has come to it."
        )


def examine_workers() -> Iterator[Finding]:
    queue = queue_length()
    waiting = f"{queue['queued']} jobs wait, {queue['running']} run"
    failure = start_failure()
    if failure:
        yield wrong(
            f"The worker that was started last could not start: {failure}", "Correct that, then start the server again."
        )
    alive = live_workers()
    workers = usable_workers(alive, failure, draining_ids(alive))
    for worker in workers:
        loaded = ", ".join(model["id"] for model in worker.loaded_models) or "no model"
        yield fine(f"Worker {worker} is {worker.state} with {loaded} in memory; {waiting}")
    if not workers and queue["queued"] + queue["running"]:
        yield wrong(f"No worker is alive, and {waiting}.", WORKER_COMMANDS[settings.JOB_RUNNER])
    elif not workers:
        starts = " The server starts one." if settings.JOB_RUNNER == "embedded" else ""
        yield note(f"No worker is alive.{starts}", WORKER_COMMANDS[settings.JOB_RUNNER])


def examine_broker() -> Iterator[Finding]:
    """Without it wake-ups are lost, and workers find rows by their sweep alone."""
    if settings.JOB_RUNNER != "celery" or list(check_broker()):
        return  # not used; or the settings' check has said why it can't be
    trial = try_broker(settings.CELERY_BROKER_URL)
    yield wrong(trial.sentence, trial.cure) if trial.reason else fine(trial.sentence)


def examine_files() -> Iterator[Finding]:
    try:
        missing = [str(file.pk) for file in islice(missing_files(), MISSING_SHOWN + 1)]
    except OSError:
        return  # the storage itself is what is wrong, and was told
    if missing:
        more = " and more" if len(missing) > MISSING_SHOWN else ""
        where = media_folder()
        mount = f"If a disk is not mounted at {where}, mount it" if where else "If the storage is not complete, mend it"
        cure = f"{mount}; else delete these pictures in the admin."
        yield wrong(f"Pictures whose file is gone: {', '.join(missing[:MISSING_SHOWN])}{more}", cure)


# ---------------------------------------------------------------- models and the server


def examine_models() -> Iterator[Finding]:
    try:
        catalog = get_catalog()
        default = catalog.get(settings.DEFAULT_IMAGE_MODEL)
    except CatalogError:
        return  # the settings' check says it already
    except UnknownModel as error:
        if settings.LIBRARY_DIRS:  # else the settings' check says it already
            yield wrong(f"DEFAULT_IMAGE_MODEL: {error}", "Name a model that `manage.py library list` shows.")
        return
    store = model_store()
    here = [entry for entry in catalog.models.values() if store.available(entry)]
    weights = [f"{entry.id} ({bytes_text(store.size_on_disk(entry))})" if entry.parameters else entry.id for entry in here]
    sizes = ", ".join(weights) or "none"
    yield fine(f"{len(catalog.models)} models in the catalog; here: {sizes}")
    for entry in here:
        if reason := why_not(entry):
            yield wrong(f"{entry.id} can't be loaded from {entry.path}: {reason}.", "Correct its table in the catalog.")
    fetch = f".venv/bin/python manage.py preload_models --models {default.id}"
    if not is_available(default):
        yield note(f"DEFAULT_IMAGE_MODEL {default.id} is not here: the first request fetches it.", fetch)
    memory = psutil.virtual_memory().total
    if default.memory > memory:
        yield wrong(
            f"DEFAULT_IMAGE_MODEL {default.id} takes {bytes_text(default.memory)}; this machine has {bytes_text(memory)}.",
            "Choose a smaller DEFAULT_IMAGE_MODEL.",
        )


def examine_library() -> Iterator[Finding]:
    """Looks at the folders themselves: the rows may be those of the last scan."""
    for finding in examine_folders():
        if finding.is_wrong:
            yield wrong(finding.text, finding.cure)
        else:
            yield note(finding.text, finding.cure) if finding.cure else fine(finding.text)


def examine_port() -> Iterator[Finding]:
    host = settings.HOST if is_loopback(settings.HOST) else "127.0.0.1"
    if is_darkroom(host, settings.PORT):
        yield fine(f"Darkroom answers at http://{reachable_name(host)}:{settings.PORT}/")
    elif sentence := why_not_to_listen(settings.HOST, settings.PORT):
        yield wrong(sentence, "")
    else:
        yield fine(f"Nothing listens at {settings.HOST}:{settings.PORT}: ./start.sh can")


EXAMINATIONS: dict[str, Callable[[], Iterator[Any]]] = {
    "Machine": examine_machine,
    "Device": examine_device,
    "Disk": examine_disk,
    "Settings": examine_settings,
    "Database and jobs": examine_database,
    "Models": examine_models,
    "Library": examine_library,
    "Server": examine_port,
}
