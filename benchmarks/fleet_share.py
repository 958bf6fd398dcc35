"""One process's share of a simulated fleet: workers and clients as coroutines, which call the queue's own code through a few threads.

What is simulated is the work alone: a worker sleeps instead of running a model. What it claims, what keeps its leases and its row,
sweeps, and ends its jobs is the code of api/jobs, and so is what a client submits and waits with.
"""

import asyncio
import random
import threading
import time
import uuid
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Plan:
    workers: int
    clients: int
    owners: int
    models: int
    held: int
    """How many models fit into a worker's memory."""
    seconds: float
    job_seconds: float
    connections: int
    """To the database, of this process."""
    seed: int = 0


@dataclass
class Counts:
    claims: int = 0
    empty_claims: int = 0
    ended: int = 0
    hits: int = 0
    """Jobs that were claimed by a worker that held their model."""
    submitted: int = 0
    refused: int = 0
    errors: int = 0
    claim_seconds: list[float] = field(default_factory=list)
    """Of claims that found a job: in the thread, without the wait for one."""
    thread_waits: list[float] = field(default_factory=list)
    """How long calls waited for a connection: where it is long, this process is the bound and not the database."""
    messages: dict[str, int] = field(default_factory=dict)


def run_share(plan: Plan, ready: Any, go: Any, results: Any) -> None:
    """The target of a process."""
    import django

    django.setup()
    share = Share(plan)
    ready.release()
    go.wait()
    asyncio.run(share.run())
    results.put(share.counts)


class Share:
    def __init__(self, plan: Plan) -> None:
        self.plan, self.counts = plan, Counts()
        self.chance = random.Random(plan.seed)
        self.pool = ThreadPoolExecutor(plan.connections)
        self.idle: set[asyncio.Event] = set()
        self.over = False

    async def run(self) -> None:
        workers = await asyncio.gather(*(self.call(lambda: SimulatedWorker(self)) for _ in range(self.plan.workers)))
        listener = threading.Thread(target=self.listen, args=(asyncio.get_running_loop(),), daemon=True)
        listener.start()
        tasks = [asyncio.ensure_future(task) for worker in workers for task in (worker.work(), worker.keep())]
        tasks += [asyncio.ensure_future(self.client()) for _ in range(self.plan.clients)]
        await asyncio.sleep(self.plan.seconds)
        self.over = True
        self.wake()
        for task in tasks[2 * len(workers) :]:
            task.cancel()
        await asyncio.wait(tasks, timeout=2 * self.plan.job_seconds + 20)

    async def call(self, function: Callable[[], T]) -> T:
        asked = time.monotonic()

        def timed() -> T:
            self.counts.thread_waits.append(time.monotonic() - asked)
            return function()

        return await asyncio.get_running_loop().run_in_executor(self.pool, timed)

    async def attempt(self, function: Callable[[], T], otherwise: T) -> T:
        """A worker goes on after an error of the database, and so does a client."""
        try:
            return await self.call(function)
        except Exception as error:
            self.counts.errors += 1
            name = f"{type(error).__name__}: {str(error)[:60]}"
            self.counts.messages[name] = self.counts.messages.get(name, 0) + 1
            return otherwise

    def listen(self, loop: asyncio.AbstractEventLoop) -> None:
        """One subscription for all workers of this process: each that is idle wakes, as each of a real fleet does."""
        from api.jobs.notify.channels import subscribe

        subscription = subscribe("worker")
        while not self.over:
            if subscription.wait(0.5):
                loop.call_soon_threadsafe(self.wake)
        subscription.close()

    def wake(self) -> None:
        for event in self.idle:
            event.set()

    def choose_model(self) -> str:
        """The first are asked for most: the second half as often, the third a third as often."""
        weights = [1 / (number + 1) for number in range(self.plan.models)]
        return f"model-{self.chance.choices(range(self.plan.models), weights)[0]}"

    async def client(self) -> None:
        """Submits a job and waits for its end, again and again."""
        from api.jobs.api.waiting import wait_until_final
        from api.jobs.lifecycle import submit_job

        await asyncio.sleep(self.chance.random() * min(5.0, self.plan.seconds / 4))
        owner = f"owner-{self.chance.randrange(self.plan.owners)}"
        while not self.over:
            spec = make_spec(self.choose_model())
            job = await self.attempt(lambda spec=spec: submit_job(spec=spec, owner_key=owner), None)  # type: ignore[misc]
            if job is None:
                await asyncio.sleep(1)
                continue
            self.counts.submitted += 1
            await wait_until_final(job.pk, self.plan.seconds)


def make_spec(model_id: str) -> Any:
    from api.jobs.kinds import get_kind

    return get_kind("noop").spec_class.from_row({}, kind="noop", model_id=model_id, prompt="")


class SimulatedWorker:
    """The queue's own WorkerLoop, whose steps are taken by coroutines instead of threads of its own."""

    def __init__(self, share: Share) -> None:
        from api.jobs.worker.loop import WorkerLoop

        self.share, self.plan = share, share.plan
        self.held: OrderedDict[str, None] = OrderedDict.fromkeys(share.choose_model() for _ in range(self.plan.held))
        self.loop = WorkerLoop(worker_id=uuid.uuid4(), describe=self.describe)
        self.loop.keeper.next_clean = float("inf")  # minutes of tidying are not what is measured
        self.claimed: deque[bool] = deque([False, False], maxlen=2)

    def describe(self) -> dict[str, Any]:
        return {"device": {"type": "simulated"}, "loaded_models": [{"id": name, "bytes": 1} for name in self.held]}

    async def work(self) -> None:
        from api.jobs.worker.loop import IDLE_SECONDS

        woken = asyncio.Event()
        while not self.share.over:
            jobs: list[Any] = await self.share.attempt(self.claim, [])
            self.claimed.append(bool(jobs))
            if not jobs:
                self.share.counts.empty_claims += 1
                await self.wait(woken, self.loop.placement.seconds_to_wait(IDLE_SECONDS))
                continue
            await asyncio.sleep(self.share.chance.expovariate(1 / self.plan.job_seconds))
            await self.share.attempt(self.end, None)

    async def wait(self, woken: asyncio.Event, seconds: float) -> None:
        woken.clear()
        self.share.idle.add(woken)
        try:
            async with asyncio.timeout(seconds):
                await woken.wait()
        except TimeoutError:
            pass
        finally:
            self.share.idle.discard(woken)

    def claim(self) -> list[Any]:
        """As WorkerLoop.run_once does it; what was claimed is held under its lease."""
        from api.jobs import lifecycle
        from api.jobs.worker.endings import start_readable

        started, loop = time.monotonic(), self.loop
        condition = loop.placement.condition()
        jobs = lifecycle.claim_jobs(worker=loop.worker, is_likely=all(self.claimed), placement=condition)
        if jobs:
            self.share.counts.claim_seconds.append(time.monotonic() - started)
            loop.batch = start_readable(jobs, loop.publisher, loop.interrupted)
            loop.hold()
            self.count(jobs)
        return jobs

    def count(self, jobs: list[Any]) -> None:
        self.share.counts.claims += 1
        self.share.counts.hits += sum(job.model_id in self.held for job in jobs)
        for job in jobs:  # the least recently used model makes room
            self.held[job.model_id] = None
            self.held.move_to_end(job.model_id)
        while len(self.held) > self.plan.held:
            self.held.popitem(last=False)

    def end(self) -> None:
        from api.jobs.running import Finished
        from api.jobs.worker.endings import end

        for running in self.loop.batch:
            end(Finished(running, {}))
            self.share.counts.ended += running.ended
        self.loop.batch = []
        self.loop.hold()

    async def keep(self) -> None:
        """The lease keeper's turns, each second: heartbeat, cancellations, sweep."""
        await asyncio.sleep(self.share.chance.random() * min(5.0, self.plan.seconds))
        while not self.share.over:
            await self.share.attempt(self.loop.keeper.turn, None)
            await asyncio.sleep(1)
