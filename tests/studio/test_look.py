"""The page that looks at a picture: what it asks, of whom, and how it shows what came."""

import io
import re
from typing import Any

import numpy as np
import pytest
from django.core.cache import cache
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from PIL import Image

from api.access.scopes import READ, SUBMIT
from api.access.services import create_key
from api.files.models import JobInput, StoredFile
from api.files.services import store_pixels
from api.jobs.models import Job
from api.scoring.backends.heuristic import HeuristicScorer
from api.scoring.backends.layout import Layout
from api.scoring.backends.overlay import draw_overlay, draw_view
from api.scoring.overlay_places import page_size, view_place, view_size
from tests.rows import make_job, make_picture

pytestmark = pytest.mark.django_db
PAGE, PICTURE, ASK = "/studio/look/", "/studio/look/picture", "/studio/look/ask"
PART = {"HX-Request": "true"}
ALL = ["layout", "things", "text", "hazards", "caption"]
KINDS = {"layout_score", "detect", "ocr", "hazards", "chat"}
BOX = {"xmin": 1, "ymin": 2, "xmax": 11, "ymax": 12}
MEASURES = {
    "white_space": {"value": 0.5, "score": 90.0, "band": "mid"},
    "overlap": {"value": 1.0, "score": 20.0, "band": "low"},
}
HEADLINES = {"aesthetic_score": 61.4, "composition_score": None, "color_harmony_score": 50.0, "balance_score": 70.0}


def picture_file(colour: str = "red", size: tuple[int, int] = (40, 30)) -> SimpleUploadedFile:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return SimpleUploadedFile("poster.png", buffer.getvalue(), "image/png")


def kept_picture(colour: str = "red", owner_key: str = "local") -> StoredFile:
    return store_pixels(owner_key=owner_key, image=Image.new("RGB", (40, 30), colour))


def looked(kind: str, file: StoredFile, result: dict[str, Any] | None = None, status: str = "succeeded", **fields: Any) -> Job:
    """A job that has looked at it."""
    params = {"image": str(file.pk), **fields.pop("params", {})}
    job = make_job(status, kind=kind, model_id="", prompt="", params=params, result=result, **fields)
    JobInput.objects.create(job=job, file=file)
    return job


def shown(client: Client, file: StoredFile) -> str:
    return client.get(PAGE, {"image": str(file.pk)}).content.decode()


def ticked(page: str) -> list[str]:
    return re.findall(r'name="look" value="(\w+)" checked', page)


def test_what_can_be_done_at_once_is_ticked_and_the_rest_says_what_to_do(here: Client, settings: Any) -> None:
    page = here.get(PAGE).content.decode()
    assert ticked(page) == ALL
    assert 'value="en" checked' in page
    settings.DEFAULT_DETECTION_MODEL, settings.DEFAULT_CHAT_MODEL, settings.DEFAULT_HAZARD_MODEL = (
        "rtdetr-r50vd",
        "starter",
        "x",
    )
    cache.clear()
    page = here.get(PAGE).content.decode()
    assert ticked(page) == ["layout", "text"]
    assert "RT-DETR R50 is not here yet: tick it, and it is fetched first (82 MiB, Apache-2.0)." in page
    assert "doesn&#x27;t chat" in page  # the caption's
    assert "is not on this server (DEFAULT_HAZARD_MODEL). Choose another one." in page.replace("“x” ", "")


def test_a_picture_is_kept_at_an_address_and_asked_about_with_one_request(here: Client) -> None:
    first = here.post(PICTURE, {"picture": picture_file(), "look": ["text"], "language": ["en", "vi"]})
    again = here.post(PICTURE, {"picture": picture_file(), "look": ["text"], "language": ["en", "vi"]}, headers=PART)
    assert first.status_code == 302
    assert first["Location"] == again["HX-Push-Url"]  # the same pixels are the same picture, with its earlier looks
    assert ticked(again.content.decode()) == ["text"]
    identifier = first["Location"].partition("=")[2]
    for _ in range(2):  # the second time, all are still under way
        here.post(ASK, {"image": identifier, "look": ALL, "language": ["en", "vi"], "classes": "sun, tree"}, headers=PART)
    jobs = {job.kind: job for job in Job.objects.all()}
    assert len(Job.objects.all()) == len(KINDS)
    assert set(jobs) == KINDS
    assert {job.source for job in jobs.values()} == {"studio"}
    assert jobs["ocr"].params["languages"] == ["en", "vi"]
    assert jobs["detect"].params["classes"] == ["sun", "tree"]
    page = here.get(first["Location"]).content.decode()  # another tab
    assert [job.pk for job in jobs.values() if f'id="job-{job.pk}"' not in page] == []
    assert page.count("sse-connect") == 2  # a browser has six connections for all of its tabs
    assert ticked(page) == ALL
    assert "under way" in here.get(PAGE).content.decode()


def test_without_scripts_one_form_sends_all(here: Client) -> None:
    reply = here.post(ASK, {"picture": picture_file(), "look": ["layout"]})
    assert reply.status_code == 302
    assert Job.objects.get().params["image"] in reply["Location"]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"look": ["text"], "language": ["en"]}, "Choose a picture first."),
        ({"picture": SimpleUploadedFile("a.png", b"no picture", "image/png"), "look": ["layout"]}, "image"),
        ({"image": "HERE", "language": ["en"]}, "Tick what you want to know."),
        ({"image": "HERE", "look": ["layout", "text"], "language": ["xx"]}, "There is no language"),
        ({"image": "HERE", "look": ["layout", "text"]}, "at least 1"),
        ({"image": "HERE", "look": ["layout", "things"], "model_things": "nothing"}, "nothing"),
        ({"image": "HERE", "look": ["things"], "model_things": "owlv2-base-patch16-ensemble"}, "say what, in words"),
    ],
)
def test_what_cannot_be_asked_is_told_beside_it_and_nothing_is_asked(here: Client, data: dict[str, Any], said: str) -> None:
    own = kept_picture()
    data = {**data, **({"image": str(own.pk)} if "image" in data else {})}
    reply = here.post(ASK, data)
    page = reply.content.decode()
    assert reply.status_code == 422
    assert any(said in error for error in re.findall(r'<span class="error"[^>]*>([^<]+)</span>', page))
    assert not Job.objects.exists()
    assert ticked(page) == data.get("look", [])
    assert "image" not in data or f"/api/images/{own.pk}/file/" in page  # it is still there


def test_what_was_found_is_rows_that_can_be_drawn_with_counts_and_scores(here: Client) -> None:
    file = kept_picture()
    things = [
        {"label": label, "class_id": 0, "score": score, "box": BOX}
        for label, score in (("sun", 0.9), ("cây", 0.4), ("sun", 0.3))
    ]
    looked("detect", file, {"width": 40, "height": 30, "detections": things})
    line = {
        "text": "Bán <hoa>",
        "score": 0.98,
        "polygon": [[1, 2], [11, 2], [11, 12], [1, 12]],
        "box": BOX,
        "engine": "tesseract",
    }
    text = looked("ocr", file, {"width": 40, "height": 30, "text": line["text"], "lines": [line]})
    cell = {
        "index": 3,
        "box": BOX,
        "position": {"side": "ahead", "distance": "near"},
        "labels": [{"label": "hole", "score": 0.7}],
    }
    looked("hazards", file, {"risk": "high", "cells": [cell]})
    page = shown(here, file)
    assert page.count('points="1,2 11,2 11,12 1,12"') == 5
    assert re.findall(r'data-count="([^"]+)"><b>(\d+)', page) == [("sun", "2"), ("cây", "1"), ("hole", "1")]
    assert re.findall(r'data-score="(\d+)"', page) == ["90", "40", "30", "98", "70"]
    assert "Bán &lt;hoa&gt;" in page
    assert f'data-copy="#text-{text.pk}"' in page
    assert "near, ahead" in page
    assert '<b class="risk-high">high</b>' in page
    assert "2 × sun, 1 × cây" in here.get(PAGE).content.decode()


def test_a_verdict_is_bars_and_reasons_and_its_overlay_fits_the_picture(here: Client) -> None:
    picture = Image.effect_noise((320, 200), 90).convert("RGB")
    (verdict,) = HeuristicScorer().score(picture, [Layout()])
    drawn = draw_overlay(verdict)
    file, overlay = store_pixels(owner_key="local", image=picture), store_pixels(owner_key="local", image=drawn)
    verdict_json = {
        "reasoning": ["Text is hard to read."],
        "measures": MEASURES,
        "overlay": str(overlay.pk),
        "image": str(file.pk),
    }
    looked("layout_score", file, {**HEADLINES, **verdict_json})
    page = shown(here, file)
    left, top, width, height = (int(part) for part in re.search(r'class="layout"[^>]* viewBox="([\d ]+)"', page)[1].split())
    assert np.array_equal(np.asarray(drawn.crop((left, top, left + width, top + height))), np.asarray(draw_view(verdict.seen)))
    assert (left, top, width, height) == (*view_place((width, height)), *view_size(page_size(320, 200)))
    for said in ("Text is hard to read.", "<b>61</b>", "<b>–</b>", 'width="61.4"', "layout 61 of 100"):
        assert said in page + here.get(PAGE).content.decode(), said
    assert page.index("overlap") < page.index("white space")  # the weakest first


def test_nothing_found_and_failures_are_told_in_words(here: Client) -> None:
    file = kept_picture()
    looked("detect", file, {"width": 40, "height": 30, "detections": []})
    looked("ocr", file, {"width": 40, "height": 30, "text": "", "lines": []}, warnings=["The picture is large."])
    looked("hazards", file, {"risk": "none", "cells": []})
    failed = looked(
        "layout_score", file, status="failed", error={"code": "file_missing", "status": 410, "detail": "Its file is gone."}
    )
    looked("chat", file, {"choices": [{"text": " ", "finish_reason": "stop"}]}, params={"metadata": {"page": "look"}})
    page = shown(here, file)
    for said in (
        "Nothing was found that this model knows.", "No text was found.", "No hazard was found.", "The model answered nothing.",
        "Its file is gone.", f'action="/studio/jobs/{failed.pk}/retry"', f'href="/studio/jobs/{failed.pk}/"', "The picture is large.",
    ):  # fmt: skip
        assert said in page, said
    here.post(f"/studio/jobs/{failed.pk}/dismiss")
    assert "Its file is gone." not in shown(here, file)


def test_the_newest_look_of_each_kind_is_shown_and_the_older_ones_are_linked(here: Client) -> None:
    file, other = kept_picture(), kept_picture("blue")
    nothing: dict[str, Any] = {"width": 40, "height": 30, "detections": []}
    old, new = looked("detect", file, nothing), looked("detect", file, nothing, source="api")
    talk = looked("chat", file, {"choices": [{"text": "a talk about it"}]}, params={"metadata": {}})
    batch = looked("layout_score", file, params={"items": []})
    looked("hazards", other, {"risk": "low", "cells": []})
    page = shown(here, file)
    assert f'id="job-{new.pk}"' in page
    assert f'id="job-{old.pk}"' not in page
    assert f'href="/studio/jobs/{old.pk}/"' in page
    assert str(talk.pk) not in page
    assert str(batch.pk) not in page
    assert re.findall(r"look/\?image=([0-9a-f-]+)", here.get(PAGE).content.decode()) == [str(other.pk), str(file.pk)]


def test_many_pictures_ask_no_more_queries_than_few(here: Client) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as found:
            here.get(PAGE)
        return len(found)

    nothing: dict[str, Any] = {"width": 40, "height": 30, "detections": []}
    looked("detect", kept_picture(), nothing)
    queries()
    few = queries()
    for colour in ("blue", "green", "yellow", "white"):
        looked("detect", kept_picture(colour), nothing)
    assert queries() == few <= 18


def test_people_see_and_ask_about_their_own_pictures_alone(here: Client) -> None:
    key, token = create_key(name="mine", scopes=[READ, SUBMIT])
    client = Client(headers={"Authorization": f"Bearer {token}"})
    own, theirs = kept_picture(owner_key=key.prefix), kept_picture("blue", owner_key="someone")
    looked("hazards", theirs, {"risk": "high", "cells": []}, owner_key="someone")
    looked("hazards", own, {"risk": "low", "cells": []}, owner_key="someone")  # staff looked at it
    assert "risk-" not in shown(client, own)
    assert str(theirs.pk) not in client.get(PAGE).content.decode()
    reply = client.get(PAGE, {"image": str(theirs.pk)})
    assert reply.status_code == 404
    assert "This picture is not here any more." in reply.content.decode()
    assert client.post(ASK, {"image": str(theirs.pk), "look": ["layout"]}).status_code == 422
    _, token = create_key(name="looks", scopes=[READ])
    reader = Client(headers={"Authorization": f"Bearer {token}"})
    assert 'id="look-form"' not in reader.get(PAGE).content.decode()
    assert reader.post(ASK, {"image": str(own.pk), "look": ["layout"]}).status_code == 403


def test_a_pictures_own_page_leads_here(here: Client) -> None:
    picture = make_picture()
    assert f'href="/studio/look/?image={picture.pk}"' in here.get(f"/studio/images/{picture.pk}/").content.decode()
    assert f"/api/images/{picture.pk}/file/" in here.get(PAGE, {"image": str(picture.pk)}).content.decode()
