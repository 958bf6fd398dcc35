"""The pages in a real browser, against a real server with a worker and a tiny real model."""

import re

import pytest
from playwright import sync_api

from tests.live import LiveServer
from tests.studio.browsers import EACH_SCREEN, MARKS, NARROW, PASSWORD, keep_screenshot

pytestmark = MARKS


def log_in(page: sync_api.Page) -> None:
    page.goto("/admin/login/?next=/admin/")
    page.fill("#id_username", "owner")
    page.fill("#id_password", PASSWORD)
    page.click("[type=submit]")
    page.wait_for_selector("#user-tools")


def ask(page: sync_api.Page, prompt: str, **more: object) -> None:
    page.goto("/")
    page.fill("#prompt", prompt)
    if more:
        page.click("#more summary")
    for name, value in more.items():
        page.fill(f"[name={name}]", str(value))
    page.click(".prompt-form .go")


def test_a_prompt_becomes_a_picture_on_the_page(page: sync_api.Page) -> None:
    page.goto("/")
    hanging = page.locator(".tile").count()
    ask(page, "a red circle", steps=6, seed=7)
    page.wait_for_selector(".made img")
    assert "seed 7 · 6 steps" in page.locator(".made-facts").inner_text()
    assert page.locator(".tile").count() == hanging + 1
    assert page.evaluate("document.querySelector('.made img').naturalWidth") == 64


def test_the_best_of_three_is_shown_with_its_candidates(page: sync_api.Page) -> None:
    ask(page, "a red circle", steps=2, best_of=3)
    page.wait_for_selector(".made img")
    assert page.locator(".made img").count() == 1
    assert page.locator(".score-strip circle").count() == 3
    page.click(".candidates summary")
    assert page.locator(".candidates tbody tr").count() == 3


def test_progress_and_preview_are_seen_on_the_way(page: sync_api.Page) -> None:
    ask(page, "slowly", steps=150, num_images=16)
    page.wait_for_selector(".job img.preview")
    step = re.compile(r"Step \d+ of 2400")  # 16 pictures of 150 steps
    sync_api.expect(page.locator(".job-word").first).to_have_text(step)
    page.click(".job:has-text('slowly') form button")
    page.wait_for_selector("text=Cancelled.")


def test_a_job_is_cancelled_with_its_button(page: sync_api.Page, server: LiveServer) -> None:
    ask(page, "to be cancelled", steps=150, num_images=16)
    page.click(".job:has-text('to be cancelled') form button")
    page.wait_for_selector(".job:has-text('to be cancelled') >> text=Cancelled.")
    newest = server.client.get("/api/jobs/?limit=1").json()["results"][0]
    assert (newest["params"]["prompt"], newest["status"]) == ("to be cancelled", "cancelled")


def test_an_error_is_shown_at_its_field_and_what_was_typed_stays(page: sync_api.Page) -> None:
    page.goto("/")
    page.evaluate("document.getElementById('prompt-form').noValidate = true")
    page.fill("#prompt", "a lake")
    page.click("#more summary")
    page.fill("[name=width]", "100")
    page.click("#more summary")
    page.click(".prompt-form .go")
    page.wait_for_selector("#error-width:not(:empty)")
    assert "multiple of 8" in page.locator("#error-width").inner_text()
    assert page.locator("#more").get_attribute("open") is not None
    assert page.input_value("#prompt") == "a lake"


def test_a_picture_opens_in_the_lightbox_and_is_made_again_with_its_seed(page: sync_api.Page) -> None:
    ask(page, "a seed to keep", seed=31337, steps=2)
    page.wait_for_selector(".made img")
    page.locator(".tile").first.click()
    page.wait_for_selector("#lightbox[open] .picture-prompt")
    assert "31337" in page.locator("#lightbox dl").inner_text()
    page.click("#lightbox >> text=Again with this seed")
    page.wait_for_url("**/?again=*")
    assert (page.input_value("[name=seed]"), page.input_value("#prompt")) == ("31337", "a seed to keep")


def test_the_keyboard_is_enough(page: sync_api.Page) -> None:
    page.goto("/")
    page.keyboard.type("typed and sent")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector(".made img")
    page.locator(".tile").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#lightbox[open] .picture")
    first = page.get_attribute("#lightbox .picture-frame", "href")
    page.keyboard.press("ArrowRight")
    page.wait_for_function(
        "before => document.querySelector('#lightbox .picture-frame').getAttribute('href') !== before", arg=first
    )
    page.keyboard.press("Escape")
    page.wait_for_selector("#lightbox[open]", state="detached")


def test_it_works_without_scripts(browser: sync_api.Browser, server: LiveServer) -> None:
    context = browser.new_context(base_url=server.url, java_script_enabled=False)
    page = context.new_page()
    ask(page, "no scripts here")
    page.wait_for_selector(".made img", timeout=60_000)
    assert "/studio/jobs/" in page.url
    context.close()


def test_the_admin_follows_a_job_and_stops_it(page: sync_api.Page, server: LiveServer) -> None:
    log_in(page)
    body = {"prompt": "followed", "steps": 150, "num_images": 16}
    job = server.client.post("/api/txt2img/", json=body, headers={"Prefer": "respond-async"}).json()
    page.goto(f"/admin/jobs/job/{job['id']}/change/")
    page.wait_for_selector(".live progress")
    page.click("button[value=cancel]")
    page.wait_for_selector(".live .pill-cancelled")
    assert page.locator("button[value=cancel]").count() == 0


def test_a_rating_is_given_in_the_admin(page: sync_api.Page, server: LiveServer) -> None:
    log_in(page)
    page.goto("/admin/images/generatedimage/")
    page.locator(".wall-picture a").first.click()
    page.click("#id_rating label:has-text('★★★★') >> nth=0")
    page.fill("#id_tag_names", "from the browser")
    page.click(".judgement button")
    page.wait_for_selector(".messagelist .success")
    assert server.client.get("/api/images/?tag=from the browser").json()["results"][0]["rating"] == 4


def test_a_click_on_a_star_rates_without_leaving_the_wall(page: sync_api.Page, server: LiveServer) -> None:
    log_in(page)
    page.goto("/admin/images/generatedimage/")
    first = page.locator(".wall-picture").first
    image = first.locator("[name=_selected_action]").get_attribute("value")
    first.locator(".star").nth(2).click()
    sync_api.expect(first.locator(".star.lit")).to_have_count(3)
    assert server.client.get(f"/api/images/{image}/").json()["rating"] == 3
    first.locator(".star").nth(2).click()
    sync_api.expect(first.locator(".star.lit")).to_have_count(0)
    assert server.client.get(f"/api/ratings/?image={image}").json()["results"] == []


def test_two_pictures_are_compared_with_the_keyboard_alone(page: sync_api.Page, server: LiveServer) -> None:
    server.client.post("/api/txt2img/", json={"prompt": "three to compare", "num_images": 3})
    log_in(page)
    page.goto("/admin/scoring/comparison/compare/")
    shown = [page.locator("[name=shown]").nth(place).input_value() for place in (0, 1)]
    with page.expect_navigation():
        page.keyboard.press("2")
    [newest] = server.client.get("/api/comparisons/?limit=1").json()["results"]
    assert (newest["preferred"], set(newest["images"])) == (shown[1], set(shown))
    with page.expect_navigation():
        page.keyboard.press("Backspace")
    with page.expect_navigation():
        page.keyboard.press("0")
    assert [row["preferred"] for row in server.client.get("/api/comparisons/").json()["results"]] == [None]


LISTS = [
    f"/admin/{name}/"
    for name in (
        "access/apikey", "auth/group", "auth/user", "chat/conversation", "files/storedfile", "images/generatedimage", "images/tag",
        "jobs/job", "jobs/worker", "scoring/comparison", "scoring/customscorer", "scoring/layoutscore", "scoring/promptscore",
        "scoring/rating",
    )
]  # fmt: skip
CUT_OFF = """() => [...document.querySelectorAll("table, svg, pre")].filter((part) => {
  if (part.getBoundingClientRect().right <= window.innerWidth + 1) return false;
  for (let box = part.parentElement; box; box = box.parentElement)
    if (["auto", "scroll"].includes(getComputedStyle(box).overflowX)) return false;
  return true;
}).map((part) => part.outerHTML.slice(0, 80))"""


@pytest.fixture(scope="module")
def one_of_everything(server: LiveServer) -> None:
    """Something in each list."""
    images = server.client.post("/api/txt2img/", json={"prompt": "judged", "num_images": 2}).json()["result"]["images"]
    first, second = (image["id"] for image in images)
    for address, body in (
        ("/api/score/", {"image": first}),
        ("/api/clip-score/", {"images": [first], "prompts": ["a lake"], "model_id": "starter-clip"}),
        ("/api/ratings/", {"image": first, "rating": 3}),
        ("/api/comparisons/", {"images": [first, second], "preferred": first}),
        ("/v1/chat/completions", {"model": "starter-vlm", "messages": [{"role": "user", "content": "hello"}]}),
    ):
        reply = server.client.post(address, json=body)
        assert reply.status_code in (200, 201), (address, reply.text)


def test_no_page_of_the_admin_breaks_its_content_policy(page: sync_api.Page, one_of_everything: None) -> None:
    """A violation is a message in the console, which must stay silent."""
    log_in(page)
    seen = 0
    for address in LISTS:
        page.goto(address)
        row = page.locator("#result_list tbody a[href*='/change/'], .wall-picture a").first
        targets = [row.get_attribute("href")] if row.count() else []
        if page.locator(".object-tools .addlink").count():
            targets.append(f"{address}add/")
        for target in targets:
            reply = page.goto(str(target))
            assert reply is not None
            assert "default-src 'self'" in reply.headers["content-security-policy"]
            seen += 1
    assert seen >= 11
    for address in ("/", "/admin/", "/admin/scoring/comparison/compare/", "/admin/password_change/"):
        page.goto(address)


def test_the_policy_stops_a_script_that_is_inline(browser: sync_api.Browser, server: LiveServer) -> None:
    context = browser.new_context(base_url=server.url)
    page = context.new_page()
    for address in ("/", "/admin/login/"):
        page.goto(address)
        page.evaluate(
            "() => { const part = document.createElement('script'); part.textContent = 'window.ran = 1'; document.body.append(part) }"
        )
        assert page.evaluate("window.ran") is None
    context.close()


def test_every_value_of_a_list_is_seen_on_a_phone(
    browser: sync_api.Browser, server: LiveServer, one_of_everything: None
) -> None:
    context = browser.new_context(viewport=NARROW, base_url=server.url)
    page = context.new_page()
    log_in(page)
    for address in LISTS:
        page.goto(address)
        ends = page.eval_on_selector_all(
            "#result_list :is(td, th)", "cells => cells.map(cell => cell.getBoundingClientRect().right)"
        )
        assert max(ends, default=0) <= NARROW["width"], address
        keep_screenshot(page, f"list-{address.strip('/').replace('/', '-')}")
    context.close()


@EACH_SCREEN
def test_every_page_fits_its_screen(
    browser: sync_api.Browser, server: LiveServer, viewport: "sync_api.ViewportSize", colours: str
) -> None:
    context = browser.new_context(viewport=viewport, color_scheme=colours, base_url=server.url)
    page = context.new_page()
    log_in(page)
    image = server.client.get("/api/images/?limit=1").json()["results"][0]
    body = {"prompt": "a red circle", "best_of": 4, "rank_by": {"clip": 0.7, "layout": 0.3}}
    contest = server.client.post("/api/txt2img/", json=body).json()["id"]
    addresses = [
        "/",
        f"/studio/images/{image['id']}/",
        f"/studio/jobs/{image['job']}/",
        "/studio/nothing",
        "/admin/",
        "/admin/jobs/job/",
    ]
    addresses += [f"/admin/jobs/job/{image['job']}/change/", "/admin/images/generatedimage/", "/admin/jobs/worker/"]
    addresses += [f"/admin/images/generatedimage/{image['id']}/change/"]
    addresses += ["/admin/scoring/comparison/compare/", "/admin/scoring/customscorer/", "/admin/scoring/rating/"]
    addresses += [f"/studio/jobs/{contest}/", f"/admin/jobs/job/{contest}/change/"]
    for address in addresses:
        page.goto(address)
        page.evaluate("document.querySelectorAll('.candidates details').forEach(details => { details.open = true })")
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= viewport["width"], address
        assert page.evaluate(CUT_OFF) == [], address
        keep_screenshot(page, f"{address.strip('/').replace('/', '-') or 'front'}-{viewport['width']}-{colours}")
    context.close()
