#!/usr/bin/env bash
# ./start.sh         install into .venv, prepare the database and the admin account, start the server
# ./start.sh test    install what the tests need, and run every check
# Both can be run again at any time, and are quick the second time.
set -euo pipefail
cd "$(dirname "$0")"

find_python() {
    for name in python3.11 python3.12 python3.13 python3 python; do
        if command -v "$name" >/dev/null && "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$name"
            return
        fi
    done
    echo "Darkroom needs Python 3.11 or newer, and none was found." >&2
    exit 1
}

install() { # install REQUIREMENTS_FILE: does nothing where that very file is installed already
    [ -x .venv/bin/python ] || "$(find_python)" -m venv .venv
    local mark stamp=".venv/.installed-$1"
    mark="$(cat requirements.txt requirements-s3.txt "$1" | cksum)"
    [ "$(cat "$stamp" 2>/dev/null)" = "$mark" ] && return
    echo "Installing what $1 names (the first time takes some minutes) …"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement "$1"
    echo "$mark" >"$stamp"
}

run_tests() {
    install requirements-dev.txt
    export PATH="$PWD/.venv/bin:$PATH" LOG_FORMAT=text
    exec .venv/bin/python -m tests.everything "$@"
}

start_server() {
    install requirements.txt
    for extra in $(.venv/bin/python -m config.extras); do install "$extra"; done
    .venv/bin/python manage.py prepare
    exec .venv/bin/gunicorn --config config/gunicorn.py config.asgi:application
}

case "${1:-}" in
    "") start_server ;;
    test) shift; run_tests "$@" ;;
    *) sed -n '2,4s/^# //p' "$0"; exit 2 ;;
esac
