"""What PostgreSQL does while something is measured: statements by time, what its connections wait for, its processor time."""

import threading
import time
from collections import Counter
from typing import Any

import psutil
import psycopg

STATEMENTS = """SELECT calls, total_exec_time, rows, REGEXP_REPLACE(query, '\\s+', ' ', 'g') FROM pg_stat_statements
    WHERE dbid = (SELECT oid FROM pg_database WHERE datname = CURRENT_DATABASE()) ORDER BY total_exec_time DESC LIMIT %s"""
WAITS = """SELECT COALESCE(wait_event_type || ' ' || wait_event, 'processor'), COUNT(*) FROM pg_stat_activity
    WHERE datname = CURRENT_DATABASE() AND state = 'active' AND pid <> PG_BACKEND_PID() GROUP BY 1"""
SAMPLE_SECONDS = 0.25


class DatabaseLoad(threading.Thread):
    """Between `start` and `stop`. Needs a connection of its own, beside those that are measured."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.connection = psycopg.connect(url, autocommit=True)
        self.has_statements = self.begin_statements()
        self.waits: Counter[str] = Counter()
        self.most_connections = self.samples = 0
        self.ended = threading.Event()
        self.processor_before, self.began = processor_seconds(), time.monotonic()

    def begin_statements(self) -> bool:
        """pg_stat_statements counts where it was loaded with the server (shared_preload_libraries)."""
        try:
            self.connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
            self.connection.execute("SELECT pg_stat_statements_reset()")
        except psycopg.Error:
            return False
        return True

    def run(self) -> None:
        while not self.ended.wait(SAMPLE_SECONDS):
            self.waits.update(dict(self.connection.execute(WAITS).fetchall()))
            self.samples += 1
            row = self.connection.execute("SELECT COUNT(*) FROM pg_stat_activity WHERE datname = CURRENT_DATABASE()").fetchone()
            self.most_connections = max(self.most_connections, row[0] if row else 0)

    def stop(self) -> list[tuple[str, str]]:
        """Rows of a table."""
        seconds = time.monotonic() - self.began
        spent = processor_seconds() - self.processor_before
        self.ended.set()
        self.join()
        rows = [("processors of PostgreSQL", f"{spent / seconds:.2f}"), ("connections", str(self.most_connections))]
        rows += [
            (f"active: {name}", f"{count / max(self.samples, 1):.2f} on average") for name, count in self.waits.most_common(6)
        ]
        return rows + (self.statements() if self.has_statements else [("statements", "pg_stat_statements is not loaded")])

    def statements(self, most: int = 10) -> list[tuple[str, str]]:
        found: list[Any] = self.connection.execute(STATEMENTS, [most], prepare=False).fetchall()
        return [(f"{total / 1000:.1f} s, {calls} × {total / calls:.2f} ms", shorten(query)) for calls, total, _, query in found]


def shorten(query: str) -> str:
    return query if len(query) <= 150 else f"{query[:110]} … {query[-36:]}"


def processor_seconds() -> float:
    """Of all processes of PostgreSQL on this machine, those that have ended included."""
    spent = 0.0
    for process in psutil.process_iter(["name", "cpu_times"]):
        if (process.info["name"] or "").startswith("postgres") and (times := process.info["cpu_times"]):
            spent += times.user + times.system + times.children_user + times.children_system
    return spent
