"""Looking at a picture in a real browser: dropped in, asked about, drawn over, found again; and where something fails."""

import io
import re

import pytest
from PIL import Image, ImageDraw
from playwright import sync_api
from playwright.sync_api import expect

from api.runtime.labels import draw_text
from tests.live import LiveServer
from tests.studio.browsers import MARKS, NARROW, drop, keep_screenshot

pytestmark = MARKS
LOOK_SECONDS = 90
KINDS = ("layout", "things", "text", "hazards", "caption")


def poster(words: str = "SUMMER CONCERT") -> bytes:
    """A line of text above a red square."""
    picture = Image.new("RGB", (480, 360), "#1a1e3c")
    draw = ImageDraw.Draw(picture)
    draw_text(draw, (30, 55), words, 44, (255, 255, 255))
    draw.rectangle((160, 130, 330, 300), fill="#dc3c3c")
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def looking(page: sync_api.Page) -> sync_api.Page:
    page.goto("/studio/look/")
    return page


def card(page: sync_api.Page, name: str) -> sync_api.Locator:
    return page.locator(f"section[aria-labelledby=look-{name}]")


def wait_for_all(page: sync_api.Page) -> None:
    expect(page.locator(".look-card")).to_have_count(len(KINDS))
    expect(page.locator(".look-card .job-state")).to_have_count(0, timeout=1000 * LOOK_SECONDS)


def test_a_dropped_picture_is_asked_about_with_one_click_and_drawn_over(looking: sync_api.Page) -> None:
    page = looking
    drop(page, poster(), "image/png")
    page.wait_for_url(re.compile(r"\?image=[0-9a-f-]{36}$"))
    page.click("#look-go")
    wait_for_all(page)
    line = card(page, "text").locator(".found-rows li")
    expect(line).to_have_text("SUMMER CONCERT")
    expect(card(page, "layout").locator(".bars.headlines dt")).to_have_count(4)
    expect(card(page, "caption").locator(".found-answer")).not_to_be_empty()
    expect(page.locator(".failed")).to_have_count(0)
    # A row and its shape are marked together, by the keyboard and by the mouse.
    shape = page.locator(".look-picture g.text")
    line.focus()
    expect(shape).to_have_class(re.compile("marked"))
    page.hover("h1", force=True, position={"x": 0, "y": 0})
    shape.locator("text").hover()
    expect(line).to_have_class(re.compile("marked"))
    assert page.locator(".look-picture > svg").bounding_box() == page.locator(".look-picture img").bounding_box()
    # Layers, and the slider, which asks nothing again.
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.get_by_role("checkbox", name="Text").uncheck(force=True)
    expect(shape.locator("polygon")).to_be_hidden()
    page.get_by_role("checkbox", name="Layout").check(force=True)
    expect(page.locator(".look-picture svg.layout")).to_be_visible()
    page.fill("#look-least", "95")
    shown = card(page, "things").locator(".found-rows li:not([hidden])")
    assert all(int(score) >= 95 for score in shown.evaluate_all("rows => rows.map(row => row.dataset.score)"))
    assert [url for url in asked if "/studio/" in url] == []
    keep_screenshot(page, "look")
    # A reload, and a phone: the same looks are there again, and nothing is asked twice.
    page.set_viewport_size(NARROW)
    page.reload()
    expect(page.locator(".look-card .found")).to_have_count(len(KINDS))
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    keep_screenshot(page, "look on a phone")
    page.goto("/studio/look/")
    expect(page.locator(".look-before li").first).to_contain_text("SUMMER CONCERT")


def test_the_text_is_copied_from_the_list_and_marked_on_the_picture(looking: sync_api.Page) -> None:
    page = looking
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.set_input_files("#look-file", {"name": "a.png", "mimeType": "image/png", "buffer": poster("OPEN AIR")})
    page.wait_for_selector(".look-picture")
    for name in KINDS:
        page.set_checked(f"[name=look][value={name}]", name == "text")
    page.click("#look-go")
    page.click("text=Copy all text", timeout=1000 * LOOK_SECONDS)
    expect(page.locator(".notice")).to_have_text("Copied.")
    assert page.evaluate("navigator.clipboard.readText()").strip() == "OPEN AIR"
    place = page.locator(".look-picture g.text text").bounding_box()
    assert place
    page.mouse.move(place["x"] + 2, place["y"] + place["height"] / 2)
    page.mouse.down()
    page.mouse.move(place["x"] + place["width"] - 2, place["y"] + place["height"] / 2, steps=4)
    page.mouse.up()
    assert "OPEN AI" in page.evaluate("String(getSelection())")
    expect(page.locator(".look-card")).to_have_count(1)


def test_a_failure_stays_with_its_reason_and_is_tried_again(looking: sync_api.Page, server: LiveServer) -> None:
    page = looking
    page.set_input_files("#look-file", {"name": "a.png", "mimeType": "image/png", "buffer": poster("AGAIN")})
    page.wait_for_selector(".look-picture")
    for name in KINDS:
        page.set_checked(f"[name=look][value={name}]", name == "things")
    page.click("li:has([value=things]) summary")
    page.fill("[name=classes]", "unicorn")
    page.click("#look-go")
    failed = card(page, "things").locator(".failed")
    expect(failed).to_contain_text("the model has no 'unicorn'", timeout=1000 * LOOK_SECONDS)
    first = page.locator(".look-card .job").get_attribute("id")
    page.reload()
    expect(failed).to_be_visible()
    page.click("text=Try again")
    expect(page.locator(f"#{first}")).to_have_count(0)
    expect(failed).to_be_visible(timeout=1000 * LOOK_SECONDS)
    details = page.locator(".look-card .job-details a").get_attribute("href")
    assert details
    identifier = details.strip("/").rpartition("/")[2]
    assert server.client.get(f"/api/jobs/{identifier}/").json()["retry_of"] == (first or "").removeprefix("job-")


def test_what_is_no_picture_and_a_server_that_is_away_lose_nothing(browser: sync_api.Browser, server: LiveServer) -> None:
    """Not on the page whose console must stay silent: the browser itself complains of a server that is away."""
    sent = server.client.post("/api/images/", files={"image": ("a.png", poster("KEPT"), "image/png")}).json()
    context = browser.new_context(base_url=server.url)
    page = context.new_page()
    page.goto(f"/studio/look/?image={sent['id']}")
    page.uncheck("[name=look][value=hazards]")
    drop(page, b"no picture at all", "application/pdf")
    expect(page.locator("#error-picture")).not_to_be_empty()
    assert not page.is_checked("[name=look][value=hazards]")
    expect(page.locator(".look-picture img")).to_be_visible()
    context.set_offline(True)
    page.click("#look-go")
    expect(page.locator(".notice-error")).to_contain_text("The server can't be reached.")
    assert not page.is_checked("[name=look][value=hazards]")
    context.set_offline(False)
    page.click("#look-go")
    expect(page.locator(".look-card")).to_have_count(len(KINDS) - 1)
    context.close()
