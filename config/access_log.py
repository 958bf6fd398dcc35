"""One line of the log for each request."""

import logging

from django.http import HttpRequest, HttpResponse

log = logging.getLogger("darkroom.request")


def log_request(request: HttpRequest, response: HttpResponse, seconds: float) -> None:
    log.info("%s %s %s %.3f s", request.method, request.path, response.status_code, seconds)
