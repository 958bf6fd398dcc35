#!/usr/bin/env bash
# ./start.sh         install into .venv, prepare the database and the admin account, start the server
# ./start.sh test    install what the tests need, and run every check
# ./start.sh clients install the clients of other servers, which the tests then run too (tests/clients)
# All can be run again at any time, and are quick the second time.
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

install() { # install REQUIREMENTS_FILE [ENVIRONMENT [OPTIONS OF PIP]]: does nothing where that very file is installed already
    local environment="${2:-.venv}" mark stamp
    stamp="$environment/.installed-$1"
    [ -x "$environment/bin/python" ] || "$(find_python)" -m venv "$environment"
    mark="$(cat requirements.txt requirements-s3.txt requirements-otel.txt "$1" | cksum)"
    [ "$(cat "$stamp" 2>/dev/null)" = "$mark" ] && return
    echo "Installing what $1 names (the first time takes some minutes) …"
    "$environment/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$1" "${@:3}"
    echo "$mark" >"$stamp"
}

install_clients() { # into .clients; without the resolver and its search, since these files name all that is installed
    install requirements-clients.txt .clients/python --no-deps --no-compile
    install requirements-instructor.txt .clients/instructor --no-deps --no-compile
    if command -v npm >/dev/null; then
        install_node_clients
    else
        echo "Those in JavaScript are left out: they need Node.js 20 or newer, with npm." >&2
    fi
}

install_node_clients() {
    local from=tests/clients/node folder=.clients/node
    cmp --silent "$from/package-lock.json" "$folder/.installed" && return
    mkdir -p "$folder"
    cp "$from/package.json" "$from/package-lock.json" "$folder/"
    npm ci --prefix "$folder" --no-audit --no-fund --loglevel error
    cp "$from/package-lock.json" "$folder/.installed"
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
    clients) install_clients ;;
    *) sed -n '2,5s/^# //p' "$0"; exit 2 ;;
esac
