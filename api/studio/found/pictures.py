"""From a job's result to what its card shows, for the kinds that look at one picture."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from api.files.models import StoredFile
from api.jobs.models import Job
from api.jobs.states import Status
from api.scoring.overlay_places import page_size, view_place, view_size
from api.studio.found.rows import Row, outline

RISKS = {
    "none": gettext_lazy("none"),
    "low": gettext_lazy("low"),
    "medium": gettext_lazy("medium"),
    "high": gettext_lazy("high"),
}
POSITIONS = {
    "near": gettext_lazy("near"),
    "far": gettext_lazy("far"),
    "left": gettext_lazy("on the left"),
    "ahead": gettext_lazy("ahead"),
    "right": gettext_lazy("on the right"),
}
HEADLINES = {
    "aesthetic_score": gettext_lazy("Overall"),
    "composition_score": gettext_lazy("Composition"),
    "color_harmony_score": gettext_lazy("Colour"),
    "balance_score": gettext_lazy("Balance"),
}
Found = dict[str, Any]


TALL = 2.2


@dataclass(frozen=True)
class Bar:
    name: str
    score: float | None
    value: float | None = None
    note: str = ""


@dataclass(frozen=True)
class View:
    """An overlay, and where in it the picture is."""

    file: StoredFile
    left: int
    top: int
    width: int
    height: int


def is_tall(file: StoredFile) -> bool:
    """Whether it is scrolled, since all of it at once would be too narrow to be read: screenshots of whole pages."""
    return file.height > TALL * file.width


def found_by(job: Job) -> Found | None:
    """With the `template` that shows it; None for a job that has not ended well, or that looked at no picture."""
    if job.status != Status.SUCCEEDED or not job.result or job.kind not in READERS:
        return None
    try:
        return {"template": f"studio/found/{job.kind}.html", **READERS[job.kind](job, job.result)}
    except (KeyError, IndexError, TypeError):  # another version wrote it in another form: the job's page has it as it is
        return None


def read_detections(job: Job, result: Mapping[str, Any]) -> Found:
    rows = [Row(one["label"], one["label"], one["score"], outline(one["box"])) for one in result["detections"]]
    return {"rows": rows, "counts": counts_of(rows)}


def read_lines(job: Job, result: Mapping[str, Any]) -> Found:
    rows = [Row(line["text"], line["engine"], line["score"], line["polygon"]) for line in result["lines"]]
    return {"rows": rows, "text": result["text"]}


def read_hazards(job: Job, result: Mapping[str, Any]) -> Found:
    rows = [hazard_row(cell) for cell in result["cells"]]
    return {"rows": rows, "counts": counts_of(rows), "risk": result["risk"], "risk_word": RISKS[result["risk"]]}


def hazard_row(cell: Mapping[str, Any]) -> Row:
    best, position = cell["labels"][0], cell["position"]
    names = ", ".join(label["label"] for label in cell["labels"])
    place = f"{POSITIONS[position['distance']]}, {POSITIONS[position['side']]}"
    return Row(names, best["label"], best["score"], outline(cell["box"]), place)


def read_scores(job: Job, result: Mapping[str, Any]) -> Found:
    """Of one layout; a job of several has a page for each in the API alone."""
    several = result.get("scores")
    one = several[0] if several else result
    measures = sorted(one["measures"].items(), key=lambda item: item[1]["score"])
    return {
        "layouts": len(several) if several else 1,
        "headlines": [Bar(str(words), one.get(name)) for name, words in HEADLINES.items()],
        "reasons": one["reasoning"],
        "measures": [Bar(name.replace("_", " "), m["score"], m["value"], m.get("note", "")) for name, m in measures],
        "view": overlay_view(one),
    }


def overlay_view(score: Mapping[str, Any]) -> View | None:
    files = StoredFile.objects.in_bulk([score[name] for name in ("overlay", "image") if score.get(name)])
    by_id = {str(pk): file for pk, file in files.items()}
    overlay, image = by_id.get(score.get("overlay") or ""), by_id.get(score.get("image") or "")
    if overlay is None or image is None:
        return None
    view = view_size(page_size(image.width, image.height))
    return View(overlay, *view_place(view), *view)


def read_answer(job: Job, result: Mapping[str, Any]) -> Found:
    choice = result["choices"][0]
    return {
        "answer": choice["text"].strip(),
        "is_cut": choice.get("finish_reason") == "length",
        "model": result.get("model", ""),
    }


READERS: Mapping[str, Callable[[Job, Mapping[str, Any]], Found]] = {
    "detect": read_detections,
    "ocr": read_lines,
    "hazards": read_hazards,
    "layout_score": read_scores,
    "chat": read_answer,
}


def counts_of(rows: Sequence[Row]) -> list[tuple[str, int]]:
    """The most frequent first."""
    return Counter(row.kind for row in rows).most_common()


def summary(job: Job) -> str:
    """What it came to, in a few words for a list."""
    found = found_by(job)
    if found is None:
        return ""
    if job.kind == "hazards":
        return _("risk: %(risk)s") % {"risk": found["risk_word"]}
    if job.kind == "layout_score":
        score = found["headlines"][0].score
        return "" if score is None else _("layout %(score)d of 100") % {"score": round(score)}
    if job.kind == "chat":
        return str(found["answer"])
    if not found["rows"]:
        return str(NOTHING[job.kind])
    return (
        ", ".join(f"{count} × {name}" for name, count in found["counts"][:3]) if job.kind == "detect" else found["rows"][0].text
    )


NOTHING = {"detect": gettext_lazy("nothing found"), "ocr": gettext_lazy("no text")}
