"""What a person can do about a job that failed, by the code or the status of its error."""

from collections.abc import Mapping
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

BY_CODE: Mapping[str, Promise] = {
    "out_of_memory": _("Ask for a smaller picture, fewer at once or a smaller model, or unload models that are not needed."),
    "disk_full": _("Delete pictures that are not needed any more, or let the server's owner make room; then try again."),
    "gated": _("The server's owner must accept the model's licence on the hub, and set HF_TOKEN."),
    "offline": _("The server has no way to the hub. Choose a model that is here, or try again when it has."),
    "bad_answer": _("The hub answered with something else. Try again later."),
    "damaged": _("The model's files are damaged. Trying again fetches them anew, where they come from the hub."),
    "broken_model": _("This model's files can't be used. Choose another model."),
    "unsafe_files": _("This model has no files that are safe to read. Choose another model."),
    "unsupported_checkpoint": _("This model's files have a form that is not read here. Choose another model."),
    "missing_package": _("The server's owner must install what the model needs; or choose another model."),
    "not_found": _("Check the model's name, or choose another model."),
    "model_not_found": _("Choose one of the models that are here."),
    "unknown_model": _("Choose one of the models that are here."),
    "unknown_class": _("Leave the classes empty, or name some of those that the model knows."),
    "language_not_installed": _("Choose another language, or let the server's owner install this one."),
    "file_missing": _("Send the picture again."),
    "picture_gone": _("Send the picture again."),
    "not_finite": _("Try another seed, or the model in another precision."),
    "content_filtered": _("Change the prompt, or begin with another picture."),
    "remote_unreachable": _("The other server can't be reached. Try again later."),
    "remote_timeout": _("The other server took too long. Try again later, or ask for less."),
    "attempts_exhausted": _(
        "It has ended its worker each time. Ask for less, or choose another model; the server's log says more."
    ),
    "too_few": _("Rate or compare more pictures first."),
}
BY_STATUS: Mapping[int, Promise] = {
    400: _("Change what is asked, and ask again."),
    500: _("Try again. If it fails each time, the server's log has more, under the job's id."),
    502: _("Try again later."),
    503: _("Try again later."),
    504: _("Try again later, or ask for less."),
}


def advice_on(error: Mapping[str, Any]) -> Promise | str:
    return BY_CODE.get(error.get("code", ""), BY_STATUS.get(error.get("status", 0), ""))
