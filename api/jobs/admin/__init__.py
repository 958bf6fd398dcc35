"""The history for people: every job, what it asked, how long it took and what came of it. Nothing is edited by hand."""

import re
import uuid
from collections.abc import Callable

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import render
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.views.decorators.http import require_POST

from api.errors import DarkroomError
from api.jobs.admin.detail import detail_context, live_context, pictures_of
from api.jobs.admin.tools import (
    CappedPaginator,
    MadeFilter,
    UsedModelFilter,
    between,
    bytes_text,
    chosen_only,
    date_text,
    newest,
    pill,
    searched,
    seconds_text,
)
from api.jobs.draining import asked_to_drain, drain, undo_drain
from api.jobs.kinds import kind_names
from api.jobs.lifecycle import cancel_job, retry_job
from api.jobs.models import Drain, Job, Worker
from api.jobs.states import ACTIVE, Status

MOST_AT_ONCE = 500
SHORT_ID = re.compile(r"[0-9a-f]{12}")  # as the list shows it
NOT_LISTED = ("params", "timings", "warnings", "progress", "body_hash", "idempotency_key", "batch_key", "error", "webhook")


class KindFilter(admin.SimpleListFilter):
    title = "kind"
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        return [(name, name) for name in kind_names()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Job]) -> QuerySet[Job]:
        return queryset.filter(kind=self.value()) if self.value() else queryset


class ReadOnlyAdmin(admin.ModelAdmin):
    """Rows that only services write."""

    paginator = CappedPaginator
    show_full_result_count = False
    list_per_page = 50
    list_max_show_all = 0
    show_facets = admin.ShowFacets.NEVER  # a count for each choice reads the whole table
    sortable_by = ()

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False


@admin.register(Job)
class JobAdmin(ReadOnlyAdmin):
    list_display = ["picture", "short_id", "state", "what", "asked", "owner_key", "waited", "ran"]
    list_display_links = ["short_id"]
    list_filter = [KindFilter, "status", UsedModelFilter, MadeFilter]
    search_fields = ["prompt"]
    search_help_text = (
        "Words of the prompt (without search_index in the newest 20,000 that the filters leave; a date leads further back), "
        "a job's id, owner:KEY for one owner's jobs, or source:NAME for those that came by one API (source:openai)."
    )
    actions = ["retry", "cancel", "remove"]

    # ------------------------------------------------------------ the list

    def get_queryset(self, request: HttpRequest) -> QuerySet[Job]:
        return super().get_queryset(request).order_by("-id")

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Job], search_term: str) -> tuple[QuerySet[Job], bool]:
        queryset = queryset.defer(*NOT_LISTED)
        term = search_term.strip()
        try:
            return queryset.filter(pk=uuid.UUID(term)), False
        except ValueError:
            pass
        if SHORT_ID.fullmatch(term):
            return newest(queryset).filter(pk__endswith=term), False
        if term.startswith("owner:"):
            return queryset.filter(owner_key=term.removeprefix("owner:").strip()), False
        if term.startswith("source:"):
            return newest(queryset).filter(source=term.removeprefix("source:").strip()), False
        return super().get_search_results(request, searched(queryset, term), search_term)

    @admin.display(description="")
    def picture(self, job: Job) -> SafeString:
        pictures = pictures_of(job)
        if not pictures:
            return SafeString('<span class="list-picture"></span>')
        address = pictures[0]["thumbnail_url"]
        return format_html('<img class="list-picture" src="{}" alt="" width="48" height="48" loading="lazy">', address)

    @admin.display(description="job")
    def short_id(self, job: Job) -> SafeString:
        shown = date_text(job.created_at)
        made = format_html('<time datetime="{}">{}</time>', job.created_at.isoformat(timespec="seconds"), shown)
        return format_html('<code title="{}">{}</code><br>{}', job.pk, str(job.pk)[-12:], made)

    @admin.display(description="status")
    def state(self, job: Job) -> SafeString:
        """And which attempt it is, where the first did not do."""
        return pill(job.status) if job.attempt < 2 else format_html("{}<br>attempt {}", pill(job.status), job.attempt)

    @admin.display(description="kind, model")
    def what(self, job: Job) -> SafeString:
        """And by which API, where it isn't this server's own."""
        by = f" by {job.source}" if job.source not in ("", "api") else ""
        return format_html('{}{}<br><span class="quiet">{}</span>', job.kind, by, job.model_id)

    @admin.display(description="prompt")
    def asked(self, job: Job) -> SafeString:
        prompt = Truncator(job.prompt)
        return format_html('<span class="list-prompt" title="{}">{}</span>', prompt.chars(400), prompt.chars(80))

    @admin.display(description="waited")
    def waited(self, job: Job) -> str:
        end = timezone.now() if job.status == Status.QUEUED else job.started_at or job.finished_at
        return seconds_text(between(job.created_at, end))

    @admin.display(description="ran")
    def ran(self, job: Job) -> str:
        return seconds_text(between(job.started_at, timezone.now() if job.status == Status.RUNNING else job.finished_at))

    # ------------------------------------------------------------ one job

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        own = [
            path("<uuid:pk>/live/", wrap(self.live), name="jobs_job_live"),
            path("<uuid:pk>/act/", wrap(require_POST(self.act)), name="jobs_job_act"),
        ]
        return own + super().get_urls()

    def find(self, request: HttpRequest, pk: object) -> Job:
        job: Job | None = self.get_object(request, str(pk))
        if job is None:
            raise Http404
        if not self.has_view_permission(request, job):
            raise PermissionDenied
        return job

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: object = None
    ) -> HttpResponse:
        job = self.find(request, object_id)
        context = {
            **self.admin_site.each_context(request),
            **detail_context(job),
            "opts": self.opts,
            "title": str(job),
            "may_act": self.has_act_permission(request),
            "may_remove": self.has_remove_permission(request),
        }
        return TemplateResponse(request, "admin/jobs/job/detail.html", context)

    def live(self, request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
        """The part of the page that moves, asked for each second until the job has ended."""
        job = self.find(request, pk)
        response = render(request, "admin/jobs/job/live.html", live_context(job))
        if job.is_final:
            response["HX-Refresh"] = "true"
        return response

    def act(self, request: HttpRequest, pk: uuid.UUID) -> HttpResponseBase:
        """A button of one job's page: the list's action for this row alone."""
        self.find(request, pk)
        action = self.get_actions(request).get(request.POST.get("do", ""))
        if action is None:
            raise PermissionDenied
        response: object = action[0](self, request, self.get_queryset(request).filter(pk=pk))
        if isinstance(response, HttpResponseBase):
            return response
        return HttpResponseRedirect(reverse("admin:jobs_job_change", args=[pk]))

    # ------------------------------------------------------------ actions

    def has_act_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("jobs.change_job")

    def has_remove_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("jobs.delete_job")

    @admin.action(description="Retry: new jobs with the same parameters", permissions=["act"])
    def retry(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        def again(job: Job) -> bool:
            made = retry_job(job=job)
            address = reverse("admin:jobs_job_change", args=[made.pk])
            self.message_user(request, format_html('<a href="{}">{}</a> is queued.', address, made), messages.SUCCESS)
            return True

        self.for_each(request, queryset.defer(None), again, "")

    @admin.action(description="Cancel", permissions=["act"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        self.for_each(request, queryset.filter(status__in=ACTIVE), lambda job: bool(cancel_job(job=job)), "asked to stop")

    @admin.action(description="Delete, with their pictures", permissions=["remove"])
    def remove(self, request: HttpRequest, queryset: QuerySet[Job]) -> HttpResponse | None:
        """Asks once, then deletes; a running job is asked to stop instead, and stays."""
        if "confirmed" not in request.POST:
            rows, more = chosen_only(queryset.only("id", "kind", "prompt", "status"), MOST_AT_ONCE)
            context = {"opts": self.opts, "title": "Delete jobs", "jobs": rows, "more": more}
            return TemplateResponse(request, "admin/jobs/job/remove.html", {**self.admin_site.each_context(request), **context})
        self.for_each(request, queryset, delete_unless_running, "deleted")
        return None

    def for_each(self, request: HttpRequest, queryset: QuerySet[Job], do: Callable[[Job], bool], done: str) -> None:
        """`do` for MOST_AT_ONCE of them at most, and one sentence of what came of it."""
        rows, more = chosen_only(queryset, MOST_AT_ONCE)
        count, refusals = 0, set()
        for job in rows:
            try:
                count += do(job)
            except DarkroomError as problem:
                refusals.add(problem.detail)
        if done or not rows:
            self.message_user(request, f"{count} {done or 'retried'}.", messages.SUCCESS if count else messages.WARNING)
        if count < len(rows) and not refusals:
            refusals.add("Running jobs were asked to stop; delete them once they have.")
        for refusal in sorted(refusals):
            self.message_user(request, refusal, messages.WARNING)
        if more:
            self.message_user(request, f"Only the first {MOST_AT_ONCE} were taken; do it again for more.", messages.WARNING)


def delete_unless_running(job: Job) -> bool:
    job = cancel_job(job=job)
    if job.status == Status.RUNNING:
        return False
    job.delete()
    return True


@admin.register(Worker)
class WorkerAdmin(ReadOnlyAdmin):
    list_display = ["name", "status", "hardware", "models", "memory", "heartbeat", "started_at"]
    list_filter = ["state"]
    search_fields = ["hostname"]

    fields = ("name", "status", "hardware", "models", "memory", "heartbeat", "started_at", "drained_at", "device")
    readonly_fields = fields
    actions = ["drain", "undo_drain"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Worker]:
        workers: QuerySet[Worker] = super().get_queryset(request)
        return workers.annotate(asked_to_drain=asked_to_drain())

    @admin.action(description="Drain: finish what runs, claim nothing more", permissions=["drain"])
    def drain(self, request: HttpRequest, queryset: QuerySet[Worker]) -> None:
        workers = list(queryset.exclude(state=Worker.State.STOPPED)[:MOST_AT_ONCE])
        for worker in workers:
            drain(worker_id=worker.pk)
        self.message_user(request, f"{len(workers)} workers claim nothing more.", messages.SUCCESS)

    @admin.action(description="Back to work", permissions=["drain"])
    def undo_drain(self, request: HttpRequest, queryset: QuerySet[Worker]) -> None:
        """Also where their machine was drained."""
        chosen = list(queryset[:MOST_AT_ONCE])
        theirs = Q(worker_id__in=[worker.pk for worker in chosen]) | Q(hostname__in=[worker.hostname for worker in chosen])
        count = undo_drain(Drain.objects.filter(theirs))
        self.message_user(request, f"{count} drains were undone.", messages.SUCCESS)

    def has_drain_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("jobs.change_worker")

    @admin.display(description="worker")
    def name(self, worker: Worker) -> str:
        return str(worker)

    @admin.display(description="state")
    def status(self, worker: Worker) -> SafeString:
        is_out = worker.asked_to_drain and worker.state != Worker.State.STOPPED  # type: ignore[attr-defined]
        return pill(Worker.State.DRAINING if is_out else worker.state)

    @admin.display(description="device")
    def hardware(self, worker: Worker) -> str:
        device = worker.device.get("device", {})
        return " · ".join(filter(None, [device.get("name"), device.get("type"), worker.device.get("dtype")])) or "–"

    @admin.display(description="models in memory")
    def models(self, worker: Worker) -> str:
        return ", ".join(f"{model['id']} ({bytes_text(model.get('bytes'))})" for model in worker.loaded_models) or "none"

    @admin.display(description="memory free")
    def memory(self, worker: Worker) -> str:
        memory = worker.device.get("memory", {})
        return f"{bytes_text(memory.get('available'))} of {bytes_text(memory.get('total'))}" if memory else "–"

    @admin.display(description="last heartbeat")
    def heartbeat(self, worker: Worker) -> str:
        return f"{seconds_text(between(worker.heartbeat_at, timezone.now()))} ago"
