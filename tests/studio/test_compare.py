"""Pictures side by side, the choice between two, and grids of variants, without a browser."""

import random
import re
from typing import Any

import pytest
from django.test import Client

from api.access.scopes import LOCAL, READ, SUBMIT
from api.access.services import create_key
from api.images.models import GeneratedImage
from api.jobs.models import Job
from api.scoring.models import Comparison
from api.scoring.taste import pairs
from api.scoring.taste.judgements import compare
from tests.rows import PARAMS, make_job, make_picture
from tests.scoring.test_taste_admin import make_scorer

pytestmark = pytest.mark.django_db
PART = {"HX-Request": "true"}
TASTE, VARIANTS = "/studio/compare/taste/", "/studio/variants/"


def page_of(client: Client, address: str, **options: Any) -> str:
    return client.get(address, **options).content.decode()


def side_by_side(*pictures: GeneratedImage) -> str:
    return "/studio/compare/?" + "&".join(f"image={picture.pk}" for picture in pictures)


def panes(page: str) -> list[str]:
    return re.findall(r'class="picture-frame" href="/api/images/([0-9a-f-]+)/file/"', page)


def differing(page: str) -> set[str]:
    return set(re.findall(r'<tr class="differs"><th scope="row">([^<]+?) <', page))


def shown(page: str) -> list[str]:
    return re.findall(r'name="shown" value="([^"]+)"', page)


def with_key(*scopes: str) -> tuple[str, dict[str, str]]:
    key, token = create_key(name="an application", scopes=scopes)
    return key.prefix, {"Authorization": f"Bearer {token}"}


# ---------------------------------------------------------------- side by side


def test_pictures_stand_in_the_order_of_the_address_with_what_differs_marked(here: Client) -> None:
    first, second = make_picture(), make_picture(seed=7, scores={"clip_score": 31.0}, rating=4)
    page = page_of(here, side_by_side(second, first))
    assert panes(page) == [str(second.pk), str(first.pk)]
    assert differing(page) == {"seed", "match", "rating"}
    assert "★★★★" in page
    assert f'action="/studio/images/{first.pk}/change"' in page


def test_too_many_too_few_and_others_pictures_are_told_and_nothing_of_them_is_shown(here: Client) -> None:
    pictures = [make_picture() for _ in range(5)]
    many = page_of(here, side_by_side(*pictures))
    assert "these are the first of 5" in many
    assert len(panes(many)) == 4
    owner, header = with_key(READ)
    mine = make_picture(owner_key=owner)
    page = page_of(here, side_by_side(mine, pictures[0]), headers=header)
    assert "1 picture is not there any more." in page
    assert "It takes two pictures to compare" in page
    assert re.findall(r'name="image" value="([^"]+)"', page) == [str(mine.pk)]


def test_one_comes_there_from_the_gallery_without_scripts_and_from_a_picture(here: Client) -> None:
    source = make_picture()
    picture = make_picture(origin="edited", source=source)
    address = side_by_side(source, picture)
    reply = here.post("/studio/gallery/change", {"action": "compare", "ids": [source.pk, picture.pk]})
    assert reply["Location"] == address
    assert address.replace("&", "&amp;") in page_of(here, f"/studio/images/{picture.pk}/")


# ---------------------------------------------------------------- which one is preferred


def test_one_prompt_is_looked_for_among_older_pictures_before_two_prompts_are_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    lakes = {make_picture(prompt="a lake").pk for _ in range(2)}
    nameless = [make_picture(prompt="") for _ in range(2)]
    others = [make_picture(prompt=f"tree {number}") for number in range(2)]
    monkeypatch.setattr(pairs, "POOL", 4)
    assert set(pairs.next_pair("images", LOCAL, random.Random(0)) or ()) == lakes
    a, b = (GeneratedImage.objects.get(pk=pk).file for pk in lakes)
    compare(owner_key="local", first=a, second=b, preferred=a)
    newest = {picture.pk for picture in (*nameless, *others)}
    assert set(pairs.next_pair("images", LOCAL, random.Random(0)) or ()) <= newest


def test_an_owner_chooses_between_own_pictures_takes_it_back_and_trains_nothing(here: Client) -> None:
    for _ in range(3):
        make_picture()
    owner, header = with_key(READ, SUBMIT)
    mine = {str(make_picture(make_job(owner_key=owner)).pk) for _ in range(2)}
    page = page_of(here, TASTE, headers=header)
    pair = shown(page)
    assert set(pair) == mine
    assert "19 more" not in page
    assert "Train now" not in page
    part = here.post(f"{TASTE}choose", {"shown": pair, "choice": "2"}, headers={**header, **PART}).content.decode()
    assert "1 choice or rating of yours so far." in part
    assert "19 more, and a scorer can be trained." in part
    said = Comparison.objects.get()
    assert (said.owner_key, str(said.file_a_id if said.outcome == 1 else said.file_b_id)) == (owner, pair[1])
    back = here.post(f"{TASTE}undo", headers={**header, **PART}).content.decode()
    assert set(shown(back)) == mine
    assert Comparison.objects.count() == 0
    assert here.post(f"{TASTE}train", {"name": "mine"}, headers=header).status_code == 403


def test_a_choice_that_can_not_be_kept_says_so_and_shows_another_pair(here: Client) -> None:
    pair = [str(make_picture().pk) for _ in range(4)][:2]
    GeneratedImage.objects.get(pk=pair[0]).file.delete()
    part = here.post(f"{TASTE}choose", {"shown": pair, "choice": "1"}, headers=PART).content.decode()
    assert "could not be kept" in part
    assert len(shown(part)) == 2
    assert Comparison.objects.count() == 0


def test_a_training_is_the_job_of_ones_own_choices_and_too_few_are_told(here: Client) -> None:
    files = [make_picture().file for _ in range(8)]
    few = here.post(f"{TASTE}train", {"name": "mine"}, headers=PART)
    assert (few.status_code, "20 are needed" in few.content.decode()) == (422, True)
    assert "20 are needed" in here.post(f"{TASTE}train", {"name": "mine"}).content.decode()
    for number in range(20):
        first, second = files[number % 8], files[(number + 1 + number // 8) % 8]
        compare(owner_key="local", first=first, second=second, preferred=first)
    assert "can be trained" not in page_of(here, TASTE)
    card = here.post(f"{TASTE}train", {"name": "mine"}, headers=PART).content.decode()
    job = Job.objects.get(kind="train_scorer")
    assert (job.params["name"], job.params["on"], job.params["raters"]) == ("mine", "images", ["local"])
    assert f'id="job-{job.pk}"' in card
    assert f'id="job-{job.pk}"' in page_of(here, TASTE)  # found again


def test_what_was_learned_is_told_with_its_interval_and_may_be_chosen_by_where_it_has(here: Client) -> None:
    make_scorer(1)
    make_scorer(1, name="nothing", learned=False, raters=["somebody"])
    page = page_of(here, TASTE)
    assert "has learned: of two pictures" in page
    assert "81 of 100 cases (95 % interval: 70 to 90; guessing: 50)" in page
    assert page.count('class="series-0"') == 3
    other = re.search(r'href="(/studio/compare/taste/\?scorer=[^"]+)">nothing@1', page)
    assert other
    assert "has not learned yet" in page_of(here, other[1])
    make = page_of(here, "/?best_by=custom:mine")
    assert '<option value="custom:mine" selected>my taste: mine</option>' in make
    assert "custom:nothing" not in make
    job = make_job(params={**PARAMS, "best_of": 2, "rank_by": "custom:mine@1"})
    assert '<option value="custom:mine@1" selected>' in page_of(here, f"/?job={job.pk}")


# ---------------------------------------------------------------- a grid of variants

ASKED = {
    "prompt": "a lake at dawn",
    "part": "lake",
    "variants": "hill\r\ntree",
    "seeds": "1, 2",
    "parameter": "steps",
    "amounts": "3, 5",
}


def errors_of(page: str) -> dict[str, str]:
    return {name: text for name, text in re.findall(r'id="error-(\w+)"[^>]*>([^<]+)<', page) if text}


def test_a_grid_is_estimated_started_and_found_again_and_its_form_filled_in(here: Client) -> None:
    told = here.post(f"{VARIANTS}estimate", ASKED, headers=PART).content.decode()
    assert "12 pictures" in told
    assert "(3 × 2 × 2)" in told
    assert errors_of(told) == {}
    here.post(f"{VARIANTS}start", ASKED, headers=PART)
    job = Job.objects.get(kind="grid")
    assert [(axis["field"], axis["values"]) for axis in job.params["axes"]] == [
        ("prompt", ["lake", "hill", "tree"]), ("steps", [3, 5]), ("seed", [1, 2]),
    ]  # fmt: skip
    page = page_of(here, f"{VARIANTS}?job={job.pk}")
    assert f'id="job-{job.pk}"' in page
    assert re.search(r'name="variants"[^>]*>hill\ntree<', page)
    for typed in ('name="part" value="lake"', 'name="seeds" value="1, 2"', 'id="amounts" value="3, 5"'):
        assert typed in page


@pytest.mark.parametrize(
    ("changed", "place", "words"),
    [
        ({"part": "ocean"}, "part", "does not have it"),
        ({"amounts": "3, 9000"}, "amounts", "less than or equal to 150"),
        ({"seeds": "1, b"}, "seeds", "valid integer"),
        ({"seeds": ", ".join(map(str, range(100)))}, "form", "600 cells; a grid has up to 256"),
        ({"prompt": ""}, "prompt", "blank"),
        ({"base": '{"model_id": "nonesuch"}'}, "form", "nonesuch"),
    ],
)
def test_what_is_wrong_is_said_where_it_was_typed_and_nothing_is_started(
    here: Client, changed: dict[str, str], place: str, words: str
) -> None:
    asked = {**ASKED, **changed}
    if "prompt" in changed:
        asked |= {"part": "", "variants": ""}
    page = here.post(f"{VARIANTS}start", asked).content.decode()
    assert words in errors_of(page).get(place, ""), errors_of(page)
    assert 'name="seeds" value="' + asked["seeds"] in page
    assert Job.objects.count() == 0


def test_the_prompt_box_and_a_picture_bring_their_request(here: Client) -> None:
    sent = {"prompt": "a tower", "steps": "7", "seed": "5", "tags": ""}
    assert here.post(VARIANTS, sent, headers=PART)["HX-Redirect"] == VARIANTS
    page = page_of(here, VARIANTS)
    assert ">a tower</textarea>" in page
    assert 'name="seeds" value="5, 6, 7"' in page
    assert "steps 7" in page
    assert 'name="steps"' in page_of(here, "/?draft")
    assert ">a tower</textarea>" in page_of(here, "/?draft")
    picture = make_picture(seed=42)
    again = page_of(here, f"{VARIANTS}?again={picture.pk}")
    assert 'name="seeds" value="42, 43, 44"' in again
    assert (
        here.post(f"{VARIANTS}estimate", {"prompt": "a", "base": "{}"}, headers=PART)
        .content.decode()
        .count("Nothing is varied")
        == 1
    )
