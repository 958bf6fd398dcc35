"""Requests made from the OpenAPI document, alone and in sequences: no 5xx, and no answer that the document doesn't know.

The full form, some minutes long: `SCHEMATHESIS_CASES=5000 ./start.sh test tests/api/test_schemathesis.py`.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live import LiveServer

CASES = int(os.environ.get("SCHEMATHESIS_CASES", "300"))  # at least
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
# A stream and a tool's call last as long as their job, and no worker ends one here; which /api/ready/ says with a 503, as it should.
LEFT_OUT = "/events/$|/ready/$|/mcp$"
OPERATIONS = 45  # of the document, about
# OpenAI's clients are kept waiting until their answer is there, and nobody writes one here.
CONFIG = """
[[operations]]
include-path-regex = "^/(v1|chat-server|hf)/"
headers = { Prefer = "respond-async" }
"""
# The bounds of every field, a thousand requests for each of these: the same fields are tried at /v1/chat/completions, /v1/images/edits
# and /api/img2img/. Their examples and made-up requests, alone and in sequences, are sent as everywhere.
SAME_FIELDS = """
[[operations]]
include-path-regex = "^/(chat-server/v1/chat/completions|v1/images/variations|api/txt2img)"
phases.coverage.enabled = false
"""
# A chat that names no model is taken, too.
CHATS = {"CHAT_REMOTE_URL": "http://127.0.0.1:9/v1", "CHAT_REMOTE_MODELS": "far", "DEFAULT_CHAT_MODEL": "far"}


@pytest.mark.own_database
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_no_request_gives_a_server_error_or_an_answer_that_is_not_documented(tmp_path: Path):
    (tmp_path / "schemathesis.toml").write_text(CONFIG + (SAME_FIELDS if CASES < 5000 else ""))
    with LiveServer(tmp_path / "data", JOB_RUNNER="external", SYNC_WAIT_SECONDS=0, DATABASE_URL="", **CHATS) as server:
        command = [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/api/schema/", "--url", server.url),
            *("--checks", CHECKS, "--exclude-path-regex", LEFT_OUT, "--phases", "examples,coverage,fuzzing,stateful"),
            *("--max-examples", str(max(3, CASES // OPERATIONS)), "--max-failures", "20", "--seed", "1", "--no-color"),
            *("--suppress-health-check", "all", "--request-timeout", "30", "--generation-database", "none"),
        ]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        print(done.stdout[-12_000:], done.stderr[-2000:])
        assert done.returncode == 0
        assert "Traceback" not in server.log.read_text()
        cases = re.search(r"(\d[\d,]*) generated", done.stdout)
        assert cases is not None
        assert int(cases[1].replace(",", "")) >= CASES
