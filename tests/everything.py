"""Every check, one after the other, as `./start.sh test` and CI run them; ends with the first that fails, saying which."""

import os
import shutil
import subprocess
import sys
import time

PYTHON = sys.executable
POSTGRES = os.environ.get("TEST_DATABASE_URL", "")
CHROMIUM = shutil.which("chromium")

CHECKS: list[tuple[str, list[str], dict[str, str]]] = [
    ("lint", ["ruff", "check", "."], {}),
    ("format", ["ruff", "format", "--check", "."], {}),
    ("types", ["mypy"], {}),
    ("migrations", [PYTHON, "manage.py", "makemigrations", "--check", "--dry-run"], {}),
    ("settings", [PYTHON, "manage.py", "check", "--deploy", "--fail-level", "WARNING"], {}),
    ("OpenAPI", [PYTHON, "manage.py", "spectacular", "--validate", "--fail-on-warn", "--file", os.devnull], {}),
    ("tests on SQLite", [PYTHON, "-m", "pytest", "-q"], {}),
]
ON_POSTGRES = ("tests on PostgreSQL", [PYTHON, "-m", "pytest", "-q", "-m", "not models"], {"DATABASE_URL": POSTGRES})


def main(arguments: list[str]) -> int:
    if arguments:
        return subprocess.call([PYTHON, "-m", "pytest", *arguments])
    checks = CHECKS + ([ON_POSTGRES] if POSTGRES else [])
    for name, command, environment in checks:
        started = time.monotonic()
        print(f"── {name}", flush=True)
        code = subprocess.call(command, env={**os.environ, **environment})
        if code:
            print(f"── {name}: FAILED ({code})", flush=True)
            return code
        print(f"── {name}: {time.monotonic() - started:.0f} s", flush=True)
    left_out = [
        name
        for name, here in (("PostgreSQL (set TEST_DATABASE_URL)", POSTGRES), ("the browser (no chromium)", CHROMIUM))
        if not here
    ]
    print(f"All checks passed.{' Left out here: ' + '; '.join(left_out) + '.' if left_out else ''}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
