"""What /metrics counted before the outbox came, it still counts after `migrate`."""

from datetime import timedelta

import pytest
from django.db.models.functions import Now

from api.jobs.models import Job
from api.metric_definitions import RUN_BUCKETS
from api.system.ended_job_counts import count_ended_jobs
from api.system.models import JobCounter
from tests.migrating import migrated_back

LOWEST = "00000000-0000-0000-0000-000000000000"
BEFORE = "0001_initial"


@pytest.mark.django_db(transaction=True)
def test_counters_go_on_from_where_they_were():
    counted_until = Now() - timedelta(hours=1)
    with migrated_back("system", BEFORE) as old:
        buckets = [0, 0, 0, 0, 0, 7, *[0] * 7]
        old.get_model("system", "JobTally").objects.create(
            kind="noop", model_id="", status="succeeded", count=7, seconds=21.0, buckets=buckets
        )
        old.get_model("system", "TallyMark").objects.create(counted_until=counted_until, oldest_open=LOWEST)
        known = {"kind": "noop", "owner_key": "alice", "status": "succeeded"}
        for hours in (2, 0):  # the first was counted
            ended = Now() - timedelta(hours=hours)
            Job.objects.create(**known, started_at=ended - timedelta(seconds=4), finished_at=ended)
        Job.objects.create(kind="noop", owner_key="alice")
    count_ended_jobs()
    counter = JobCounter.objects.get()
    assert (counter.count, counter.seconds) == (8, pytest.approx(25.0, abs=0.01))
    assert len(counter.buckets) == len(RUN_BUCKETS)
    assert counter.buckets[5] + counter.buckets[6] == 8


@pytest.mark.django_db(transaction=True)
def test_a_server_that_never_counted_begins_with_nothing():
    with migrated_back("system", BEFORE):
        Job.objects.create(kind="noop", owner_key="alice", status="failed", finished_at=Now())
    count_ended_jobs()
    assert not JobCounter.objects.exists()
