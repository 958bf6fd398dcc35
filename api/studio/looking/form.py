"""What a person ticks: read, and submitted as the jobs that it is."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from django.conf import settings
from django.http import QueryDict
from django.utils.translation import get_language, gettext_noop
from django.utils.translation import gettext as _
from rest_framework.exceptions import ValidationError

from api.access.principals import Principal
from api.errors import DarkroomError
from api.files.errors import DiskFull
from api.files.models import StoredFile
from api.jobs.api.submission import submit
from api.jobs.models import Job
from api.problems import field_errors
from api.studio.looking.looks import LOOKS, Look, LookRequest
from api.studio.sentences import in_language
from api.vision.ocr.models import describe_languages

REMEMBERED = "look"
"""In the session: what was ticked the last time."""
USUAL_LANGUAGE = "en"
LANGUAGES = (
    gettext_noop("Afrikaans"),
    gettext_noop("Filipino"),
    gettext_noop("Malay"),
    gettext_noop("Norwegian"),
    gettext_noop("Chinese, simplified"),
    gettext_noop("Chinese, traditional"),
)
"""Those that can be read whose names Django does not translate."""


@dataclass
class LookForm:
    """As it was filled in; `errors` by the name of a look, or under `picture` or `form`."""

    ticked: list[str]
    languages: list[str]
    models: Mapping[str, str] = field(default_factory=dict)
    classes: str = ""
    errors: dict[str, str] = field(default_factory=dict)

    @property
    def choices(self) -> list[dict[str, Any]]:
        return [self.choice_of(item) for item in LOOKS]

    def choice_of(self, item: Look) -> dict[str, Any]:
        return {
            "look": item,
            "is_ticked": item.name in self.ticked,
            "missing": item.missing,
            "model": self.models.get(item.name, ""),
            "error": self.errors.get(item.name, ""),
        }

    @cached_property
    def offered_languages(self) -> list[dict[str, Any]]:
        """Those that can be read here first."""
        known = describe_languages(settings.DEFAULT_OCR_MODEL)
        listed = [{**one, "name": _(str(one["name"])), "is_chosen": one["code"] in self.languages} for one in known]
        return sorted(listed, key=lambda one: not one["available"])

    @property
    def readable(self) -> list[dict[str, Any]]:
        return [one for one in self.offered_languages if one["available"]]

    @property
    def unreadable(self) -> list[dict[str, Any]]:
        return [one for one in self.offered_languages if not one["available"]]

    @property
    def language_names(self) -> str:
        names = {str(one["code"]): str(one["name"]) for one in self.offered_languages}
        return ", ".join(names.get(code, code) for code in self.languages)

    def asked(self, image: StoredFile) -> LookRequest:
        return LookRequest(str(image.pk), self.models, self.languages, words_of(self.classes))

    def remembered(self) -> dict[str, Any]:
        return {"ticked": self.ticked, "languages": self.languages, "models": dict(self.models), "classes": self.classes}


def first_form(session: Mapping[str, Any]) -> LookForm:
    """As the last one was; at first all is ticked that can be done at once."""
    if isinstance(last := session.get(REMEMBERED), dict):
        return LookForm(**last)
    form = LookForm([item.name for item in LOOKS if not item.missing], [USUAL_LANGUAGE])
    own = (get_language() or USUAL_LANGUAGE).partition("-")[0]
    if any(one["code"] == own and one["available"] for one in form.offered_languages) and own not in form.languages:
        return LookForm(form.ticked, [own, *form.languages])
    return form


def read_form(data: QueryDict) -> LookForm:
    names = [item.name for item in LOOKS]
    models = {name: data.get(f"model_{name}", "").strip() for name in names}
    ticked = [name for name in names if name in data.getlist("look")]
    return LookForm(ticked, data.getlist("language"), models, data.get("classes", "").strip())


def words_of(text: str) -> list[str]:
    return [word.strip() for word in text.replace("\n", ",").split(",") if word.strip()]


# ---------------------------------------------------------------- asking


def ask(form: LookForm, image: StoredFile, principal: Principal) -> list[Job]:
    """One job for each look that is ticked, where all of them can be asked; else none, and the form has the errors."""
    if not form.ticked:
        form.errors["form"] = _("Tick what you want to know.")
    chosen = [item for item in LOOKS if item.name in form.ticked]
    requests = [(item, read_request(item, form, image, principal)) for item in chosen]
    if form.errors:
        return []
    jobs = (submit_look(item, request, form, principal) for item, request in requests)
    return [job for job in jobs if job is not None]


def read_request(item: Look, form: LookForm, image: StoredFile, principal: Principal) -> Any:
    """A valid serializer; None where the form got an error instead."""
    serializer = item.serializer(data=item.body(form.asked(image)), context={"principal": principal})
    try:
        serializer.is_valid(raise_exception=True)
    except ValidationError as error:
        form.errors[item.name] = " ".join(dict.fromkeys(said(field_errors(error.detail))))
        return None
    except DarkroomError as error:
        form.errors[item.name] = in_language(error.detail)
        return None
    return serializer


def submit_look(item: Look, serializer: Any, form: LookForm, principal: Principal) -> Job | None:
    """The same look at the same picture that is still under way is that job."""
    try:
        return submit(replace(serializer.resolve(), joins_equal=True), principal=principal, source="studio")
    except (DarkroomError, DiskFull) as problem:
        form.errors[item.name] = str(getattr(problem, "detail", problem))
        return None


def said(errors: Iterable[Any]) -> Iterable[str]:
    return (in_language(error["detail"]) for error in errors)
