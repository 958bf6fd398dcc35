"""Adds what this process has counted to the totals in the database, every some seconds: no write for each thing that is counted."""

import atexit
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping

from django.db import connection, transaction

from api.jobs.api.database_calls import give_back_connection
from api.jobs.errors import CONNECTION_ERRORS
from api.jobs.store.durability import atomic_without_sync
from api.jobs.store.statements import is_postgres, run
from api.metric_definitions import Key, give_back, take_grown
from api.system.models import MetricTotal

log = logging.getLogger("darkroom.server")
INTERVAL_SECONDS = 10.0

_started = threading.Lock()


def ensure_adding(*besides: Callable[[], object]) -> None:
    """In each process that counts: a thread that adds, and once more when the process ends. `besides`: what else it does each time."""
    if _started.acquire(blocking=False):
        threading.Thread(target=add_for_good, args=besides, name="totals", daemon=True).start()
        atexit.register(add_quietly)


def add_for_good(*besides: Callable[[], object]) -> None:
    while True:
        time.sleep(INTERVAL_SECONDS)
        add_quietly(*besides)


def add_quietly(*besides: Callable[[], object]) -> None:
    try:
        add_counted()
        for each in besides:
            each()
    except CONNECTION_ERRORS:
        log.debug("What was counted is added later", exc_info=True)
        connection.close()
    finally:
        give_back_connection()


def add_counted() -> None:
    """What this process has counted since the last time; kept where the database doesn't answer."""
    growth = take_grown()
    if not growth:
        return
    try:
        with atomic_without_sync(), transaction.atomic():
            add_to_totals(growth)
    except BaseException:
        give_back(growth)
        raise


def add_to_totals(growth: Mapping[Key, float]) -> None:
    """In the caller's transaction, and in one order everywhere: two of them never wait for each other."""
    rows = sorted((name, json.dumps(labels), part, value) for (name, labels, part), value in growth.items())
    run(upsert(), [json.dumps(rows)])


def upsert() -> str:
    """The rows come in one parameter, so that the statement is the same however many there are."""
    table, each = MetricTotal._meta.db_table, "jsonb_array_elements(%s::jsonb)" if is_postgres() else "json_each(%s)"
    value = "(row.value ->> 3)::double precision" if is_postgres() else "row.value ->> 3"
    return f"""INSERT INTO {table} (name, labels, part, value)
        SELECT row.value ->> 0, row.value ->> 1, row.value ->> 2, {value} FROM {each} AS row WHERE TRUE
        ON CONFLICT (name, labels, part) DO UPDATE SET value = {table}.value + excluded.value RETURNING 1"""  # noqa: S608


def read_totals() -> Iterator[tuple[str, tuple[str, ...], str, float]]:
    for name, labels, part, value in MetricTotal.objects.order_by("name", "labels").values_list(
        "name", "labels", "part", "value"
    ):
        yield name, tuple(json.loads(labels)), part, value
