"""Rows by a prepared statement are what Django's own statement makes of the same object."""

from typing import Any

import pytest
from django.db import IntegrityError, connection, models, transaction
from django.forms.models import model_to_dict

from api.files.models import StoredFile
from api.images.models import GeneratedImage
from api.jobs.identifiers import uuid7
from api.jobs.store import prepared_inserts

PARAMETERS = {"prompt": 'a "quoted" ẩm thực %s', "steps": [1, 2.5, None], "on": True}


def make() -> tuple[StoredFile, GeneratedImage]:
    identifier = uuid7()
    size = {"width": 40_000, "height": 1}
    file = StoredFile.objects.create(
        id=identifier, owner_key="o", purpose="output", name=f"{identifier}.png", sha256="0" * 64, content_type="image/png",
        size=2**40, **size,
    )  # fmt: skip
    image = GeneratedImage.objects.create(
        file=file, owner_key="o", prompt="100 % ẩm", seed=2**63 - 1, steps=8, guidance_scale=7.5, parameters=PARAMETERS, **size
    )
    return file, image


def values(row: models.Model, *but: str) -> dict[str, Any]:
    return {name: value for name, value in model_to_dict(row).items() if name not in (*but, "created_at", "used_at")}


@pytest.mark.django_db
def test_a_row_is_the_same_by_either_statement(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    real = prepared_inserts.run
    monkeypatch.setattr(prepared_inserts, "run", lambda statement, given: asked.append(statement) or real(statement, given))
    ours = make()
    assert len(asked) == 2
    monkeypatch.setattr(prepared_inserts.PreparedInserts, "_do_insert", models.Model._do_insert)
    theirs = make()
    assert len(asked) == 2
    for one, other, but in zip(ours, theirs, (("name",), ("file",)), strict=True):
        read, of_django = type(one).objects.get(pk=one.pk), type(other).objects.get(pk=other.pk)
        assert values(read, *but) == values(of_django, *but)
        assert one.created_at == read.created_at, "what the database fills in is on the object"
        assert type(one.created_at) is type(other.created_at)
        assert one.created_at.tzinfo == other.created_at.tzinfo
        with connection.cursor() as cursor:
            table = type(one)._meta.db_table
            key = type(one)._meta.pk.column
            raw = []
            for row in (one, other):
                field = type(one)._meta.pk
                cursor.execute(f"SELECT * FROM {table} WHERE {key} = %s", [field.get_db_prep_value(row.pk, connection)])
                raw.append([type(value) for value in cursor.fetchone()])
            assert raw[0] == raw[1], "stored in the same form"


@pytest.mark.django_db
def test_a_second_row_with_the_same_name_is_refused_and_the_transaction_goes_on() -> None:
    file, _ = make()
    with pytest.raises(IntegrityError), transaction.atomic():
        StoredFile.objects.create(owner_key="o", purpose="output", name=file.name, size=1, width=1, height=1)
    assert StoredFile.objects.count() == 1
