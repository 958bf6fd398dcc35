"""The queue's hot statements, by hand: composing them takes Django several times as long as running them takes the database.

SQLite and PostgreSQL read the same SQL; what differs is in `clock`, `run`, `change` and fair_order.py. Statuses are
written as literals, so that the partial indexes fit. Values go through the models' fields, and so are stored and read as the ORM does it.
"""

import uuid
from collections.abc import Callable, Iterable, Sequence
from functools import cache, lru_cache
from typing import Any

from django.db import connection, transaction
from django.db.models.fields import NOT_PROVIDED

from api.jobs.models import Job, JobEvent
from api.jobs.retry_policy import BACKOFF_SECONDS, RETRY_WAIT_SECONDS
from api.jobs.states import Status
from api.jobs.store.fair_order import SLOT_COLUMNS, Turn, index_hint, least, locking, new_slot
from api.jobs.store.outbox import outbox_rows
from api.jobs.store.statements import current_database, is_postgres, run
from api.quotas import Amount

JOB, EVENT = Job._meta.db_table, JobEvent._meta.db_table
FIELDS: list[Any] = list(Job._meta.concrete_fields)
BY_NAME: dict[str, Any] = {field.name: field for field in FIELDS}
NAMES = [field.attname for field in FIELDS]
COLUMNS = ", ".join(f"{JOB}.{field.column}" for field in FIELDS)
# What a request says; a new row has NULL in the other columns, but for these.
REQUESTED: tuple[str, ...] = (
    *("id", "kind", "model_id", "params", "prompt", "warnings", "priority", "batch_key", "max_attempts"),
    *("retry_of", "parent", "owner_key", "source", "webhook", "idempotency_key", "body_hash", "only_worker_id"),
    "trace_parent",
)
INITIAL = {"status": "'queued'", "progress": "'{}'", "timings": "'{}'", "attempt": "0", "event_sequence": "%s"}
EXPECTED = ("expected_jobs", "expected_pictures", "expected_pixels")
# What the database gives a new row, which is read back.
FILLED_IN: list[Any] = [field for field in FIELDS if field.primary_key or field.db_default is not NOT_PROVIDED]
EVENT_DATA = JobEvent._meta.get_field("data")
FILLED_IN_COLUMNS = ", ".join(f"{JOB}.{field.column}" for field in FILLED_IN)
Event = tuple[str, dict[str, Any]]  # type and data


class DatabaseTime(str):
    """SQL that the database's clock answers; never a parameter."""


@cache
def inserted(names: tuple[str, ...]) -> str:
    return ", ".join([*(BY_NAME[name].column for name in [*names, *INITIAL]), *SLOT_COLUMNS])


@lru_cache(maxsize=64)
def clock(seconds: float = 0) -> DatabaseTime:
    """The database's time, so many seconds from now, in the form in which the ORM stores it."""
    if is_postgres():
        return DatabaseTime(f"STATEMENT_TIMESTAMP() + INTERVAL '{seconds:.3f} seconds'")
    return DatabaseTime(f"STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f', 'NOW', '{seconds:+.3f} seconds')")


@lru_cache(maxsize=64)
def is_due(waited: float = 0) -> str:
    """The condition that a row's time came at least `waited` seconds ago. A time further ahead than the longest back-off counts as
    come, too: since it was written, the clock has been set back.
    """
    return f"(available_at <= {clock(-waited)} OR available_at > {clock(max(BACKOFF_SECONDS) + 1)})"


def is_overdue() -> str:
    """The condition that a row, tried before, has let others go first for long enough."""
    return f"(attempt > 0 AND {is_due(RETRY_WAIT_SECONDS)})"


def stored(field: str, value: Any) -> Any:
    return BY_NAME[field].get_db_prep_save(value, current_database())


def stored_values(values: Iterable[tuple[str, Any]]) -> list[Any]:
    """`stored` of several: which connection it is for is asked once."""
    database = current_database()
    return [None if value is None else BY_NAME[name].get_db_prep_save(value, database) for name, value in values]


@cache
def readers(name: str) -> tuple[Callable[..., Any], ...]:
    """What makes the database's values of this field Python's."""
    column = BY_NAME[name].get_col(JOB)
    return *connection.ops.get_db_converters(column), *column.output_field.get_db_converters(connection)


@cache
def readers_of_row() -> list[tuple[int, Callable[..., Any]]]:
    """With the place of each in FIELDS."""
    return [(place, function) for place, field in enumerate(FIELDS) for function in readers(field.name)]


def read_job(row: Sequence[Any]) -> Job:
    values, database = list(row), current_database()
    for place, function in readers_of_row():
        values[place] = function(values[place], None, database)
    return Job.from_db(database.alias, NAMES, values)


def fill_in(job: Job, row: Sequence[Any]) -> Job:
    """A job that was inserted, with what the database gave it."""
    database = current_database()
    for field, value in zip(FILLED_IN, row, strict=True):
        for function in readers(field.name):
            value = function(value, None, database)
        setattr(job, field.attname, value)
    job._state.adding, job._state.db = False, database.alias
    return job


def find_job(job_id: uuid.UUID) -> Job | None:
    rows = run(f"SELECT {COLUMNS} FROM {JOB} WHERE id = %s", [stored("id", job_id)])
    return read_job(rows[0]) if rows else None


def find_waiting() -> uuid.UUID | None:
    """A queued job whose time has come."""
    rows = run(f"SELECT id FROM {JOB} WHERE status = 'queued' AND {is_due()} LIMIT 1", [])
    return uuid.UUID(str(rows[0][0])) if rows else None


def is_any_waiting(condition: str, params: Sequence[Any]) -> bool:
    """Whether a queued job meets the condition. A session asks it at each step: through the ORM that takes 1 ms."""
    return bool(run(f"SELECT 1 FROM {JOB} WHERE status = 'queued' AND {condition} LIMIT 1", params))


def is_one_of(job_ids: Sequence[uuid.UUID]) -> tuple[str, list[Any]]:
    """The right side of a condition on a job's id, and its parameters."""
    ids = [stored("id", job_id) for job_id in job_ids]
    return ("= ANY(%s)", [ids]) if is_postgres() else (f"IN ({', '.join(['%s'] * len(ids))})", ids)


def statuses_by_id(job_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, tuple[int, str]]:
    """event_sequence and status of those that exist."""
    is_one, params = is_one_of(job_ids)
    rows = run(f"SELECT id, event_sequence, status FROM {JOB} WHERE id {is_one}", params)
    return {uuid.UUID(str(job_id)): (sequence, status) for job_id, sequence, status in rows}


# ---------------------------------------------------------------- changes, and the events that tell of them


def change(
    statement: str,
    params: Sequence[Any],
    events: str,
    event_params: Sequence[Any],
    *,
    returning: str = f"{JOB}.id",
    exclusive_type: str = "",
    ends: Amount | None = None,
    sync: bool = True,
    beside: str = "",
) -> list[tuple[Any, ...]]:
    """Runs an INSERT or UPDATE of jobs, adds the events that `events` selects from `changed`, and returns the jobs as they are now.

    One statement on PostgreSQL; on SQLite up to four, inside the caller's transaction. `returning` begins with the id.
    `exclusive_type`: events of this type that are older are deleted. `ends`: the outbox gets a row for each job, with what it has
    made. Without `sync` PostgreSQL's commit doesn't wait for the disk (for SQLite's see durability.py). `beside`: SQL that PostgreSQL
    evaluates in the same statement, once for each row.
    """
    delete = f"DELETE FROM {EVENT} WHERE type = '{exclusive_type}' AND job_id IN (SELECT id FROM changed)"
    insert = f"INSERT INTO {EVENT} (job_id, sequence, type, data) {events}"
    then: list[tuple[str, Sequence[Any]]] = [(delete, [])] * bool(exclusive_type) + [(insert, event_params)] * bool(events)
    made = ends[1:] if ends else ()
    then += [(outbox_rows(), made)] * bool(ends)
    if is_postgres():
        parts = [
            f"changed AS ({statement} RETURNING *)",
            *(f"then{place} AS ({query})" for place, (query, _) in enumerate(then)),
        ]
        extra = [beside] if beside else []
        if not sync and not current_database().in_atomic_block:
            extra.append("set_config('synchronous_commit', 'off', true)")
        selected = ", ".join([returning, *extra])
        return run(f"WITH {', '.join(parts)} SELECT {selected} FROM changed AS {JOB}", [*params, *event_params, *made])
    rows = run(f"{statement} RETURNING {returning}", params)
    if rows:
        changed = f"WITH changed AS (SELECT * FROM {JOB} WHERE id IN ({', '.join(['%s'] * len(rows))}))"
        for query, values in then:
            run(f"{changed} {query}", [*(row[0] for row in rows), *values])
    return rows


def event_rows(events: Sequence[Event]) -> tuple[str, list[Any]]:
    """The rows of `events` for each changed job, the last with the number that its row has reached."""
    rows = [f"SELECT id, event_sequence - {place}, %s, %s FROM changed" for place in reversed(range(len(events)))]
    values = [value for type, data in events for value in (type, EVENT_DATA.get_db_prep_save(data, current_database()))]
    return " UNION ALL ".join(rows), values


def add_job(
    job: Job,
    events: Sequence[Event],
    *,
    cost: float = 1.0,
    goes_first: bool = False,
    unless: tuple[str, Sequence[Any]] = ("FALSE", []),
) -> Job | None:
    """The job, with what the database itself fills in; None where the condition holds. `cost`: the length of its slot, which
    `goes_first` puts before all others.
    """
    names = (*REQUESTED, *EXPECTED) if isinstance(job.expected_jobs, int) else REQUESTED
    values = stored_values((name, getattr(job, BY_NAME[name].attname)) for name in names)
    slot, slot_params = new_slot(job, cost=cost, goes_first=goes_first)
    condition, params = unless
    statement = f"""{slot} INSERT INTO {JOB} ({inserted(names)})
        SELECT {", ".join([*(["%s"] * len(values)), *INITIAL.values()])},
            slot.virtual_start, slot.virtual_start + slot.cost, slot.virtual_start
        FROM slot WHERE NOT ({condition})"""
    given = [*slot_params, *values, len(events), *params]
    rows = change(statement, given, *event_rows(events), returning=FILLED_IN_COLUMNS)
    return fill_in(job, rows[0]) if rows else None


def fence(job: Job, status: str) -> tuple[str, list[Any]]:
    """The row while it is `status` under the lease of `job`: the condition of everything that changes it."""
    same_lease = "lease_token IS NULL" if job.lease_token is None else "lease_token = %s"
    lease = [] if job.lease_token is None else [("lease_token", job.lease_token)]
    return f"id = %s AND status = '{Status(status).value}' AND {same_lease}", stored_values([("id", job.pk), *lease])


def lock(job: Job, status: str) -> bool:
    """Locks the row until the transaction ends; False where the fence holds it back."""
    condition, params = fence(job, status)
    return bool(run(f"SELECT 1 FROM {JOB} WHERE {condition} {locking('FOR UPDATE')}", params))


def move(
    job: Job,
    status: str,
    changes: dict[str, Any],
    events: Sequence[Event],
    *,
    exclusive_type: str = "",
    ends: Amount | None = None,
    sync: bool = True,
    beside: str = "",
) -> bool:
    """One UPDATE behind the fence, with the events that tell of it; False where the fence holds it back."""
    columns = [(BY_NAME[name].column, value) for name, value in changes.items()]
    settings = [f"{column} = {value if isinstance(value, DatabaseTime) else '%s'}" for column, value in columns]
    values = stored_values((name, value) for name, value in changes.items() if not isinstance(value, DatabaseTime))
    condition, params = fence(job, status)
    settings.append(f"event_sequence = event_sequence + {len(events)}")
    statement = f"UPDATE {JOB} SET {', '.join(settings)} WHERE {condition}"
    options: dict[str, Any] = {"exclusive_type": exclusive_type, "ends": ends, "sync": sync, "beside": beside}
    return bool(change(statement, [*values, *params], *event_rows(events), **options))


def claim_turn(*, only: str, params: Sequence[Any], **lease: Any) -> list[Job]:
    """Takes the queued row whose turn it is, of those that fit `only` and whose time has come."""
    turn = Turn(f"{is_due()} AND {only}", params)
    while True:
        jobs = claim(turn.picked, turn.params, limit=1, **lease)
        if jobs or not run(turn.both, turn.params):
            return jobs
        exchange_slots(turn)


def exchange_slots(turn: Turn) -> None:
    """Gives the first slot to the row of its owner that goes first, which leaves its own for it."""
    with transaction.atomic():
        for head, start, finish, best, other_start, other_finish in run(turn.both, turn.params):
            if head != best:
                finish = finish if finish > start else start + 1.0  # rows of versions before slots have none: all are 0 to 0
                later = max(other_start, finish)  # two that were inserted at once may have had the same slot
                statement = f"UPDATE {JOB} SET virtual_start = %s, virtual_finish = %s WHERE id = %s RETURNING id"
                run(statement, [start, finish, best])
                run(statement, [later, later + other_finish - other_start, head])


def head_of_queue(only: str, params: Sequence[Any], length: int = 8) -> list[tuple[uuid.UUID, str]]:
    """id and model of the first rows that fit `only` and whose time has come."""
    rows = run(
        f"""SELECT id, model_id FROM {JOB} {index_hint("job_queue")} WHERE status = 'queued' AND {is_due()} AND {only}
            ORDER BY virtual_start, id LIMIT {length:d}""",
        params,
    )
    return [(uuid.UUID(str(job_id)), model_id) for job_id, model_id in rows]


def is_queue_empty(*, beside: str = "") -> bool:
    """`beside`: SQL that PostgreSQL evaluates in the same statement, whose commit doesn't wait for the disk."""
    extra = [beside, "set_config('synchronous_commit', 'off', true)"] if beside else []
    is_any = f"EXISTS (SELECT 1 FROM {JOB} {index_hint('job_queue')} WHERE status = 'queued')"
    return not run(f"SELECT {', '.join([is_any, *extra])}")[0][0]


def claim_first(*, only: str, params: Sequence[Any], limit: int, **options: Any) -> list[Job]:
    """Takes the first `limit` of the queued rows that fit `only` and whose time has come, whoever's turn it is."""
    picked = f"""SELECT id FROM {JOB} {index_hint("job_queue")} WHERE status = 'queued' AND {is_due()} AND {only}
        ORDER BY virtual_start, id LIMIT {limit:d} {locking("FOR UPDATE SKIP LOCKED")}"""
    return claim(picked, params, limit=limit, **options)


def claim_newest(*, only: str, params: Sequence[Any], **options: Any) -> list[Job]:
    """Takes the row that came last."""
    return claim_by("id DESC", only=only, params=params, **options)


def claim_tried(*, only: str, params: Sequence[Any], **options: Any) -> list[Job]:
    """Takes the row, of those tried before, that was tried least often; of these the one that came last."""
    return claim_by("attempt, id DESC", only=f"attempt > 0 AND {only}", params=params, **options)


def claim_by(order: str, *, only: str, params: Sequence[Any], **options: Any) -> list[Job]:
    picked = f"""SELECT id FROM {JOB} {index_hint("job_status")} WHERE status = 'queued' AND {is_due()} AND {only}
        ORDER BY {order} LIMIT 1 {locking("FOR UPDATE SKIP LOCKED")}"""
    return claim(picked, params, limit=1, **options)


def claim(
    picked: str,
    params: Sequence[Any],
    *,
    limit: int,
    worker_id: uuid.UUID,
    token: uuid.UUID,
    lease: float,
    beside: str = "",
    start: tuple[str, Sequence[Any]] | None = None,
) -> list[Job]:
    """Takes the queued rows that `picked` selects, under `token`; on PostgreSQL none that others lock. The first slots come first.

    `start`: SQL with its parameters for the present of virtual time, where rows are taken before their turn: they leave it there.

    The CTE is materialized: a plan that ran it twice would take more than `limit`. A single id is compared with `=`: for `IN` a plan
    that PostgreSQL made while the table was small reads all of it at every claim. The UPDATE doesn't ask for the status again, which
    `picked` has locked: such a plan would look for the id in the whole index of the queue.
    """
    to_json = "jsonb_build_object" if is_postgres() else "JSON_OBJECT"
    those = "= (SELECT id FROM picked)" if limit == 1 else "IN (SELECT id FROM picked)"
    sql, start_params = start or ("virtual_start", [])
    rows = change(
        f"""WITH picked AS MATERIALIZED ({picked})
            UPDATE {JOB} SET status = 'running', attempt = attempt + 1, event_sequence = event_sequence + 1,
                worker_id = %s, lease_token = %s, lease_expires_at = {clock(lease)}, started_at = COALESCE(started_at, {clock()}),
                virtual_start = {least("virtual_start", f"COALESCE({sql}, virtual_start)") if start else "virtual_start"}
            WHERE id {those}""",
        [*params, *stored_values([("worker", worker_id), ("lease_token", token)]), *start_params],
        f"SELECT id, event_sequence, 'status', {to_json}('status', status, 'attempt', attempt) FROM changed",
        [],
        returning=COLUMNS,
        sync=False,
        beside=beside,
    )
    return sorted((read_job(row[: len(FIELDS)]) for row in rows), key=lambda job: (job.virtual_start, job.pk))


def count_reaches(*counts: tuple[str, Sequence[Any], int], less: int = 0) -> tuple[str, list[Any]]:
    """The condition that for one of (where, params, number) there are `number - less` such jobs, and its parameters.

    Answering it reads no more index entries than that.
    """
    asked = [f"%s <= 0 OR EXISTS (SELECT 1 FROM {JOB} WHERE {where} LIMIT 1 OFFSET %s)" for where, _, _ in counts]
    params = [value for _, given, number in counts for value in (number - less, *given, max(number - less - 1, 0))]
    return " OR ".join(asked) or "FALSE", params


def holds(condition: str, params: Sequence[Any]) -> bool:
    return bool(run(f"SELECT {condition}", params)[0][0])
