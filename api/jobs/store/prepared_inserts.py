"""Rows of a model inserted by a statement that is prepared once, in place of one that Django composes anew: half of what a job takes that
makes a picture is its two rows.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connection, models
from django.db.models.expressions import DatabaseDefault

from api.jobs.store.statements import current_database, run

Fields = tuple[Any, ...]


class PreparedInserts(models.Model):
    """`save` of a new row. What it stores is what Django's own statement stores, which takes the rest: fixtures, expressions."""

    class Meta:
        abstract = True

    def _do_insert(self, manager: Any, using: str, fields: Sequence[Any], returning_fields: Sequence[Any], raw: bool) -> Any:
        given = [(field, value) for field in fields if not isinstance(value := field.pre_save(self, True), DatabaseDefault)]
        if raw or using != DEFAULT_DB_ALIAS or any(hasattr(value, "resolve_expression") for _, value in given):
            return super()._do_insert(manager, using, fields, returning_fields, raw)  # type: ignore[misc]
        database, returned = current_database(), tuple(returning_fields)
        values = [field.get_db_prep_save(value, database) for field, value in given]
        rows = run(insertion(type(self), tuple(field for field, _ in given), returned), values)
        return [read_row(type(self), row, returned) for row in rows] if returned else []


@cache
def insertion(model: type[models.Model], fields: Fields, returned: Fields) -> str:
    """Without the columns that the database fills in."""
    quoted = connection.ops.quote_name
    columns = ", ".join(quoted(field.column) for field in fields)
    returning = ", ".join(quoted(field.column) for field in returned) or "1"
    marks = ", ".join(["%s"] * len(fields))
    return f"INSERT INTO {quoted(model._meta.db_table)} ({columns}) VALUES ({marks}) RETURNING {returning}"  # noqa: S608


@cache
def readers(model: type[models.Model], field: Any) -> tuple[Callable[..., Any], ...]:
    """What makes the database's values of this field Python's."""
    column = field.get_col(model._meta.db_table)
    return *connection.ops.get_db_converters(column), *field.get_db_converters(connection)


def read_row(model: type[models.Model], row: Sequence[Any], returned: Fields) -> tuple[Any, ...]:
    read = []
    for value, field in zip(row, returned, strict=True):
        for function in readers(model, field):
            value = function(value, None, current_database())
        read.append(value)
    return tuple(read)
