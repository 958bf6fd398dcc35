"""When the day and the month of quotas begin and end: in UTC, by the database's clock where rows are counted."""

from datetime import UTC, datetime, timedelta

from api.jobs.store.statements import is_postgres
from api.quotas import Quota


def days() -> str:
    """SQL: when today and this month began, in UTC by the database's clock."""
    if is_postgres():
        now = "STATEMENT_TIMESTAMP() AT TIME ZONE 'UTC'"
        return f"SELECT ({now})::date, DATE_TRUNC('month', {now})::date"
    return "SELECT DATE('now'), DATE('now', 'start of month')"


def day_of(column: str) -> str:
    """SQL that is not before a day from its beginning on. SQLite compares texts, of which a day's is the first."""
    return f"({column} AT TIME ZONE 'UTC')::date" if is_postgres() else column


def free_at(quota: Quota) -> datetime | None:
    """When its period ends; None for what is kept."""
    if not quota.period:
        return None
    now = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if quota.period == "day":
        return now + timedelta(days=1)
    return (now.replace(day=1) + timedelta(days=32)).replace(day=1)
