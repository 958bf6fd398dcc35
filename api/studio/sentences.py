"""The server's own sentences in the language of the page. What raises them knows no languages: the API's answers and the logs are English.

Listed are those that a person meets on the studio's pages. Others are shown as they are, in English.
"""

import re
from functools import cache

from django.utils.translation import get_language, gettext, gettext_noop, ngettext

SENTENCES = (
    # Pages that can't be shown (api/problems.py, api/outages.py, api/access)
    gettext_noop("Bad Request"),
    gettext_noop("Forbidden"),
    gettext_noop("Not Found"),
    gettext_noop("Internal Server Error"),
    gettext_noop("Service Unavailable"),
    gettext_noop("Insufficient Storage"),
    gettext_noop("That is not allowed."),
    gettext_noop(
        "This page was out of date, or came from another site, so nothing was done. Go back, load it again, and try once more."
    ),
    gettext_noop("The request could not be read."),
    gettext_noop("There is nothing at this address."),
    gettext_noop("Something went wrong here; the log has it under request %(id)s."),
    gettext_noop("The database does not answer. Try again in a moment."),
    gettext_noop("The server's storage does not answer. Try again in a moment."),
    gettext_noop(
        "The server is not let into its storage of pictures. Its owner has to see to that: `manage.py doctor` says what is wrong."
    ),
    gettext_noop("The server has more to do than it can hold. Try again in a moment."),
    gettext_noop("The server's disk is full. Its owner has to free some space."),
    gettext_noop("This API key lacks the scope '%(scope)s'."),
    # A request's fields (api/spec_serializers.py, api/strict.py, api/files)
    gettext_noop("Must be a multiple of %(step)s from %(low)s to %(high)s; %(below)s and %(above)s are the nearest."),
    gettext_noop("The image is damaged or cut off."),
    gettext_noop("Animated images are not supported."),
    gettext_noop("This is not a %(formats)s image."),
    gettext_noop("The image has more than %(count)s megapixels."),
    gettext_noop("The file is larger than %(count)s bytes."),
    gettext_noop("There is no image with this id."),
    gettext_noop("The file carries no parameters that are known here."),
    gettext_noop("The file names no prompt, without which there is no request."),
    gettext_noop("A valid integer is required."),
    gettext_noop("A valid number is required."),
    gettext_noop("Ensure this value is less than or equal to %(most)s."),
    gettext_noop("Ensure this value is greater than or equal to %(least)s."),
    gettext_noop("Ensure this field has no more than %(most)s characters."),
    gettext_noop("The scheduler takes at most %(most)s steps."),
    gettext_noop("Of %(count)s candidates %(most)s can be kept at most."),
    gettext_noop("Must be above `start`, which is %(start)s."),
    gettext_noop("A picture that is painted by a mask has no second pass."),
    gettext_noop("They make %(cells)s cells; a grid has up to %(most)s."),
    gettext_noop("There is no IP-Adapter for %(name)s here."),
    gettext_noop("This picture's file is no longer on the server."),
    # Jobs that can't be taken, or failed
    gettext_noop("You have %(count)s jobs queued or running, which is your limit; wait for some to end."),
    gettext_noop("This asks for %(asked)s, and the limit %(name)s of your key is %(limit)s: it never fits. Ask for less."),
    gettext_noop(
        "The limit %(name)s of your key is %(limit)s, of which %(used)s are used and %(reserved)s reserved by jobs under way; "
        "this asks for %(asked)s more. It begins anew at %(moment)s."
    ),
    gettext_noop(
        "The limit %(name)s of your key is %(limit)s, of which %(used)s are used and %(reserved)s reserved by jobs under way; "
        "this asks for %(asked)s more. Delete some pictures or uploads."
    ),
    gettext_noop("The queue is full; try again later."),
    gettext_noop("No worker is alive to run jobs."),
    gettext_noop("%(name)s runs version %(version)s with %(count)s migrations, and this process %(own)s with %(known)s."),
    gettext_noop("%(name)s runs a version that is too old to say which; this process runs %(own)s."),
    gettext_noop("%(name)s has another SECRET_KEY than this process: give all the same one."),
    gettext_noop("The job ended without a result; the log has more."),
    gettext_noop("The job failed; the log has the reason under its id."),
    gettext_noop("The disk is full; the pictures could not be kept."),
    gettext_noop("The disk is full; the picture could not be kept."),
    gettext_noop("The disk is full; the enlarged picture could not be kept."),
    gettext_noop("The disk is full; the map could not be kept."),
    gettext_noop("This model has no CLIP layers to skip."),
    gettext_noop("The prompt's weights are too large, or cancel out."),
    gettext_noop("This scheduler takes at most %(most)s steps with this model."),
    gettext_noop("%(model)s can't be loaded: its files don't fit together."),
    gettext_noop("The %(device)s device ran out of memory with %(model)s."),
    gettext_noop("The model gave a picture with values that are not numbers."),
    gettext_noop("All cells were cancelled."),
    gettext_noop("The disk is full; the overlay could not be kept."),
    gettext_noop("The disk is full; the annotated picture could not be kept."),
    gettext_noop("No subject was found: all of the picture is transparent, and all of a mask black."),
    gettext_noop(
        "The picture (%(size)s) has another shape than the model was made for (%(width)s × %(height)s): it was squeezed."
    ),
    gettext_noop("The job failed; the log has the reason."),
    gettext_noop("The job is running; it was asked to stop, delete it once it has."),
    gettext_noop("The worker that this job was for has ended."),
    gettext_noop("This server no longer knows this kind of job."),
    gettext_noop("The file %(file)s of %(model)s is damaged: %(reason)s."),
    gettext_noop("The file %(file)s of %(model)s changed while it was read."),
    gettext_noop("The worker ended with %(how)s while it started; the server's log has more."),
    gettext_noop("Nothing stands out, neither as a fault nor as a merit."),
    gettext_noop("There is nothing to see: not one edge (figure-ground contrast 0)"),
    gettext_noop("CLIP finds “%(one)s” fits it better than “%(other)s” (%(score)s of 100 for the better)"),
    gettext_noop("CLIP finds “%(one)s” fits it better than “%(other)s” (%(score)s of 100)"),
    gettext_noop("An answer is under way; cancel its job first."),
    gettext_noop("This conversation waits for an answer already."),
    gettext_noop("The remote chat server can't be reached."),
    gettext_noop("The remote chat server did not answer in time."),
    gettext_noop("The remote chat server's answer broke off."),
    gettext_noop("The remote chat server does not accept these messages or parameters."),
    gettext_noop("The OCR server can't be reached."),
    gettext_noop("The OCR server did not answer in time."),
    gettext_noop("The OCR server could not read the picture."),
)
SIDES = (
    gettext_noop("left"),
    gettext_noop("right"),
    gettext_noop("top"),
    gettext_noop("bottom"),
    gettext_noop("top left"),
    gettext_noop("top right"),
    gettext_noop("bottom left"),
    gettext_noop("bottom right"),
    gettext_noop("middle"),
)
"""What such a sentence may name."""
LINES = re.compile(r"(\d+) lines?")
FORMAT = re.compile(r"\{(\w+)[^}]*\}")
PLACEHOLDER = re.compile(r"%\\\((\w+)\\\)s")
"""As `re.escape` leaves it."""


def in_language(text: object) -> str:
    """Of several sentences each one; unknown ones stay as they are."""
    said = str(text)
    if not said or (get_language() or "en") == "en":
        return said
    return whole_in_language(said) or " ".join(whole_in_language(one) or one for one in re.split(r"(?<=[.!?]) ", said))


def whole_in_language(said: str) -> str:
    """Empty for what is not listed."""
    if said in SENTENCES:
        return gettext(said)
    for sentence, pattern in patterns():
        if match := pattern.fullmatch(said):
            return gettext(sentence) % {name: named_in_language(value) for name, value in match.groupdict().items()}
    return ""


def named_in_language(value: str) -> str:
    """What a sentence names: mostly a number or a name, which are the same in each language."""
    if count := LINES.fullmatch(value):
        return ngettext("%(count)s line", "%(count)s lines", int(count[1])) % {"count": count[1]}
    return gettext(value) if value in SIDES else value


@cache
def patterns() -> list[tuple[str, re.Pattern[str]]]:
    listed = [*(one for one in SENTENCES if "%(" in one), *layout_reasons()]
    return [(one, re.compile(PLACEHOLDER.sub(r"(?P<\1>.+?)", re.escape(one).replace("%%", "%")))) for one in listed]


def layout_reasons() -> list[str]:
    """What is said of a layout, where it names something, as gettext has it."""
    from api.scoring.backends.measures import SCALES  # numpy, which pages in English need not wait for

    formats = (one for scale in SCALES.values() for one in (scale.low, scale.high, scale.good) if one)
    return list(dict.fromkeys(FORMAT.sub(r"%(\1)s", one.replace("%", "%%")) for one in formats))
