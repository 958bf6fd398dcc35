"""Clients of other servers' chats, unchanged and in the versions that people install: their own tests, or what their users do with them.

Each program (tests/clients/programs) runs in its client's environment, with the address and the key in OPENAI_BASE_URL and OPENAI_API_KEY.
"""

import re

import pytest

from tests.clients.conftest import Where
from tests.clients.environments import PROGRAMS, run_node, run_python
from tests.clients.programs.shared import DATA_URL, REAL, SCRIPTED

pytestmark = [pytest.mark.models, pytest.mark.own_database]
PYTEST = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short", "--disable-warnings")
PYTHON = sorted(path.name for path in PROGRAMS.glob("with_*.py"))
NODE = sorted(path.name for path in PROGRAMS.glob("*.mjs"))
LEFT_OUT = {"with_langchain.py": 5}
"""How many of its tests a program leaves out, with their reasons in it."""


@pytest.mark.parametrize("program", PYTHON)
def test_a_client_in_python(where: Where, program: str) -> None:
    environment = "instructor" if program == "with_instructor.py" else "python"
    said = run_python(environment, *PYTEST, program, url=where.url, key=where.key)
    skipped = re.search(r"(\d+) skipped", said)
    assert int(skipped[1] if skipped else 0) == LEFT_OUT.get(program, 0), said


@pytest.mark.parametrize("program", NODE)
def test_a_client_in_javascript(where: Where, program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"REAL": REAL, "SCRIPTED": SCRIPTED, "PICTURE": DATA_URL}.items():
        monkeypatch.setenv(name, value)
    run_node((PROGRAMS / program).read_text(), url=where.url, key=where.key)
