"""Webhooks while the web process and the worker are killed and the receiver has random faults; receivers that hang. 1 if any is lost.

    python -m benchmarks.webhooks --kills 40 --jobs 1000
    python -m benchmarks.webhooks --kills 40 --jobs 1000 --database postgresql://user@localhost/postgres

Each job has a receiver's URL of its own, which answers well, with an error, with a redirect, too late, not at all, or is cut off in the
middle. A message has arrived once its receiver has answered 200.
"""

import random
import statistics
import sys
import threading
import time
from collections import Counter
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError

from benchmarks.harness import make_server, parser, prepare, print_machine, print_table, until
from benchmarks.kill_test import Run, wait_for_the_rest
from tests.webhooks.receiver import Handler, Receiver

RETRY_SECONDS = ",".join(["0.2", "0.5", *["1"] * 30])  # so many that random faults alone give none up
FAULTS = {"ok": 60, "fails": 12, "moved": 6, "dies": 10, "cut": 10, "hangs": 2}
PATIENCE_SECONDS = 120.0
HANGING, GOOD = 100, 50


class FaultyHandler(Handler):
    server: "FaultyReceiver"

    def page_random(self) -> None:
        with self.server.lock:
            fault = self.server.random.choices(list(FAULTS), list(FAULTS.values()))[0]
            self.server.faults[fault] += 1
        getattr(self, f"page_{fault}")()

    def page_ok(self) -> None:
        super().page_ok()
        with self.server.lock:
            self.server.answered[self.path] += 1
            self.server.answered_at.setdefault(self.path, time.monotonic())

    def page_cut(self) -> None:
        """The message was read, and the answer is lost on its way."""
        self.connection.close()


class FaultyReceiver(Receiver):
    def __init__(self, seed: int, secret: str) -> None:
        super().__init__(FaultyHandler)
        self.verifier = Webhook(secret)
        self.wrong = 0
        self.errors: list[str] = []
        self.random = random.Random(seed)
        self.faults: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.answered_at: dict[str, float] = {}

    def note(self, path: str, headers: dict[str, str], body: bytes) -> None:
        super().note(path, headers, body)
        try:
            self.verifier.verify(body, headers)
        except WebhookVerificationError as error:
            self.wrong += 1
            self.errors.append(f"{path}: {error}; {len(body)} bytes, {headers}")


class WebhookRun(Run):
    def __init__(self, receiver: Receiver, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.receiver = receiver

    def body_of(self, number: int) -> dict[str, Any]:
        return {"kind": "sleep", "params": {"seconds": (number % 5) / 100}, "webhook": self.receiver.url(f"random/{number}")}


# ---------------------------------------------------------------- with kills


def run_with_kills(server: Any, receiver: FaultyReceiver, options: Any) -> tuple[list[tuple[str, Any]], int]:
    from api.webhooks.models import Delivery

    run = WebhookRun(receiver, server, options.kills, options.jobs, options.seed)
    started = time.monotonic()
    killer = threading.Thread(target=run.kill_all)
    killer.start()
    run.send_all()
    killer.join()
    wait_for_the_rest()
    wait_for_deliveries(options.jobs)
    seconds = time.monotonic() - started
    lost = options.jobs - len(receiver.answered)
    doubled = Delivery.objects.count() - options.jobs
    rows = [
        ("kills", ", ".join(f"{count} of the {name}" for name, count in sorted(run.killed.items()) if count)),
        ("jobs with a webhook", f"{options.jobs} in {seconds:.0f} s"),
        ("what the receiver did", ", ".join(f"{count} {fault}" for fault, count in receiver.faults.most_common())),
        ("answered 200 more than once", sum(count - 1 for count in receiver.answered.values())),
        ("lost", lost),
        ("deliveries more or fewer than jobs", doubled),
        ("deliveries that are not delivered", Delivery.objects.exclude(status="delivered").count()),
        ("signatures that are wrong", receiver.wrong),
    ]
    return rows, lost + abs(doubled) + receiver.wrong + Delivery.objects.exclude(status="delivered").count()


def wait_for_deliveries(count: int) -> None:
    """Until all are done with, or nothing has moved for long."""
    from api.webhooks.models import Delivery

    left, moved = -1, time.monotonic()
    while left != 0 and time.monotonic() - moved < PATIENCE_SECONDS:
        now = count - Delivery.objects.exclude(status="pending").count()
        if now != left:
            left, moved = now, time.monotonic()
        time.sleep(0.2)


# ---------------------------------------------------------------- receivers that hang


def run_with_hanging(server: Any, receiver: FaultyReceiver) -> tuple[list[tuple[str, Any]], int]:
    """The good ones' jobs end while each of the others holds a place for as long as it may."""
    hanging = [post(server, receiver, f"hangs/{number}") for number in range(HANGING)]
    until(lambda: sum(path.startswith("/hangs/") for path in receiver.counts) == HANGING, 60)
    delays = []
    for number in range(GOOD):
        sent = time.monotonic()
        post(server, receiver, f"ok/{number}")
        delays.append(until(lambda: receiver.answered_at.get(f"/ok/{number}"), 60) - sent)  # noqa: B023
    rows = [
        ("receivers that hang", len(hanging)),
        (f"from request to receipt, {GOOD} others: median, worst", f"{statistics.median(delays):.2f} s, {max(delays):.2f} s"),
    ]
    return rows, max(delays) > 10


def post(server: Any, receiver: Receiver, path: str) -> str:
    body = {"kind": "noop", "webhook": receiver.url(path)}
    reply = server.client.post("/api/test-jobs/", json=body, headers={"Prefer": "respond-async"})
    return str(reply.json()["id"])


def main() -> int:
    arguments = parser(__doc__.splitlines()[0])
    arguments.add_argument("--kills", type=int, default=40)
    arguments.add_argument("--jobs", type=int, default=1000)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--no-hanging", action="store_true", help="without the second part")
    options = arguments.parse_args()
    data = prepare(options, WEBHOOK_ALLOW_PRIVATE="true", WEBHOOK_RETRY_SECONDS=RETRY_SECONDS)
    print_machine(data)
    from api.webhooks.settings_of_keys import settings_of

    server = make_server(data, JOB_RUNNER="embedded")
    server.start()
    faults = 0
    with FaultyReceiver(options.seed, settings_of("local").read_secret()) as receiver:
        rows, violations = run_with_kills(server, receiver, options)
        print_table("Webhooks under kills", rows)
        if not options.no_hanging:
            hanging, faults = run_with_hanging(server, receiver)
            print_table("Receivers that hang", hanging)
    server.stop()
    return 1 if violations or faults else 0


if __name__ == "__main__":
    sys.exit(main())
