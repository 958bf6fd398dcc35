"""Every check, one after the other, as `./start.sh test` and CI run them; says at the end which failed."""

import os
import shutil
import subprocess
import sys
import time

from tests.clients.environments import ENVIRONMENTS, is_installed

PYTHON = sys.executable
POSTGRES = os.environ.get("TEST_DATABASE_URL", "")
CHROMIUM = shutil.which("chromium")
REDIS = shutil.which("redis-server")
RABBITMQ = shutil.which("rabbitmq-server", path="/usr/lib/rabbitmq/bin")
TESSERACT = shutil.which("tesseract")
PROMTOOL = shutil.which("promtool")
CLIENTS = all(map(is_installed, ENVIRONMENTS))

SERVERS = {
    "PostgreSQL (set TEST_DATABASE_URL)": POSTGRES,
    "the browser (no chromium)": CHROMIUM,
    "Redis (no redis-server)": REDIS,
    "RabbitMQ (no rabbitmq-server)": RABBITMQ,
    "Vietnamese text in pictures (no tesseract)": TESSERACT,
    "Prometheus's rules (no promtool: Debian's package prometheus)": PROMTOOL,
    "clients of other servers (./start.sh clients)": CLIENTS,
}
IN_CI = os.environ.get("CI") == "true"

CORES = os.cpu_count() or 1
PROCESSES = min(4, CORES + 1)  # many tests wait for a server; each may hold models, and a server with a worker
PYTEST = [PYTHON, "-m", "pytest", "-q", "-n", str(PROCESSES), "--dist", "loadfile", "--no-loadscope-reorder"]
SHARED_OUT = {"OMP_NUM_THREADS": str(max(1, CORES // PROCESSES))}

CHECKS: list[tuple[str, list[str], dict[str, str]]] = [
    ("lint", ["ruff", "check", "."], {}),
    ("format", ["ruff", "format", "--check", "."], {}),
    ("types", ["mypy"], {}),
    ("migrations", [PYTHON, "manage.py", "makemigrations", "--check", "--dry-run"], {}),
    ("settings", [PYTHON, "manage.py", "check", "--deploy", "--fail-level", "WARNING"], {}),
    ("OpenAPI", [PYTHON, "manage.py", "spectacular", "--validate", "--fail-on-warn", "--file", os.devnull], {}),
    ("tests on SQLite", PYTEST, SHARED_OUT),
]
ON_POSTGRES = ("tests on PostgreSQL", PYTEST, {**SHARED_OUT, "DATABASE_URL": POSTGRES})  # which: tests/scheduling.py


def main(arguments: list[str]) -> int:
    if arguments:
        return subprocess.call([PYTHON, "-m", "pytest", *arguments])
    checks = CHECKS + ([ON_POSTGRES] if POSTGRES else [])
    failed = [name for name, command, environment in checks if not passes(name, command, environment)]
    if missing := [name for name, here in SERVERS.items() if not here]:
        print(f"Left out here: {'; '.join(missing)}.")
        failed += [f"{name}, which CI has to have" for name in missing if IN_CI]
    print(f"Failed: {', '.join(failed)}." if failed else "All checks passed.", flush=True)
    return 1 if failed else 0


def passes(name: str, command: list[str], environment: dict[str, str]) -> bool:
    print(f"── {name}", flush=True)
    started = time.monotonic()
    code = subprocess.call(command, env={**os.environ, **environment})
    print(f"── {name}: {'passed' if code == 0 else f'FAILED ({code})'} in {time.monotonic() - started:.0f} s", flush=True)
    return code == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
