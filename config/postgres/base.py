"""Django's PostgreSQL backend, whose pool recovers from a restarted server.

psycopg's pool tries each lost connection again at growing intervals, and whoever asks meanwhile waits in vain: with 16 of them cut,
requests failed for 20 s after the server had come back (measured). Here a pool that can't give a connection is thrown away, and a new
one is asked once. And it asks a connection that was in use a moment ago only then whether it is alive if the server has sent something.

And it runs prepared statements, the few that decide how fast the queue is.
"""

import threading
import time
from collections.abc import Sequence
from multiprocessing.connection import wait as wait_for_any
from typing import Any

import psycopg
from django.db.backends.base.base import NO_DB_ALIAS
from django.db.backends.postgresql import base
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

ALIVE_SECONDS = 1.0
_renewing = threading.Lock()


class PooledConnection(psycopg.Connection):
    given_back = float("-inf")


class Pool(ConnectionPool[PooledConnection]):
    def putconn(self, conn: PooledConnection) -> None:
        conn.given_back = time.monotonic()
        super().putconn(conn)

    @staticmethod
    def check_if_in_doubt(conn: PooledConnection) -> None:
        """Raises for one that is lost: after a restart of the server, the pool replaces these instead of handing them out.

        To ask takes a round trip, as long as most of what a connection is wanted for. A server that ends says so at once; only what
        has been idle for longer may have been dropped silently on the way (a NAT).
        """
        if time.monotonic() - conn.given_back > ALIVE_SECONDS or wait_for_any([conn.fileno()], 0):
            ConnectionPool.check_connection(conn)


class DatabaseWrapper(base.DatabaseWrapper):
    _prepared_cursor: Any = None

    @property
    def pool(self) -> Any:
        """As Django makes it, but for the check and what that needs."""
        options = self.settings_dict["OPTIONS"].get("pool")
        if self.alias == NO_DB_ALIAS or not options:
            return None
        if self.alias not in self._connection_pools:  # type: ignore[attr-defined]
            made = Pool(
                connection_class=PooledConnection,
                kwargs={**self.get_connection_params(), "autocommit": True},
                open=False,
                configure=self._configure_connection,  # type: ignore[attr-defined]
                check=Pool.check_if_in_doubt,
                **options,
            )
            self._connection_pools.setdefault(self.alias, made)  # type: ignore[attr-defined]
        return self._connection_pools[self.alias]  # type: ignore[attr-defined]

    def get_new_connection(self, conn_params: dict[str, Any]) -> object:
        asked = self.pool
        try:
            return super().get_new_connection(conn_params)
        except (PoolTimeout, PoolClosed):
            self.renew_pool(asked)
            return super().get_new_connection(conn_params)

    def renew_pool(self, dead: object) -> None:
        """Once, however many threads have waited for it in vain."""
        with _renewing:
            if self._connection_pools.get(self.alias) is dead:  # type: ignore[attr-defined]
                self.close_pool()

    def prepared_cursor(self) -> Any:
        """One for each connection: to make one takes half as long as what Python does for a statement."""
        if self._prepared_cursor is None or self._prepared_cursor.connection is not self.connection:
            self._prepared_cursor = psycopg.Cursor(self.connection)  # type: ignore[arg-type]
        return self._prepared_cursor

    def run_prepared(self, statement: str, params: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Its rows. Read and planned once for each connection, where Django's statements are at each execution.

        Without Django's cursors, unless somebody wants to see the statement.
        """
        self.close_if_health_check_failed()
        self.ensure_connection()
        self.validate_no_broken_transaction()
        with self.wrap_database_errors:
            cursor = self.prepared_cursor()
            if self.execute_wrappers or self.queries_logged:
                cursor = self._prepare_cursor(cursor)  # type: ignore[attr-defined]
            cursor.execute(statement, params)
            return cursor.fetchall()  # type: ignore[no-any-return]
