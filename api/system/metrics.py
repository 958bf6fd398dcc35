"""/metrics: what the server counts, in Prometheus' format, the same whichever process is asked.

Totals are in rows to which all processes add (metric_definitions.py, totals.py, ended_job_counts.py); the rest is read when Prometheus asks
(gauges.py). All of it is of the whole fleet, but for the disks, which are those of the process that answers.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from api.jobs.states import FINAL, Status
from api.metric_definitions import RUN_BUCKETS, TOTALS, Histogram, Total
from api.system.ended_job_counts import count_ended_jobs
from api.system.gauges import gauges
from api.system.models import JobCounter, MetricTotal
from api.system.totals import add_counted, read_totals

Family = CounterMetricFamily | HistogramMetricFamily
Parts = dict[str, float]


def render(accept: str) -> tuple[bytes, str]:
    """The body and its content type, in the newest format that the scraper accepts."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(ServerCollector())
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class ServerCollector(Collector):
    """Asks the database and the disks, once a scrape."""

    def collect(self) -> Iterator[Metric]:
        yield from gauges()
        yield from history_metrics()
        yield from total_metrics()


def history_metrics() -> Iterator[Metric]:
    count_ended_jobs()
    labels = ["kind", "model_id"]
    ended = {}
    runs = HistogramMetricFamily("darkroom_job_run_seconds", "What jobs that succeeded took a worker.", labels=labels)
    for row in JobCounter.objects.order_by("pk"):
        ended[row.kind, row.model_id, row.status] = row.count
        if row.status == Status.SUCCEEDED:
            runs.add_metric([row.kind, row.model_id], cumulative(RUN_BUCKETS, row.buckets), row.seconds)
    yield finished_metric(ended)
    yield runs


def finished_metric(ended: dict[tuple[str, str, str], int]) -> Metric:
    """With a 0 for what has not happened: Prometheus sees no growth in a series that begins with its first event."""
    family = CounterMetricFamily("darkroom_jobs_finished", "Jobs that have ended.", labels=["kind", "model_id", "status"])
    for kind, model_id in dict.fromkeys((kind, model_id) for kind, model_id, _ in ended):
        for status in sorted(FINAL):
            family.add_metric([kind, model_id, status], ended.get((kind, model_id, status), 0))
    return family


def cumulative(buckets: Sequence[float], counts: Sequence[float]) -> list[tuple[str, float]]:
    return [(floatToGoString(most), total) for most, total in zip(buckets, accumulate(counts), strict=True)]


def total_metrics() -> Iterator[Metric]:
    """What nobody has counted yet has its name here, and a sample where it has no labels."""
    add_counted()
    families = {total.name: family_of(total) for total in TOTALS.values()}
    for name, labels, parts in [*unlabelled(), *series()]:
        if name in families and len(labels) == len(TOTALS[name].labels):  # else it is of another version
            add_series(families[name], TOTALS[name], labels, parts)
    yield from families.values()


def family_of(total: Total) -> Family:
    family = HistogramMetricFamily if isinstance(total, Histogram) else CounterMetricFamily
    return family(total.name, total.description, labels=total.labels)


def unlabelled() -> Iterator[tuple[str, tuple[str, ...], Parts]]:
    counted = set(MetricTotal.objects.filter(labels="[]").values_list("name", flat=True))
    return ((total.name, (), {}) for total in TOTALS.values() if not total.labels and total.name not in counted)


def series() -> Iterator[tuple[str, tuple[str, ...], Parts]]:
    found: dict[tuple[str, tuple[str, ...]], Parts] = {}
    for name, labels, part, value in read_totals():
        found.setdefault((name, labels), {})[part] = value
    return ((name, labels, parts) for (name, labels), parts in found.items())


def add_series(family: Family, total: Total, labels: Sequence[str], parts: Parts) -> None:
    if isinstance(family, CounterMetricFamily):
        family.add_metric(labels, parts.get("", 0.0))
    elif isinstance(total, Histogram):
        counts = [parts.get(str(place), 0.0) for place in range(len(total.buckets))]
        family.add_metric(labels, cumulative(total.buckets, counts), parts.get("sum", 0.0))
