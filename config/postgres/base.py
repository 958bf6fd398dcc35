"""Django's PostgreSQL backend, whose pool recovers from a restarted server.

psycopg's pool tries each lost connection again at growing intervals, and whoever asks meanwhile waits in vain: with 16 of them cut,
requests failed for 20 s after the server had come back (measured). Here a pool that can't give a connection is thrown away, and a new
one is asked once.

And it has cursors whose statements are prepared, for the few that decide how fast the queue is.
"""

import threading
from typing import Any

import psycopg
from django.db.backends.postgresql import base
from psycopg_pool import PoolClosed, PoolTimeout

_renewing = threading.Lock()


class DatabaseWrapper(base.DatabaseWrapper):
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

    def prepared_cursor(self) -> object:
        """Its statements are read and planned once for each connection, where Django's are at each execution."""
        self.close_if_health_check_failed()
        self.ensure_connection()
        with self.wrap_database_errors:
            return self._prepare_cursor(psycopg.Cursor(self.connection))  # type: ignore[attr-defined]
