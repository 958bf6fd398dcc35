"""Deletes rows with all that refers to them, by the relations' `on_delete`, as Django's Collector does, but by keys alone.

The Collector reads whole rows, asks for each relation on its own, and sends signals: 28 messages to the database in one transaction, each
of which waits for its turn on a busy machine. Here PostgreSQL gets one. **No post_delete is sent**: who needs to know of what goes with a
job listens to `jobs_leaving`.
"""

import json
import uuid
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from django.db import connection
from django.db.models import CASCADE, SET_NULL, ForeignKey, Model

Key = uuid.UUID | int
Table = type[Model]


@dataclass
class Deletion:
    """`rows` and what refers to them. Making it reads keys; nothing is written before `run`."""

    rows: Mapping[Table, Collection[Key]]
    keys: dict[Table, set[Key]] = field(default_factory=dict)
    deletes: list[tuple[str, Any]] = field(default_factory=list)
    updates: list[tuple[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for model, keys in self.rows.items():
            self.add(model, keys)
        for model, found in self.keys.items():
            self.deletes.append((delete_from(model, str(model._meta.pk.column)), found))

    def add(self, model: Table, keys: Collection[Key]) -> None:
        known = self.keys.setdefault(model, set())
        new = set(keys) - known
        known |= new
        for foreign_key in foreign_keys_to(model) if new else ():
            self.follow(foreign_key, new)

    def follow(self, foreign_key: "ForeignKey[Any, Any]", keys: Collection[Key]) -> None:
        model = foreign_key.model
        if foreign_key.remote_field.on_delete is SET_NULL:
            self.updates.append((set_null(model, foreign_key.column), keys))
        elif foreign_key.primary_key and any(foreign_keys_to(model)):
            self.add(model, keys)
        elif any(foreign_keys_to(model)):
            theirs = model._base_manager.filter(**{f"{foreign_key.name}__in": keys})
            self.add(model, set(theirs.order_by().values_list("pk", flat=True)))
        else:
            self.deletes.append((delete_from(model, foreign_key.column), keys))

    def run(self) -> None:
        """In a transaction. In any order, since constraints are looked at when it ends; what has gone needs no update."""
        statements = [(statement, parameter(keys)) for statement, keys in self.deletes + self.updates if keys]
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql" and statements:
                cursor.execute("; ".join(statement for statement, _ in statements), [keys for _, keys in statements])
                return
            for statement, keys in statements:
                cursor.execute(statement, [keys])


def foreign_keys_to(model: Table) -> "Iterator[ForeignKey[Any, Any]]":
    """Also those of the tables between two models. Not the job's parent: children go before."""
    for relation in cast(list[Any], model._meta.get_fields(include_hidden=True)):
        if relation.auto_created and not relation.concrete and (relation.one_to_one or relation.one_to_many):
            foreign_key = relation.field
            action = foreign_key.remote_field.on_delete
            if action not in (CASCADE, SET_NULL):
                raise NotImplementedError(f"What becomes of {foreign_key} with {model.__name__}: {action}")
            if not (foreign_key.model is model and action is CASCADE):
                yield foreign_key


def delete_from(model: Table, column: str) -> str:
    return f'DELETE FROM "{model._meta.db_table}" WHERE "{column}" {among()}'  # noqa: S608  (names of ours)


def set_null(model: Table, column: str) -> str:
    return f'UPDATE "{model._meta.db_table}" SET "{column}" = NULL WHERE "{column}" {among()}'  # noqa: S608  (names of ours)


def among() -> str:
    """As `parameter` gives the keys."""
    return "= ANY(%s)" if connection.vendor == "postgresql" else "IN (SELECT value FROM json_each(%s))"


def parameter(keys: Collection[Key]) -> Any:
    """One, however many keys there are."""
    if connection.vendor == "postgresql":
        return list(keys)
    return json.dumps([key.hex if isinstance(key, uuid.UUID) else key for key in keys])
