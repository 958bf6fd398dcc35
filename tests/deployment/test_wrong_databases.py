"""Every wrong way to name a database ends `prepare` with one sentence that says the cure, and doctor says the same."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, NotSupportedError, connection

from config.databases import read_database
from config.failures import database_failure, postgres_sentence, why_unfit
from tests.live import ROOT
from tests.postgres import OwnPostgres

PLACE = {"NAME": "pictures", "HOST": "database", "PORT": 5432, "USER": "low"}


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("mysql://a@b/c", "must begin with postgresql://"),
        ("foo://a@b/c", "is not a database URL"),
        ("postgresql://a:b#c@127.0.0.1/c", "# as %23"),
        ("postgresql://a@b:port/c", "is not a database URL"),
        ("postgresql://a:b@c/", "names no database"),
        ("postgresql://a:b@c/d?sslmod=require", "option 'sslmod'"),
    ],
)
def test_an_address_that_is_none_is_named(url: str, named: str, tmp_path: Path) -> None:
    with pytest.raises(ImproperlyConfigured, match="DATABASE_URL") as caught:
        read_database(url, tmp_path)
    assert named in str(caught.value)


@pytest.mark.parametrize(
    ("reason", "cure"),
    [
        ("failed to resolve host 'database': [Errno -2] Name or service not known", "Correct the host"),
        ('database "pictures" does not exist', "createdb pictures"),
        ('role "low" does not exist', "the user and the password"),
        ('password authentication failed for user "low"', "the user and the password"),
        ('no pg_hba.conf entry for host "10.0.0.2", user "low", database "pictures", no encryption', "pg_hba.conf"),
        ("server does not support SSL, but SSL was required", "sslmode"),
        ('root certificate file "/no" does not exist', "sslrootcert"),
        ("sorry, too many clients already", "max_connections"),
        ("connection timeout expired", "firewall"),
        ("Connection refused", "Start it"),
    ],
)
def test_each_of_the_servers_reasons_has_its_cure(reason: str, cure: str) -> None:
    sentence = postgres_sentence(PLACE, reason)
    assert sentence.startswith(f"The database 'pictures' at database:5432 can't be reached: {reason}. ")
    assert cure in sentence.removeprefix(f"The database 'pictures' at database:5432 can't be reached: {reason}")


def test_a_server_or_an_encoding_that_is_too_old_is_told() -> None:
    def server(version: int, encoding: str) -> SimpleNamespace:
        return SimpleNamespace(server_version=version, host="h", port=1, dbname="d", parameter_status=lambda name: encoding)

    assert why_unfit(server(170002, "UTF8")) == ""
    assert "is PostgreSQL 13. Use PostgreSQL 14" in why_unfit(server(130011, "UTF8"))
    assert "createdb --encoding UTF8" in why_unfit(server(170002, "LATIN1"))
    assert "Use a newer one" in str(database_failure(NotSupportedError("SQLite 3.31 or later is required (found 3.30)")))


def test_a_lack_of_rights_is_told_with_the_grant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connection.settings_dict, "USER", "low")
    told = str(database_failure(DatabaseError("Unable to create the table (permission denied for schema public")))
    assert "GRANT ALL ON SCHEMA public TO low" in told


# ---------------------------------------------------------------- a real server


@pytest.fixture(scope="module")
def server() -> Iterator[OwnPostgres]:
    if not OwnPostgres.can_be_had():
        pytest.skip("PostgreSQL is not installed")
    with OwnPostgres() as own:
        for statement in (
            "CREATE ROLE low LOGIN",
            "CREATE DATABASE theirs",
            "CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0",
        ):
            own.run_sql(statement)
        yield own


@pytest.mark.own_database
@pytest.mark.parametrize(
    ("user", "database", "named"),
    [
        ("low", "theirs", "GRANT ALL ON SCHEMA public TO low"),
        ("darkroom", "latin", "LATIN1"),
        ("darkroom", "none", "createdb none"),
    ],
)
def test_prepare_says_one_sentence(server: OwnPostgres, tmp_path: Path, user: str, database: str, named: str) -> None:
    url = f"postgresql://{user}@127.0.0.1:{server.port}/{database}"
    environment = {
        **os.environ,
        "DATA_DIR": str(tmp_path),
        "DATABASE_URL": url,
        "JOB_RUNNER": "embedded",
        "LOAD_MODELS": "false",
    }
    command = [sys.executable, "manage.py", "prepare"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    told = [line for line in done.stderr.splitlines() if not line.startswith("Note: ")]
    assert (done.returncode, len(told)) == (1, 1), done.stderr
    assert named in told[0]
