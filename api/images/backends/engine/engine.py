"""The engine: requests for pictures of one model, made together a pass at a time.  [torch; no Django]

engine = Engine(get_loader(), "sd15", loras)
engine.add(task)
while engine.tasks:
    ended = engine.step()   # tasks whose `result` is known now
engine.release()            # lets go of the model; the next step takes it again
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

import torch

from api.images.backends.adapters import apply_adapters
from api.images.backends.control_inputs import notes_on_controls
from api.images.backends.cudnn import cudnn_in_use
from api.images.backends.engine.admission import next_pass, next_to_start
from api.images.backends.engine.control import ControlNets, make_controls
from api.images.backends.engine.graph_cache import graphed
from api.images.backends.engine.image_prompts import make_image_prompts
from api.images.backends.engine.isolation import failing_alone, only_once, try_together
from api.images.backends.engine.new_rows import make_row
from api.images.backends.engine.pass_memory import PassMemory, meter_of
from api.images.backends.engine.passes import JoinCache, controlnets_of, run_pass
from api.images.backends.engine.progress import finish_row, report_step
from api.images.backends.engine.rows import Row
from api.images.backends.engine.second_pass import expect_second_pass, make_second_row
from api.images.backends.engine.tasks import Task
from api.images.backends.engine.traces import traced
from api.images.backends.inputs import leaves_unchanged, notes_on_source, unchanged_image
from api.images.backends.latents import decode_batch
from api.images.backends.lora_files import find_adapters
from api.images.backends.textual_inversion import find_embeddings
from api.images.spec import TEXT_TO_IMAGE, LoraUse
from api.loading.device_memory import OutOfMemory
from api.loading.file_states import FileStates
from api.model_loader import Lease, ModelLoader

DECODED_AT_ONCE = 4
"""Pictures in one pass of the VAE's decoder, on a device of its own: more gain nothing, and take memory."""


class Engine:
    """All requests have the model and the adapters in common, and nothing else. Used by one thread.

    `most_rows`: pictures that are worked on at the same time, at most; None: as many as the catalog says of the model.
    """

    def __init__(
        self, loader: ModelLoader, model_id: str, loras: Sequence[LoraUse] = (), *, most_rows: int | None = None
    ) -> None:
        self.loader, self.model_id, self._loras = loader, model_id, loras
        self.most_rows = most_rows or max(1, loader.catalog.get(model_id).max_batch)
        self.tasks: list[Task] = []
        """Those without a result, in the order in which they were added."""
        self._rows: list[Row] = []
        self._done: list[Row] = []
        """Rows whose pictures are still to be decoded."""
        self._largest_pass = self.most_rows
        """Rows in one pass: halved when memory runs out."""
        self._memory = PassMemory(meter_of(loader.device), loader.free_memory)
        self._passes = 0
        self._joined = JoinCache()
        self._controlnets = ControlNets(loader, self._on_load)
        self._lease: Lease | None = None
        self._files: FileStates | None = None
        """Those of which the rows' latents and embeddings are."""
        self._stack = ExitStack()
        self._busy: list[Task] = []
        """Those that are worked on at the moment, or were when that failed."""
        self._measures: list[str] = []
        """Against a shortage of memory; those that were needed so far."""
        self._notes: list[str] = []
        """What every task is told, whenever it joined: of adapters that fit in part, of memory that ran out."""

    def add(self, task: Task) -> None:
        """Where the source picture stays as it is, it is given back at once, and `result` is known."""
        for note in (*notes_on_source(task.request), *notes_on_controls(task.request)):
            task.hooks.warn(note)
        if leaves_unchanged(task.request):
            for number in range(task.pictures):
                task.finish_picture(number, unchanged_image(task.request))
        self.tasks.append(task)

    @property
    def room(self) -> int:
        """How many tasks more could be worked on at once: each gets a row before another gets its second. None where the model's files
        have changed: it is loaded again when those that are worked on have ended.
        """
        if self._lease is not None and self._lease.loaded_model.has_changed_files:
            return 0
        return max(0, self.most_rows - len(self.tasks))

    def step(self) -> list[Task]:
        """Start rows while there is room, run one pass, decode what is done. Returns the tasks that have a result now.

        Raises what the loader raises for a model that can't be loaded, and DeviceFault; then no task goes on.
        """
        for task in self.tasks:
            task.stop_if_cancelled()
        if any(task.result is None for task in self.tasks):
            self._work(self._take_model())
        return self._remove_ended()

    def release(self) -> None:
        """Let go of the model until the next step. What is known of its memory is kept."""
        self._lease = None
        self._joined.clear()
        self._controlnets.release()
        self._stack.close()

    def close(self) -> None:
        self._rows, self._done, self.tasks = [], [], []
        self.release()

    # ---------------------------------------------------------------- the model

    def _take_model(self) -> Lease:
        if self._lease is not None:
            return self._lease
        started = time.monotonic()
        lease = self._stack.enter_context(self.loader.use(self.model_id, TEXT_TO_IMAGE, self._on_load))
        self._lease = lease
        self._restart_rows_of_other_files(lease)
        try:
            notes = apply_adapters(lease.pipeline, find_adapters(self.loader, lease, self._loras))
        except BaseException:
            self.release()
            raise
        self._stack.enter_context(cudnn_in_use(deterministic=torch.backends.cudnn.deterministic))  # as the caller has it
        for task in self.tasks:
            task.hooks.add_time("load", time.monotonic() - started)
        self._add_notes(notes)
        return lease

    def _restart_rows_of_other_files(self, lease: Lease) -> None:
        """The model was let go of, and its files have changed since: no picture is made by two models."""
        if self._files not in (None, lease.loaded_model.files):
            for row in (*self._rows, *self._done):
                row.task.waiting.appendleft(row.number)
            self._rows, self._done = [], []
        self._files = lease.loaded_model.files

    def _on_load(self, fraction: float, text: str) -> None:
        for task in self.tasks:
            task.hooks.on_load(fraction, text)

    # ---------------------------------------------------------------- one step

    def _work(self, lease: Lease) -> None:
        """Memory that runs out is the fault of those alone that were worked on when nothing more could be done about it."""
        with self._leaving_on_error():
            for measure in self._measures:
                lease.apply_temporary_measure(measure)
            try:
                self._work_within_memory(lease)
            except OutOfMemory as error:
                if not self._busy:
                    raise  # the fault of none: it would come again
                for task in self._busy:
                    task.fail(error)
            self._measures = list(lease.temporary_measures)
            self._add_notes(lease.notes)

    def _add_notes(self, notes: Sequence[str]) -> None:
        self._notes = list(dict.fromkeys([*self._notes, *notes]))

    def _work_within_memory(self, lease: Lease) -> None:
        rows: list[Row] | None = None
        for attempt in self.loader.retry_on_oom(lease, batch_size=self._largest_pass):
            with attempt:
                self._largest_pass = attempt.batch_size
                self._decode_done(lease)  # of a step whose decoding ran out of memory
                self._start_rows(lease)
                rows = next_pass(self._rows) if rows is None else rows
                while rows:
                    sharing = rows[: self._largest_pass]
                    sharing = sharing[: self._memory.count_fitting(sharing, lease.measures)]
                    try_together(sharing, partial(self._run_pass, lease))
                    del rows[: len(sharing)]
                    self._report_pass(lease, sharing)
                self._decode_done(lease)

    def _start_rows(self, lease: Lease) -> None:
        while len(self._rows) < self.most_rows and (task := next_to_start(self.tasks, self._rows)):
            with failing_alone(task):
                with self._working_on([task], "load"):
                    for use in task.request.spec.control:
                        self._controlnets.take(use.model_id)
                    image_prompts = make_image_prompts(self.loader, lease, task, self._on_load)
                with self._working_on([task], "encode"):
                    embeddings = find_embeddings(self.loader.catalog, lease.entry, task.request.spec)
                    by_table = lease.device.type != "cpu"
                    controls = make_controls(lease, task, self._controlnets)
                    row = make_row(
                        lease,
                        task,
                        task.waiting[0],
                        by_table=by_table,
                        embeddings=embeddings,
                        controls=controls,
                        image_prompts=image_prompts,
                    )
                    expect_second_pass(lease, row)
                self._rows.append(row)
                task.waiting.popleft()

    def _run_pass(self, lease: Lease, rows: Sequence[Row]) -> None:
        """If it raises, no row has changed."""
        with (
            self._working_on([row.task for row in rows], "denoise"),
            graphed(lease, lease.pipeline.unet, pads_rows=True),
            traced(lease, lease.pipeline.unet),
            self._controlnets.running(controlnets_of(rows)) as controlnets,
            self._memory.watching(rows, lease.measures),
        ):
            run_pass(lease.pipeline.unet, rows, self._joined, controlnets, only_once)
        self._passes += 1
        for row in rows:
            row.last_pass = self._passes

    def _report_pass(self, lease: Lease, rows: Sequence[Row]) -> None:
        tasks = dict.fromkeys(row.task for row in rows if row.task.result is None)
        in_work = [(task, [row for row in self._rows if row.task is task]) for task in tasks]
        self._done += [row for row in rows if row.is_done]
        self._rows = [row for row in self._rows if not row.is_done]
        for task, own in in_work:
            report_step(lease, task, own, self.most_rows)

    def _decode_done(self, lease: Lease) -> None:
        """On a CPU one by one, since there the VAE gains nothing from a batch."""
        self._start_second_passes(lease)
        most = 1 if lease.device.type == "cpu" else DECODED_AT_ONCE
        while self._done:
            self._done = [row for row in self._done if row.task.result is None]
            rows = [row for row in self._done if row.latents.shape == self._done[0].latents.shape][:most]
            if rows:
                try_together(rows, partial(self._decode, lease))

    def _start_second_passes(self, lease: Lease) -> None:
        """Of rows that are done, and go on with an enlarged picture."""
        for row in [row for row in self._done if row.steps_after and row.task.result is None]:
            with failing_alone(row.task), self._working_on([row.task], "enlarge"):
                embeddings = find_embeddings(self.loader.catalog, lease.entry, row.task.request.spec)
                by_table = lease.device.type != "cpu"
                second = make_second_row(self.loader, lease, row, self._controlnets, by_table=by_table, embeddings=embeddings)
                self._rows.append(second)
            self._done.remove(row)

    def _decode(self, lease: Lease, rows: Sequence[Row]) -> None:
        with self._working_on([row.task for row in rows], "decode"):
            decoded = decode_batch(lease.pipeline, torch.cat([row.latents for row in rows]))
        for row, picture in zip(rows, decoded, strict=True):
            self._done.remove(row)
            with only_once(row):
                finish_row(row, picture)

    @contextmanager
    def _working_on(self, tasks: Sequence[Task], phase: str) -> Iterator[None]:
        self._busy = tasks = list(dict.fromkeys(tasks))
        started = time.monotonic()
        try:
            yield
        finally:
            for task in tasks:
                task.hooks.add_time(phase, time.monotonic() - started)
        self._busy = []

    def _remove_ended(self) -> list[Task]:
        ended = [task for task in self.tasks if task.result is not None]
        for task in ended:
            for note in self._notes:
                task.hooks.warn(note)
        self.tasks = [task for task in self.tasks if task.result is None]
        self._busy = []
        self._rows = [row for row in self._rows if row.task.result is None]
        self._controlnets.keep({use.model_id for task in self.tasks for use in task.request.spec.control})
        return ended

    @contextmanager
    def _leaving_on_error(self) -> Iterator[None]:
        """The lease sees what went wrong while it was held."""
        try:
            yield
        except BaseException as error:
            self._lease = None
            self._controlnets.release()
            self._stack.__exit__(type(error), error, error.__traceback__)
            raise
