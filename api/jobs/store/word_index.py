"""Whether a search for words need not read every row: on PostgreSQL, once `manage.py search_index` has been run.

That is no migration: it takes minutes for millions of rows, wants the right to add PostgreSQL's extension pg_trgm, and costs each job
something, where few histories are long enough to need it. Django's `icontains` is answered by the index as it stands.
"""

import re
import time

from django.db import connection
from django.db.models import Model

WORD = re.compile(r"[^\W_]{3}")
"""Of fewer letters there is no trigram."""
ASKED_SECONDS = 60.0
_known: dict[str, tuple[float, bool]] = {}


def index_name(model: type[Model]) -> str:
    return f"{model._meta.db_table}_words"


def has_word_index(model: type[Model]) -> bool:
    """Asked once a minute by each process."""
    name = index_name(model)
    asked, found = _known.get(name, (0.0, False))
    if connection.vendor != "postgresql":
        return False
    if not asked or time.monotonic() > asked + ASKED_SECONDS:
        found = is_valid(name) is True
        _known[name] = time.monotonic(), found
    return found


def finds_words(model: type[Model], text: str) -> bool:
    """Whether the index finds rows with these words, each of which has to be in the prompt."""
    return bool(WORD.search(text)) and has_word_index(model)


def is_valid(name: str) -> bool | None:
    """False: left behind by a build that was stopped. None: there is no such index."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = TO_REGCLASS(%s)", [name])
        row = cursor.fetchone()
    return None if row is None else bool(row[0])
