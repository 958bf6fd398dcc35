"""Comparing in a real browser: two pictures moved as one, a taste that is trained by keys, a grid whose cells open."""

import re
from collections.abc import Iterator

import pytest
from playwright import sync_api
from playwright.sync_api import expect

from tests.live import LiveServer
from tests.studio.browsers import MARKS, NARROW, keep_screenshot

pytestmark = MARKS
TASTE = "/studio/compare/taste/"


@pytest.fixture(scope="module")
def pictures(server: LiveServer) -> list[str]:
    made = server.client.post("/api/txt2img/", json={"prompt": "two hills", "num_images": 8, "seed": 1, "steps": 1}).json()
    return [image["id"] for image in made["result"]["images"]]


@pytest.fixture
def beside(page: sync_api.Page, pictures: list[str]) -> Iterator[sync_api.Page]:
    page.goto(f"/studio/compare/?image={pictures[0]}&image={pictures[1]}")
    page.wait_for_selector(".pane .viewer-scale:not(:empty)")
    return page  # type: ignore[return-value]


def transforms(page: sync_api.Page) -> list[str]:
    return page.eval_on_selector_all(".pane img", "images => images.map((image) => image.style.transform)")  # type: ignore[no-any-return]


def test_two_chosen_in_the_gallery_are_enlarged_and_moved_as_one(page: sync_api.Page, pictures: list[str]) -> None:
    page.goto("/studio/gallery/")
    boxes = page.locator("#grid .tile-check")
    boxes.nth(0).click()
    expect(page.locator("#compare-chosen")).to_be_disabled()
    boxes.nth(1).click()
    page.click("#compare-chosen")
    page.wait_for_url("**/studio/compare/?image=*&image=*")
    page.wait_for_selector(".pane .viewer-scale:not(:empty)")
    page.locator(".pane .picture-frame").nth(1).hover()
    page.mouse.wheel(0, -600)
    first, second = transforms(page)
    assert first == second != ""
    page.mouse.down()
    page.mouse.move(700, 300, steps=4)
    page.mouse.up()
    moved = transforms(page)
    assert moved[0] == moved[1] != first
    page.keyboard.press("z")
    expect(page.locator(".pane .viewer-scale")).to_have_text(["100 %", "100 %"])
    keep_screenshot(page, "compare-actual-size")


def test_keys_swap_them_in_one_place_and_keep_the_better_one(
    beside: sync_api.Page, server: LiveServer, pictures: list[str]
) -> None:
    beside.keyboard.press("s")
    front = beside.locator(".pane.front")
    expect(front.locator("b")).to_have_text("1")
    beside.keyboard.press("s")
    expect(beside.locator("#compare-state")).to_have_text("Picture 2")
    assert beside.locator(".pane .picture-frame:visible").count() == 1
    beside.keyboard.press("f")
    expect(front.locator(".favourite")).to_have_attribute("aria-pressed", "true")
    front.locator(".star").nth(3).click()
    expect(front.locator(".star.lit")).to_have_count(4)
    kept = server.client.get(f"/api/images/{pictures[1]}/").json()
    assert (kept["favourite"], kept["rating"]) == (True, 4)


def test_on_a_phone_they_are_stacked_and_two_fingers_enlarge_both(
    browser: sync_api.Browser, server: LiveServer, pictures: list[str]
) -> None:
    context = browser.new_context(viewport=NARROW, base_url=server.url, has_touch=True)
    page = context.new_page()
    page.goto(f"/studio/compare/?image={pictures[0]}&image={pictures[1]}")
    page.wait_for_selector(".pane .viewer-scale:not(:empty)")
    upper, lower = (frame.bounding_box() or {} for frame in page.locator(".pane .picture-frame").all())
    assert lower["y"] > upper["y"] + upper["height"]
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
    pinch(context, page, upper["x"] + upper["width"] / 2, upper["y"] + upper["height"] / 2)
    first, second = transforms(page)
    assert first == second != ""
    keep_screenshot(page, "compare-phone")
    context.close()


def pinch(context: sync_api.BrowserContext, page: sync_api.Page, x: float, y: float) -> None:
    """Two fingers from each other."""
    session = context.new_cdp_session(page)
    for kind, apart in (("touchStart", 20), ("touchMove", 40), ("touchMove", 70), ("touchMove", 90)):
        points = [{"x": x - apart, "y": y, "id": 1}, {"x": x + apart, "y": y, "id": 2}]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def test_a_taste_is_given_by_keys_taken_back_trained_and_told(
    page: sync_api.Page, server: LiveServer, pictures: list[str]
) -> None:
    page.goto(TASTE)
    for number in range(21):
        before = shown(page)
        expect(page.locator(".pair-prompt")).to_contain_text("Prompt of both: ")
        page.keyboard.press("1" if before[0] < before[1] else "2")
        expect(page.locator(".standing")).to_contain_text(f"{number + 1 + rated(server)} choice")
    last = before
    page.keyboard.press("Backspace")
    expect(page.locator("#pair .message")).to_have_text("Taken back: choose again.")
    assert set(shown(page)) == set(last)
    page.keyboard.press("0")
    expect(page.locator("#pair .message")).to_have_count(0)
    page.click(".train .go")
    verdict = page.locator("#stage .verdict")
    expect(verdict).to_contain_text(re.compile(r"my-taste@1 has (not )?learned.*(of 100 cases|too few choices)"))
    expect(page.locator("#learned")).to_contain_text("my-taste@1")
    page.reload()
    expect(page.locator("#learned .verdict")).to_be_visible()
    keep_screenshot(page, "taste")


def shown(page: sync_api.Page) -> list[str]:
    return page.eval_on_selector_all("[name=shown]", "fields => fields.map((field) => field.value)")  # type: ignore[no-any-return]


def rated(server: LiveServer) -> int:
    """Stars that the other tests gave count, too."""
    return len(server.client.get("/api/ratings/").json()["results"])


def test_a_grid_from_the_prompt_box_is_estimated_made_opened_and_found_again(page: sync_api.Page, server: LiveServer) -> None:
    page.goto("/")
    page.fill("#prompt", "a lake at dawn")
    page.click("#prompt-form [formaction]")
    page.wait_for_url("**/studio/variants/")
    page.fill("[name=part]", "lake")
    page.fill("[name=variants]", "hill\ntree")
    page.select_option("#parameter", "steps")
    page.fill("#amounts", "1, 2")
    expect(page.locator("#estimate")).to_contain_text("6 pictures (3 × 2)")
    page.fill("[name=part]", "ocean")
    expect(page.locator("#error-part")).to_contain_text("does not have it")
    page.reload()
    expect(page.locator("[name=part]")).to_have_value("ocean")  # what was typed is still there
    page.fill("[name=part]", "lake")
    expect(page.locator("#estimate")).to_contain_text("6 pictures")
    page.keyboard.press("Control+Enter")
    cells = page.locator(".grid-map a")
    expect(cells).to_have_count(6)
    page.reload()
    expect(cells).to_have_count(6)
    cells.nth(4).click()
    expect(page.locator("#lightbox .picture-prompt")).to_have_text("a hill at dawn")
    keep_screenshot(page, "variants")


def test_a_grid_is_cancelled_as_one_after_a_reload(page: sync_api.Page, server: LiveServer) -> None:
    body = {"request": {"prompt": "slowly", "steps": 150}, "axes": [{"field": "seed", "values": list(range(200))}]}
    job = server.client.post("/api/grids/", json=body, headers={"Prefer": "respond-async"}).json()["id"]
    page.goto("/studio/variants/")
    card = page.locator(f"#job-{job}")
    expect(card.locator(".job-word")).to_contain_text("of 200 pictures")
    card.get_by_role("button", name="Cancel").click()
    server.wait_until(lambda: server.client.get(f"/api/jobs/{job}/").json()["status"] == "cancelled", "it is cancelled", 30)
    expect(card).to_contain_text("Cancelled.")
    active = server.client.get("/api/jobs/?kind=txt2img&status=queued").json()["results"]
    assert active == []
