"""Posts what is to be sent, each in a thread of its own, and collects what came of it.

How many at once is limited, so that receivers that hang hold up no others: one post at a time to a URL that has not answered well
lately, and a number of places for each group (`Places`) of which one owner has a part.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from api import tracing
from api.files.fetching import MAX_SECONDS, Unreachable, post_url
from api.jobs.webhooks import may_be_sent_to
from api.metric_definitions import webhook_seconds
from api.webhooks.retry_policy import Outcome

log = logging.getLogger("darkroom.webhooks")
T = TypeVar("T")
W = TypeVar("W")
SHOWN_BYTES = 1000
MOST_TO_GOOD_URL = 8
MOST_GOOD_URLS = 10_000


@dataclass(frozen=True)
class Message(Generic[T]):
    """`about`: what the outcome is reported of."""

    about: T
    url: str
    owner_key: str
    body: str
    headers: Mapping[str, str]
    trace_parent: str = ""


class Sender(Generic[T]):
    """`places` at once, and `of_one_owner` of them for one owner. `report` wakes whoever calls `outcomes`. For one thread."""

    def __init__(self, places: int, of_one_owner: int, report: Callable[[], object]) -> None:
        self.places, self.of_one_owner, self.report = places, of_one_owner, report
        self.urls: Counter[str] = Counter()
        self.owners: Counter[str] = Counter()
        self.good_urls: dict[str, None] = {}
        self.done: SimpleQueue[tuple[Message[T], Outcome]] = SimpleQueue()

    @property
    def room(self) -> int:
        return self.places - self.urls.total()

    def full_urls(self) -> list[str]:
        return [url for url, count in self.urls.items() if count >= self.most_to(url)]

    def most_to(self, url: str) -> int:
        return MOST_TO_GOOD_URL if url in self.good_urls else 1

    def may_send(self, url: str, owner_key: str) -> bool:
        return self.room > 0 and self.urls[url] < self.most_to(url) and self.owners[owner_key] < self.of_one_owner

    def choose(self, candidates: Sequence[tuple[W, str, str]]) -> list[W]:
        """Of (what, url, owner_key), in this order, those that `may_send` lets through together."""
        chosen, urls, owners = [], self.urls.copy(), self.owners.copy()
        for what, url, owner_key in candidates:
            if urls.total() >= self.places:
                break
            if urls[url] < self.most_to(url) and owners[owner_key] < self.of_one_owner:
                urls[url] += 1
                owners[owner_key] += 1
                chosen.append(what)
        return chosen

    def send(self, message: Message[T]) -> None:
        """Daemon threads: a process that ends waits for no receiver."""
        self.urls[message.url] += 1
        self.owners[message.owner_key] += 1
        thread = threading.Thread(target=self.post, args=(message,), name="webhook", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # as many threads as there may be
            self.done.put((message, Outcome(None, "The server had no thread to send this.", 0.0)))
            self.report()

    def post(self, message: Message[T]) -> None:
        try:
            with tracing.call("webhook", {}, message.trace_parent) as trace:
                outcome = post(message.url, message.body, {**message.headers, **trace})
                tracing.describe_reply(outcome.status)
        except Exception:
            log.exception("A webhook could not be sent")
            outcome = Outcome(None, "Sending this failed here; the log has it.", 0.0)
        webhook_seconds.observe(outcome.seconds, outcome.kind)
        self.done.put((message, outcome))
        self.report()

    def outcomes(self) -> list[tuple[T, Outcome]]:
        """Those that came since the last call."""
        found: list[tuple[T, Outcome]] = []
        while True:
            try:
                message, outcome = self.done.get_nowait()
            except Empty:
                return found
            found.append((message.about, outcome))
            self.note(message, outcome)

    def note(self, message: Message[T], outcome: Outcome) -> None:
        for counter, name in ((self.urls, message.url), (self.owners, message.owner_key)):
            counter[name] -= 1
            if not counter[name]:
                del counter[name]
        self.good_urls.pop(message.url, None)
        if outcome.is_taken:
            self.good_urls[message.url] = None
            if len(self.good_urls) > MOST_GOOD_URLS:
                del self.good_urls[next(iter(self.good_urls))]


def post(url: str, body: str, headers: Mapping[str, str]) -> Outcome:
    """Whatever comes of it."""
    started = time.monotonic()
    try:
        answer = post_url(url, body.encode(), headers=headers, max_seconds=MAX_SECONDS, allowed=may_be_sent_to)
    except Unreachable as error:
        return Outcome(None, error.detail, time.monotonic() - started)
    text = answer.body[:SHOWN_BYTES].decode(errors="replace").replace("\x00", "\N{REPLACEMENT CHARACTER}")
    if 300 <= answer.status < 400:
        text = f"Redirects are not followed. {text}"
    return Outcome(answer.status, text, time.monotonic() - started)
