"""The gallery in a real browser: by mouse, by keys, on a phone, and where the server is away."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright import sync_api
from playwright.sync_api import expect

from tests.live import LiveServer
from tests.studio.browsers import EACH_SCREEN, MARKS, NARROW, WIDE, drop, keep_screenshot

pytestmark = MARKS
COUNT = 84


@pytest.fixture(scope="module")
def pictures(server: LiveServer) -> None:
    """More than a page of them, most of the prompt "hills"."""
    server.client.post("/api/txt2img/", json={"prompt": "a lonely tower", "seed": 4711, "steps": 2})
    for start in range(0, COUNT, 14):
        body = {"prompt": "hills", "num_images": 14, "seed": start, "steps": 1, "tags": ["many"]}
        server.client.post("/api/txt2img/", json=body)


@pytest.fixture
def gallery(page: sync_api.Page, pictures: None) -> Iterator[sync_api.Page]:
    page.goto("/studio/gallery/")
    page.wait_for_selector("#grid .tile canvas")
    return page  # type: ignore[return-value]


def tiles(page: sync_api.Page) -> sync_api.Locator:
    return page.locator("#grid .tile-cell")


def state(page: sync_api.Page) -> sync_api.Locator:
    return page.locator("#gallery-state")


def of_first(server: LiveServer, query: str = "") -> dict:
    return server.client.get(f"/api/images/?limit=1{query}").json()["results"][0]


def test_a_search_narrows_the_list_as_it_is_typed(gallery: sync_api.Page) -> None:
    gallery.keyboard.press("/")
    gallery.keyboard.type("tower")
    expect(tiles(gallery)).to_have_count(1)
    expect(state(gallery)).to_have_text("All 1 pictures")
    assert "q=tower" in gallery.url
    gallery.fill("#search", "no such words")
    expect(state(gallery)).to_have_text("No picture is like that.")
    gallery.reload()
    expect(gallery.locator("#nothing")).to_be_visible()


def test_filters_act_at_once_and_stay_in_the_address(gallery: sync_api.Page) -> None:
    gallery.click("#filters summary")
    gallery.select_option("[name=tag]", "many")
    expect(state(gallery)).to_contain_text(f"{COUNT} pictures")
    gallery.select_option("[name=order]", "oldest")
    gallery.wait_for_url("**/?order=oldest&tag=many")
    gallery.reload()
    assert gallery.input_value("[name=tag]") == "many"


def test_only_what_is_seen_is_in_the_page(gallery: sync_api.Page) -> None:
    gallery.set_viewport_size({"width": 1280, "height": 500})
    for _ in range(12):
        gallery.mouse.wheel(0, 900)
        gallery.wait_for_timeout(60)
    expect(state(gallery)).to_contain_text("All ")
    assert tiles(gallery).count() < COUNT * 0.8
    gallery.evaluate("scrollTo(0, 0)")
    expect(tiles(gallery).first).to_have_attribute("aria-posinset", "1")


def test_stars_favourites_and_tags_by_keys_alone(gallery: sync_api.Page, server: LiveServer) -> None:
    tiles(gallery).first.locator("a").focus()
    gallery.keyboard.press("ArrowRight")
    gallery.keyboard.press("x")
    gallery.keyboard.press("Shift+ArrowRight")
    expect(gallery.locator("#selection-count")).to_have_text("2 chosen")
    gallery.keyboard.press("4")
    expect(gallery.locator(".tile-stars:visible")).to_have_count(2)
    gallery.keyboard.press("f")
    expect(gallery.locator(".tile-favourite:visible")).to_have_count(2)
    gallery.keyboard.press("t")
    gallery.keyboard.type("by keys")
    gallery.keyboard.press("Enter")
    server.wait_until(lambda: len(tagged(server)) == 2, "both have the tag")
    assert [(image["rating"], image["favourite"]) for image in tagged(server)] == [(4, True)] * 2


def tagged(server: LiveServer) -> list[dict[str, Any]]:
    return server.client.get("/api/images/?tag=by keys").json()["results"]  # type: ignore[no-any-return]


def test_many_are_chosen_by_mouse_and_deleted_with_undo(gallery: sync_api.Page, server: LiveServer) -> None:
    before = [image["id"] for image in server.client.get("/api/images/?limit=5").json()["results"]]
    cells = tiles(gallery)
    cells.nth(0).locator(".tile-check").click()
    cells.nth(2).locator("a").click(modifiers=["Shift"])
    expect(gallery.locator("#selection-count")).to_have_text("3 chosen")
    cells.nth(1).locator("a").click(modifiers=["Control"])
    expect(gallery.locator("#selection-count")).to_have_text("2 chosen")
    gallery.click("#selection .danger")
    expect(gallery.locator(".notice")).to_contain_text("2 deleted")
    expect(cells.first).to_have_attribute("data-id", before[1])
    gallery.click(".notice button")
    expect(cells.first).to_have_attribute("data-id", before[0])
    assert [image["id"] for image in server.client.get("/api/images/?limit=5").json()["results"]] == before


def test_a_deletion_is_done_when_nobody_takes_it_back_and_when_one_leaves(gallery: sync_api.Page, server: LiveServer) -> None:
    first = of_first(server)["id"]
    tiles(gallery).first.locator("a").focus()
    gallery.keyboard.press("Delete")
    expect(tiles(gallery).first).not_to_have_attribute("data-id", first)
    assert of_first(server)["id"] == first  # it can still be undone
    gallery.goto("/")
    server.wait_until(lambda: of_first(server)["id"] != first, "it is deleted", 10)


def small_parts(page: sync_api.Page) -> None:
    """As if two pictures were as many as one request may name; and a deletion can be undone as long as a slow machine needs."""

    def answer(route: sync_api.Route) -> None:
        served = route.fetch()
        script = (
            served.text().replace("MOST_AT_ONCE = 200", "MOST_AT_ONCE = 2").replace("UNDO_SECONDS = 8", "UNDO_SECONDS = 600")
        )
        route.fulfill(response=served, body=script)

    page.route(re.compile("studio/(gallery|deletions).*[.]js"), answer)
    page.reload()
    page.wait_for_selector("#grid .tile canvas")


def test_one_who_leaves_has_deleted_all_of_many(gallery: sync_api.Page, server: LiveServer) -> None:
    small_parts(gallery)
    chosen = [tiles(gallery).nth(place).get_attribute("data-id") for place in range(5)]
    tiles(gallery).nth(0).locator(".tile-check").click()
    tiles(gallery).nth(4).locator("a").click(modifiers=["Shift"])
    gallery.click("#selection .danger")
    gallery.goto("about:blank")
    server.wait_until(
        lambda: not {id for id in chosen if server.client.get(f"/api/images/{id}/").is_success}, "all are gone", 10
    )


def test_what_is_leaving_stays_away_in_another_list_and_comes_back_once(gallery: sync_api.Page) -> None:
    small_parts(gallery)
    first, second = (tiles(gallery).nth(place).get_attribute("data-id") for place in range(2))
    tiles(gallery).first.locator("a").focus()
    gallery.keyboard.press("Delete")
    gallery.keyboard.press("Delete")
    gallery.fill("#search", "hills")
    gallery.wait_for_url("**?q=hills")
    expect(gallery.locator(f"[data-id='{first}'], [data-id='{second}']")).to_have_count(0)
    gallery.locator(".notice button").first.click()
    expect(tiles(gallery).first).to_have_attribute("data-id", str(first))
    tiles(gallery).first.locator("a").focus()
    gallery.keyboard.press("Control+z")
    expect(tiles(gallery).nth(1)).to_have_attribute("data-id", str(second))
    expect(gallery.locator(f"[data-id='{first}'], [data-id='{second}']")).to_have_count(2)


def test_many_are_changed_with_one_sentence(gallery: sync_api.Page) -> None:
    small_parts(gallery)
    tiles(gallery).nth(0).locator(".tile-check").click()
    tiles(gallery).nth(4).locator("a").click(modifiers=["Shift"])
    gallery.click("#selection button[value='rate:2']")
    expect(gallery.locator(".notice")).to_have_text(["5 pictures were changed."])


def test_filters_that_were_set_are_counted_and_can_be_cleared_and_a_wrong_value_is_not_searched(gallery: sync_api.Page) -> None:
    expect(gallery.locator("#clear-filters")).to_be_hidden()
    gallery.click("#filters summary")
    gallery.select_option("[name=tag]", "many")
    expect(gallery.locator("#filter-count")).to_have_text("1")
    gallery.fill("[name=match]", "800")
    gallery.wait_for_function("() => document.activeElement.matches('[name=match]:invalid')")
    gallery.wait_for_timeout(500)
    assert gallery.url.endswith("?tag=many")
    gallery.click("#clear-filters")
    gallery.wait_for_url("**/studio/gallery/")


@pytest.mark.parametrize(("address", "opener"), [("/studio/gallery/", "#grid .tile-cell a"), ("/", "#tiles .tile")])
def test_a_picture_that_is_gone_meanwhile_is_said_to_be(
    browser: sync_api.Browser, server: LiveServer, pictures: None, address: str, opener: str
) -> None:
    context = browser.new_context(viewport=WIDE, base_url=server.url)
    page = context.new_page()
    page.goto(address)
    page.wait_for_selector(opener)
    server.client.delete(f"/api/images/{of_first(server)['id']}/")
    page.locator(opener).first.click()
    expect(page.locator(".notice-error")).to_have_text("This is not there any more.")
    context.set_offline(True)
    page.locator(opener).nth(1).click()
    expect(page.locator(".notice-error").last).to_contain_text("can't be reached")
    context.close()


def test_a_picture_opens_over_the_list_and_the_way_back_leads_to_it(gallery: sync_api.Page) -> None:
    shown = [tiles(gallery).nth(place).get_attribute("data-id") for place in range(3)]
    tiles(gallery).nth(1).locator("a").click()
    gallery.wait_for_selector(f"#lightbox[open] [data-picture='{shown[1]}']")
    assert str(shown[1]) in gallery.url
    gallery.keyboard.press("ArrowRight")
    gallery.wait_for_selector(f"#lightbox [data-picture='{shown[2]}']")
    gallery.keyboard.press("ArrowLeft")
    gallery.keyboard.press("ArrowLeft")
    gallery.wait_for_selector(f"#lightbox [data-picture='{shown[0]}']")
    gallery.go_back()
    expect(gallery.locator("#lightbox")).not_to_have_attribute("open", "")
    assert gallery.url.endswith("/studio/gallery/")
    assert gallery.evaluate("document.activeElement.closest('.tile-cell')?.dataset.id") == shown[0]


def test_the_next_picture_is_the_next_of_the_search(gallery: sync_api.Page) -> None:
    gallery.fill("#search", "hills")
    gallery.wait_for_url("**?q=hills")
    gallery.select_option("[name=order]", "oldest")
    gallery.wait_for_url("**order=oldest**")
    expect(state(gallery)).to_contain_text("All ")
    first, second = (tiles(gallery).nth(place).get_attribute("data-id") for place in range(2))
    tiles(gallery).first.locator("a").click()
    gallery.wait_for_selector(f"#lightbox [data-picture='{first}']")
    gallery.keyboard.press("ArrowRight")
    gallery.wait_for_selector(f"#lightbox [data-picture='{second}']")


def test_a_picture_is_judged_in_the_lightbox_and_the_list_knows(gallery: sync_api.Page) -> None:
    tiles(gallery).first.locator("a").click()
    gallery.wait_for_selector("#lightbox[open] .judgement")
    gallery.keyboard.press("5")
    expect(gallery.locator("#lightbox .star.lit")).to_have_count(5)
    gallery.keyboard.press("Escape")
    expect(tiles(gallery).first.locator(".tile-rating")).to_have_text("5")


def test_a_picture_is_enlarged_to_its_actual_size_and_dragged(gallery: sync_api.Page) -> None:
    tiles(gallery).first.locator("a").click()
    gallery.wait_for_selector("#lightbox[open] .viewer-scale:not(:empty)")
    gallery.keyboard.press("z")
    expect(gallery.locator(".viewer-scale")).to_have_text("100 %")
    width = gallery.evaluate("document.querySelector('#lightbox .viewer img').getBoundingClientRect().width")
    assert width == pytest.approx(64, abs=1)
    gallery.keyboard.press("0")
    frame = gallery.locator("#lightbox .picture-frame")
    frame.hover()
    for _ in range(4):
        gallery.mouse.wheel(0, -400)
    expect(frame).to_have_class(re.compile("enlarged"))
    before = gallery.locator("#lightbox .viewer img").get_attribute("style")
    gallery.mouse.down()
    gallery.mouse.move(300, 300)
    gallery.mouse.up()
    assert gallery.locator("#lightbox .viewer img").get_attribute("style") != before
    assert gallery.locator("#lightbox[open]").count() == 1


def test_what_is_copied_is_what_made_it(gallery: sync_api.Page) -> None:
    gallery.context.grant_permissions(["clipboard-read", "clipboard-write"])
    gallery.fill("#search", "seed:4711")
    expect(tiles(gallery)).to_have_count(1)
    tiles(gallery).first.locator("a").click()
    gallery.wait_for_selector("#lightbox[open]")
    clipboard = "navigator.clipboard.readText()"
    gallery.click("#lightbox >> text=Copy prompt")
    gallery.wait_for_function(f"async () => await {clipboard} === 'a lonely tower'")
    gallery.click("#lightbox >> text=Copy seed")
    gallery.wait_for_function(f"async () => await {clipboard} === '4711'")
    gallery.click("#lightbox summary:has-text('JSON')")
    gallery.click("#lightbox .snippet-box:visible >> text=Copy")
    gallery.wait_for_function(f"async () => (await {clipboard}).startsWith('{{')")
    body = json.loads(gallery.evaluate(clipboard))
    assert (body["prompt"], body["seed"], body["steps"]) == ("a lonely tower", 4711, 2)


def test_a_file_of_ours_and_one_of_a1111_fill_in_the_form(gallery: sync_api.Page, server: LiveServer, tmp_path: Path) -> None:
    image = of_first(server, "&seed=4711")
    data = server.client.get(f"/api/images/{image['id']}/file/").content
    drop(gallery, data, "image/png")
    gallery.wait_for_url(re.compile(r"/$"))
    expect(gallery.locator("#prompt")).to_have_value("a lonely tower")
    assert gallery.input_value("[name=seed]") == "4711"
    drop(gallery, a1111_png(tmp_path), "image/png")
    expect(gallery.locator("#prompt")).to_have_value("an old boat")
    expect(gallery.locator(".form-notes")).to_contain_text("nowhereModel")
    assert gallery.input_value("[name=steps]") == "12"


def test_a_file_without_parameters_and_one_that_is_no_picture_say_so_and_lose_nothing(
    page: sync_api.Page, tmp_path: Path
) -> None:
    page.goto("/")
    page.fill("#prompt", "what I typed")
    drop(page, b"hello", "text/plain")
    expect(page.locator(".notice-error")).to_contain_text("no picture")
    assert page.input_value("#prompt") == "what I typed"


def a1111_png(folder: Path) -> bytes:
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text(
        "parameters", "an old boat\nSteps: 12, Sampler: Euler a, CFG scale: 5, Seed: 99, Size: 64x64, Model: nowhereModel"
    )
    Image.new("RGB", (64, 64)).save(folder / "theirs.png", pnginfo=info)
    return (folder / "theirs.png").read_bytes()


def test_a_server_that_is_away_is_said_and_nothing_is_lost(
    browser: sync_api.Browser, server: LiveServer, pictures: None
) -> None:
    context = browser.new_context(viewport=WIDE, base_url=server.url)
    page = context.new_page()
    page.goto("/studio/gallery/")
    page.wait_for_selector("#grid .tile canvas")
    count = page.locator("#grid .tile-cell").count()
    context.set_offline(True)
    page.fill("#search", "tower")
    expect(state(page)).to_contain_text("can't be reached")
    assert page.locator("#grid .tile-cell").count() == count
    tiles(page).first.locator("a").focus()
    page.keyboard.press("3")
    expect(page.locator(".notice-error")).to_contain_text("Nothing was changed")
    context.set_offline(False)
    page.click("#gallery-state button")
    expect(tiles(page)).to_have_count(1)
    context.close()


def test_the_gallery_works_without_scripts(browser: sync_api.Browser, server: LiveServer, pictures: None) -> None:
    context = browser.new_context(base_url=server.url, java_script_enabled=False)
    page = context.new_page()
    page.goto("/studio/gallery/")
    page.fill("#search", "hills")
    page.click("text=Search")
    page.check("#grid .tile-check input >> nth=0")
    page.click("#selection button[value='rate:2']")
    page.wait_for_selector(".message:has-text('1 picture was changed.')")
    page.click("text=More pictures")
    assert page.locator(".tile-cell").count() >= 5
    context.close()


def test_on_a_phone_the_next_picture_is_in_reach_without_scrolling(
    browser: sync_api.Browser, server: LiveServer, pictures: None
) -> None:
    context = browser.new_context(viewport=NARROW, base_url=server.url, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto("/studio/gallery/")
    page.wait_for_selector("#grid .tile canvas")
    shown = [tiles(page).nth(place).get_attribute("data-id") for place in range(2)]
    tiles(page).first.locator("a").tap()
    page.wait_for_selector("#lightbox[open] .picture")
    expect(page.locator("#lightbox a[rel=next]")).to_be_in_viewport(ratio=1)
    page.locator("#lightbox a[rel=next]").tap()
    page.wait_for_selector(f"#lightbox [data-picture='{shown[1]}']")
    context.close()


@EACH_SCREEN
def test_every_state_of_the_gallery_fits_its_screen(
    browser: sync_api.Browser, server: LiveServer, pictures: None, viewport: sync_api.ViewportSize, colours: str
) -> None:
    context = browser.new_context(viewport=viewport, color_scheme=colours, base_url=server.url)  # type: ignore[arg-type]
    page = context.new_page()
    image = of_first(server)["id"]
    for name, address in (
        ("full", ""),
        ("empty", "?q=nothing"),
        ("filters", "?from=x&tag=many"),
        ("picture", f"../images/{image}/"),
    ):
        page.goto(f"/studio/gallery/{address}")
        page.wait_for_timeout(300)
        if name == "full":
            page.locator(".tile-check").first.click(force=True)
            page.wait_for_timeout(300)
        assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"], name
        keep_screenshot(page, f"gallery-{name}-{viewport['width']}-{colours}")
    context.close()
