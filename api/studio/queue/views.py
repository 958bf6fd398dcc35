"""The page of the queue and the machines. Its three parts are asked for again every few seconds."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from api.access.principals import Principal
from api.access.scopes import READ
from api.jobs.kinds import kind_names
from api.studio.access import for_people
from api.studio.queue.machines import machines_context
from api.studio.queue.model_rows import models_context
from api.studio.queue.query import STATES, read_query
from api.studio.queue.rows import MOST_COUNTED, MOST_WAITING, QueueRows


@require_safe
@for_people(READ)
def page(request: HttpRequest, principal: Principal) -> HttpResponse:
    context = {
        **rows_context(request, principal),
        **machines_context(principal),
        **models_context(principal, request.GET.get("model", "")),
        "kinds": kind_names(),
        "states": STATES,
    }
    return render(request, "studio/queue/index.html", context)


@require_safe
@for_people(READ)
def rows(request: HttpRequest, principal: Principal) -> HttpResponse:
    return render(request, "studio/queue/rows.html", rows_context(request, principal))


@require_safe
@for_people(READ)
def machines(request: HttpRequest, principal: Principal) -> HttpResponse:
    return render(request, "studio/queue/machines.html", machines_context(principal))


@require_safe
@for_people(READ)
def models(request: HttpRequest, principal: Principal) -> HttpResponse:
    return render(request, "studio/queue/models.html", models_context(principal, request.GET.get("model", "")))


def rows_context(request: HttpRequest, principal: Principal) -> dict[str, object]:
    query = read_query(request.GET)
    found = QueueRows(principal, query)
    return {
        "query": query,
        "rows": found.sections(),
        "waiting_count": found.waiting_count,
        "most_counted": MOST_COUNTED,
        "more_waiting": max(0, found.waiting_count - MOST_WAITING),
        "sees_all": principal.is_staff,
        "may_submit": principal.may("submit"),
    }
