#!/usr/bin/env python
"""Darkroom's commands; `./manage.py help` lists them."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    try:
        from django.core.management import execute_from_command_line
    except ModuleNotFoundError:
        sys.exit("Django is not installed for this Python: run ./start.sh once, and then .venv/bin/python manage.py …")

    try:
        execute_from_command_line(sys.argv)
    except Exception as error:
        from config.failures import sentence_for

        sentence = None if "--traceback" in sys.argv else sentence_for(error)
        if sentence is None:
            raise
        sys.exit(sentence)


if __name__ == "__main__":
    main()
