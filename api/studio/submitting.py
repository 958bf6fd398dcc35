"""What a page asks for, as a job or as the reason why there is none."""

from typing import Protocol

from rest_framework.exceptions import ValidationError

from api.access.principals import Principal
from api.errors import DarkroomError
from api.files.errors import DiskFull
from api.jobs.api.submission import Submission, submit
from api.jobs.models import Job
from api.problems import field_errors
from api.studio.sentences import in_language

SOURCE = "studio"


class Request(Protocol):
    """A serializer that found nothing wrong."""

    def resolve(self) -> Submission: ...


def submit_or_say(serializer: Request, principal: Principal) -> tuple[Job | None, str]:
    """Its job, or the sentence that says why there is none, in the page's language."""
    try:
        return submit(serializer.resolve(), principal=principal, source=SOURCE), ""
    except ValidationError as error:
        return None, " ".join(in_language(one["detail"]) for one in field_errors(error.detail))
    except DarkroomError as problem:
        return None, in_language(problem.detail)
    except DiskFull as error:
        return None, in_language(getattr(error, "detail", error))
