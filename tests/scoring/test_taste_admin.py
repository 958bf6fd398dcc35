"""Stars and choices given in the admin, and what was learned, as people see it."""

import random
import re
import uuid
from itertools import pairwise
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from api.access.scopes import LOCAL
from api.access.services import create_key
from api.files.models import StoredFile
from api.images.models import GeneratedImage
from api.jobs.models import Job
from api.scoring.models import Comparison, CustomScorer, PictureFeatures, Rating
from api.scoring.taste.charts import curve_chart
from api.scoring.taste.judgements import compare
from api.scoring.taste.pairs import next_pair
from tests.rows import make_picture
from tests.scoring.test_judgements import make_layout

pytestmark = pytest.mark.django_db
COMPARE = "/admin/scoring/comparison/compare/"
SCORERS = "/admin/scoring/customscorer/"
FIGURE = {"value": 0.81, "low": 0.7, "high": 0.9, "count": 100}
FIGURES = {
    "summary": "Learned from 100 comparisons: of two that it had not seen it picks the preferred one in 81 % of the cases.",
    "pair_accuracy": FIGURE,
    "rank_correlation": {"value": None, "low": None, "high": None, "count": 0},
    "learning_curve": [{"judgements": size, "pair_accuracy": FIGURE} for size in (11, 22, 90)],
    "penalty": 1.0,
    "weights": {"colorfulness": 0.9, "white_space": -0.3},
}
TASTE = {
    "on": "images", "encoder": "", "slope": 1.0, "middle": 0.0, "spread": 1.0, "learned": True, "summary": "", "extractor": "x",
    "scaling": {"names": ["light"], "mean": [0.0], "sd": [1.0], "embedding_mean": [], "embedding_scale": 1.0}, "weights": [1.0],
}  # fmt: skip


@pytest.fixture(autouse=True)
def _media(media: Any) -> None:
    """Files of this test alone."""


def make_scorer(version: int = 1, **fields: Any) -> CustomScorer:
    known = {"name": "mine", "on": "images", "owner_key": "local", "encoder": "", "raters": ["local"], "ratings": 0}
    known |= {"comparisons": 100, "learned": True, "figures": FIGURES, "taste": TASTE}
    return CustomScorer.objects.create(version=version, **{**known, **fields})


def rate_address(picture: GeneratedImage) -> str:
    return f"/admin/images/generatedimage/{picture.pk}/rate/"


@pytest.fixture
def onlooker(db: None) -> Client:
    """May look at everything here, and change nothing."""
    user = User.objects.create_user("onlooker", password="a password", is_staff=True)
    names = ["view_generatedimage", "view_layoutscore", "view_customscorer", "view_comparison"]
    user.user_permissions.set(Permission.objects.filter(codename__in=names))
    client = Client()
    client.force_login(user)
    return client


# ---------------------------------------------------------------- stars


def test_a_click_on_a_star_rates_the_picture_and_answers_with_the_stars(admin_client: Client) -> None:
    picture = make_picture()
    reply = admin_client.post(rate_address(picture), {"stars": "4"}, headers={"HX-Request": "true"})
    assert reply.content.decode().count("lit") == 4
    assert (Rating.objects.get().stars, GeneratedImage.objects.get().rating) == (4, 4)


def test_without_scripts_the_click_leads_back_to_where_it_was_made(admin_client: Client) -> None:
    picture = make_picture()
    wall = "http://testserver/admin/images/generatedimage/?rated=none"
    assert admin_client.post(rate_address(picture), {"stars": "2"}, headers={"Referer": wall})["Location"] == wall
    elsewhere = admin_client.post(rate_address(picture), {"stars": "2"}, headers={"Referer": "https://example.org/"})
    assert elsewhere["Location"] == "/admin/images/generatedimage/"


def test_the_lit_star_takes_the_stars_back(admin_client: Client) -> None:
    picture = make_picture()
    admin_client.post(rate_address(picture), {"stars": "3"})
    wall = admin_client.get("/admin/images/generatedimage/").content.decode()
    assert re.search(r'value="0"[^>]*title="Take the stars back"', wall)
    admin_client.post(rate_address(picture), {"stars": "0"})
    assert (Rating.objects.count(), GeneratedImage.objects.get().rating) == (0, None)


@pytest.mark.parametrize("stars", ["6", "", "x", "-1", "2.5"])
def test_what_no_star_sends_is_not_found(admin_client: Client, stars: str) -> None:
    assert admin_client.post(rate_address(make_picture()), {"stars": stars}).status_code == 404


def test_who_may_only_look_rates_nothing_and_sees_no_buttons(onlooker: Client) -> None:
    picture = make_picture()
    assert onlooker.post(rate_address(picture), {"stars": "4"}).status_code == 403
    assert b'class="rate"' not in onlooker.get("/admin/images/generatedimage/").content
    assert onlooker.post(f"/admin/scoring/layoutscore/{make_layout().pk}/rate/", {"stars": "4"}).status_code == 403
    assert Rating.objects.count() == 0


def test_saving_the_form_of_a_picture_as_it_was_rates_nothing(admin_client: Client) -> None:
    picture = make_picture()
    picture.file.ratings.give(owner_key="somebody", stars=4)
    page = f"/admin/images/generatedimage/{picture.pk}/change/"
    admin_client.post(page, {"rating": "4", "tag_names": "kept", "favourite": "on"})
    assert Rating.objects.get().owner_key == "somebody"
    admin_client.post(page, {"rating": "2", "tag_names": "kept"})
    assert Rating.objects.count() == 2


def test_a_layout_is_rated_on_its_page_with_ones_own_stars(admin_client: Client) -> None:
    layout = make_layout()
    layout.ratings.give(owner_key="somebody", stars=1)
    page = f"/admin/scoring/layoutscore/{layout.pk}/"
    admin_client.post(f"{page}rate/", {"stars": "5"})
    assert admin_client.get(f"{page}change/").content.decode().count('class="star lit"') == 5
    admin_client.post(f"{page}rate/", {"stars": "0"})
    assert Rating.objects.get().owner_key == "somebody"


def test_once_there_are_keys_a_person_rates_under_their_own_name(admin_client: Client, admin_user: Any) -> None:
    create_key(name="an application")
    admin_client.post(rate_address(make_picture()), {"stars": "4"})
    assert Rating.objects.get().owner_key == f"user:{admin_user.pk}"


# ---------------------------------------------------------------- the page that compares


def shown_on(page: str) -> list[str]:
    return re.findall(r'name="shown" value="([^"]+)"', page)


def test_two_pictures_stand_side_by_side_and_a_choice_leads_to_the_next_two(admin_client: Client) -> None:
    pictures = [make_picture() for _ in range(4)]
    seen = set()
    for _ in range(2):
        shown = shown_on(admin_client.get(COMPARE).content.decode())
        seen |= set(shown)
        reply = admin_client.post(COMPARE, {"on": "images", "shown": shown, "choice": "2"})
        assert (reply.status_code, reply["Location"]) == (302, f"{COMPARE}?on=images")
        newest = Comparison.objects.order_by("-compared_at").first()
        assert newest is not None
        preferred = newest.file_a_id if newest.outcome == Comparison.Outcome.A else newest.file_b_id
        assert str(preferred) == shown[1]
    assert seen == {str(picture.pk) for picture in pictures}


def test_neither_is_a_tie(admin_client: Client) -> None:
    shown = [str(make_picture().pk) for _ in range(2)]
    admin_client.post(COMPARE, {"on": "images", "shown": shown, "choice": "0"})
    assert Comparison.objects.get().outcome == Comparison.Outcome.TIE


def test_the_last_pair_can_be_chosen_again(admin_client: Client) -> None:
    shown = [str(make_picture().pk) for _ in range(3)][:2]
    admin_client.post(COMPARE, {"on": "images", "shown": shown, "choice": "1"})
    page = admin_client.get(COMPARE).content.decode()
    [back] = re.findall(r'href="([^"]+)" data-key="Backspace"', page)
    again = shown_on(admin_client.get(back.replace("&amp;", "&")).content.decode())
    assert set(again) == set(shown)
    admin_client.post(COMPARE, {"on": "images", "shown": again, "choice": "0"})
    assert Comparison.objects.get().outcome == Comparison.Outcome.TIE


def test_when_all_is_compared_the_page_says_so(admin_client: Client) -> None:
    assert "nothing left to compare" in admin_client.get(COMPARE).content.decode()
    a, b = (make_picture().file for _ in range(2))
    compare(owner_key="local", first=a, second=b, preferred=a)
    assert "nothing left to compare" in admin_client.get(COMPARE).content.decode()
    assert "nothing left to compare" in admin_client.get(f"{COMPARE}?on=layouts").content.decode()


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"shown": ["x", "y"]},
        {"shown": [str(uuid.uuid4()), str(uuid.uuid4())]},
        {"choice": "3"},
        {"on": "words"},
        {"twice": True},
    ],
)
def test_a_choice_that_no_page_of_ours_sends_is_not_found(admin_client: Client, body: dict[str, Any]) -> None:
    first, second = (str(make_picture().pk) for _ in range(2))
    sent = {"on": "images", "shown": [first, first if body.pop("twice", False) else second], "choice": "1", **body}
    if not body and sent["shown"][0] != sent["shown"][1]:
        sent.pop("choice")
    assert admin_client.post(COMPARE, sent).status_code == 404
    assert Comparison.objects.count() == 0


def test_who_may_only_look_compares_nothing(onlooker: Client) -> None:
    assert onlooker.get(COMPARE).status_code == 403


# ---------------------------------------------------------------- which two come next


def test_what_was_compared_least_comes_first() -> None:
    files = [make_picture().file for _ in range(5)]
    for first, second in ((0, 1), (1, 2), (2, 0)):
        compare(owner_key="local", first=files[first], second=files[second], preferred=None)
    pair = next_pair("images", LOCAL, random.Random(0))
    assert set(pair or ()) == {files[3].pk, files[4].pk}


def test_another_raters_comparisons_do_not_count() -> None:
    files = [make_picture().file for _ in range(2)]
    compare(owner_key="somebody", first=files[0], second=files[1], preferred=None)
    assert next_pair("images", LOCAL, random.Random(0)) is not None


@pytest.mark.parametrize("origin", GeneratedImage.Origin)
def test_only_pictures_that_a_model_painted_are_compared(origin: str) -> None:
    make_picture(origin=origin)
    make_picture(origin=origin)
    painted = origin in ("generated", "edited", "upscaled")
    assert (next_pair("images", LOCAL, random.Random(0)) is not None) == painted


def test_a_pair_is_close_in_what_the_newest_scorer_expects() -> None:
    make_scorer()
    files = {light: make_picture().file for light in (-2.0, -1.9, 1.9, 2.0)}
    for light, file in files.items():
        PictureFeatures.objects.create(file=file, extractor="x", measures={"light": light}, embedding=b"")
    alike = [{files[-2.0].pk, files[-1.9].pk}, {files[1.9].pk, files[2.0].pk}]
    assert all(set(next_pair("images", LOCAL, random.Random(seed)) or ()) in alike for seed in range(10))


def test_pictures_of_one_prompt_are_compared_first_and_then_any_two() -> None:
    lakes, trees = ({make_picture(prompt=prompt).file for _ in range(3)} for prompt in ("a lake", "a tree"))
    files = {file.pk: file for file in lakes | trees}
    seen = []
    while (pair := next_pair("images", LOCAL, random.Random(len(seen)))) is not None:
        first, second = (files[identifier] for identifier in pair)
        seen.append((first in lakes) == (second in lakes))
        compare(owner_key="local", first=first, second=second, preferred=None)
    assert seen == [True] * 6 + [False] * 9


def test_the_prompt_is_shown_once_for_both_or_below_each(admin_client: Client) -> None:
    for prompt in ("a lake", "a lake", "a tree"):
        make_picture(prompt=prompt)
    page = admin_client.get(COMPARE).content.decode()
    assert re.search(r"Prompt of both:</span> a lake</p>", page)
    admin_client.post(COMPARE, {"on": "images", "shown": shown_on(page), "choice": "1"})
    page = admin_client.get(COMPARE).content.decode()
    assert set(re.findall(r'class="compare-words">([^<]+)<', page)) == {"a lake", "a tree"}
    assert "Prompt of both" not in page


def test_overlays_and_uploads_are_not_offered() -> None:
    made = make_picture()
    StoredFile.objects.create(owner_key="local", purpose="upload", name="u.png", size=1, width=8, height=8)
    assert next_pair("images", LOCAL, random.Random(0)) is None
    assert StoredFile.objects.exclude(pk=made.pk).count() == 1


# ---------------------------------------------------------------- scorers


def test_the_list_has_each_version_with_its_figures(admin_client: Client) -> None:
    make_scorer(1)
    make_scorer(2, learned=False)
    page = admin_client.get(SCORERS).content.decode()
    for text in ("custom:mine@1", "custom:mine@2", "81 % (70 to 90)"):
        assert text in page


def test_the_page_of_one_shows_the_curve_and_what_it_likes(admin_client: Client) -> None:
    scorer = make_scorer(2)
    other = make_scorer(1)
    page = admin_client.get(f"{SCORERS}{scorer.pk}/change/").content.decode()
    assert FIGURES["summary"] in page
    assert '<polyline class="curve"' in page
    assert page.count('<circle class="series-0"') == 3
    assert "white space" in page
    assert f"{SCORERS}{other.pk}/change/" in page


def test_a_scorer_that_learned_nothing_says_so_first(admin_client: Client) -> None:
    scorer = make_scorer(learned=False)
    assert "<h2>It learned nothing</h2>" in admin_client.get(f"{SCORERS}{scorer.pk}/change/").content.decode()


def test_the_form_starts_a_training_or_says_what_is_missing(admin_client: Client) -> None:
    reply = admin_client.post(f"{SCORERS}train/", {"name": "mine", "on": "images"}, follow=True)
    assert "20 are needed" in reply.content.decode()
    for number in range(20):
        make_picture().file.ratings.give(owner_key="local", stars=1 + number % 5)
    reply = admin_client.post(f"{SCORERS}train/", {"name": "mine", "on": "images"})
    job = Job.objects.get(kind="train_scorer")
    assert reply["Location"] == reverse("admin:jobs_job_change", args=[job.pk])


def test_a_version_is_deleted_unless_a_job_waits_for_it(admin_client: Client) -> None:
    scorer = make_scorer()
    job = Job.objects.create(
        kind="layout_score", owner_key="local", model_id="custom:mine@1", params={"backend": "custom:mine@1"}
    )
    remove = f"{SCORERS}{scorer.pk}/remove/"
    assert "waits for it" in admin_client.post(remove, follow=True).content.decode()
    job.delete()
    assert "is deleted" in admin_client.post(remove, follow=True).content.decode()
    assert CustomScorer.objects.count() == 0


def test_who_may_only_look_neither_trains_nor_deletes(onlooker: Client) -> None:
    scorer = make_scorer()
    assert onlooker.get(f"{SCORERS}{scorer.pk}/change/").status_code == 200
    assert onlooker.post(f"{SCORERS}train/", {"name": "x"}).status_code == 403
    assert onlooker.post(f"{SCORERS}{scorer.pk}/remove/").status_code == 403


def test_an_empty_curve_draws_nothing() -> None:
    assert curve_chart([])["points"] == []


def test_lists_of_what_was_said_ask_no_more_queries_for_more_rows(
    admin_client: Client, django_assert_max_num_queries: Any
) -> None:
    files = [make_picture().file for _ in range(8)]
    for first, second in pairwise(files):
        first.ratings.give(owner_key="local", stars=3)
        compare(owner_key="local", first=first, second=second, preferred=first)
    for kind in ("rating", "comparison"):
        with django_assert_max_num_queries(10):
            assert admin_client.get(f"/admin/scoring/{kind}/").status_code == 200
