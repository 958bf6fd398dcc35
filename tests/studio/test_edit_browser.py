"""The page that edits pictures, in a real browser: painted with mouse, fingers and keys, its frame, its results, what a reload keeps."""

import base64
import io
import re
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image
from playwright import sync_api
from playwright.sync_api import expect

from tests.live import LiveServer
from tests.studio.browsers import MARKS, NARROW, drop, keep_screenshot

pytestmark = MARKS
SIDE = 64
"""Of the pictures that the tiny model makes."""


@pytest.fixture
def picture(server: LiveServer) -> str:
    """The id of one that was made."""
    made = server.client.post("/api/txt2img/", json={"prompt": "a red door", "steps": 1}).json()
    return str(made["result"]["images"][0]["id"])


@pytest.fixture
def edit(page: sync_api.Page, picture: str) -> sync_api.Page:
    open_edit(page, f"?image={picture}")
    return page


def open_edit(page: sync_api.Page, query: str) -> None:
    page.goto(f"/studio/edit/{query}")
    expect(page.locator("#easel-view")).to_have_attribute("style", re.compile("--scale"))


def place(page: sync_api.Page, x: float, y: float) -> tuple[float, float]:
    """On the screen, of a pixel of the picture."""
    box = page.locator("#easel-image").bounding_box()
    assert box is not None
    return box["x"] + box["width"] * x / SIDE, box["y"] + box["height"] * y / SIDE


def stroke(page: sync_api.Page, *points: tuple[float, float]) -> None:
    page.mouse.move(*place(page, *points[0]))
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*place(page, *point), steps=5)
    page.mouse.up()


def painted(page: sync_api.Page) -> Image.Image:
    """What the canvas has, as its alpha."""
    url = page.evaluate("document.getElementById('easel-mask').toDataURL()")
    return Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).getchannel("A")


def newest(server: LiveServer, kind: str = "img2img") -> dict[str, Any]:
    return dict(server.client.get(f"/api/jobs/?kind={kind}&limit=1").json()["results"][0])


def sent_mask(server: LiveServer) -> Image.Image:
    name = newest(server)["params"]["mask"]
    return Image.open(io.BytesIO(server.client.get(f"/api/images/{name}/file/").content)).convert("L")


def repaint(page: sync_api.Page) -> None:
    before = page.locator("#stage .job").count()
    page.click("#paint")
    expect(page.locator("#stage .job")).to_have_count(before + 1)
    expect(page.locator("#stage .job").first.locator(".before-after")).to_be_visible()


# ---------------------------------------------------------------- painting


def test_what_the_mouse_paints_is_the_mask_that_is_sent(edit: sync_api.Page, server: LiveServer) -> None:
    edit.locator("#brush-size").fill("10")
    stroke(edit, (20, 20), (44, 20))
    repaint(edit)
    mask = sent_mask(server)
    assert mask.size == (SIDE, SIDE)
    assert [mask.getpixel(at) for at in ((20, 20), (32, 20), (44, 20), (32, 24))] == [255] * 4
    assert [mask.getpixel(at) for at in ((32, 30), (8, 20), (56, 20), (32, 60))] == [0] * 4
    keep_screenshot(edit, "edit-result-1280")
    stroke(edit, (32, 40), (32, 56))
    edit.keyboard.press("e")
    stroke(edit, (26, 20), (38, 20))
    mask = painted(edit)
    assert [mask.getpixel(at) for at in ((32, 20), (20, 20), (32, 50))] == [0, 255, 255]
    edit.keyboard.press("Control+z")  # the eraser's
    edit.keyboard.press("Control+z")  # the second stroke
    assert [painted(edit).getpixel(at) for at in ((32, 20), (32, 50))] == [255, 0]
    edit.keyboard.press("Control+Shift+z")
    assert painted(edit).getpixel((32, 50)) == 255
    edit.keyboard.press("i")
    assert [painted(edit).getpixel(at) for at in ((32, 20), (5, 5))] == [0, 255]
    edit.keyboard.press("Delete")
    assert painted(edit).getextrema() == (0, 0)
    repaint(edit)
    assert "mask" not in {name for name, value in newest(server)["params"].items() if value}


def test_keys_alone_paint_and_size_the_brush(edit: sync_api.Page) -> None:
    edit.locator("#brush-size").fill("8")
    edit.locator("#easel-view").focus()
    edit.keyboard.press("Space")
    edit.keyboard.press("ArrowDown")
    for _ in range(6):
        edit.keyboard.press("Shift+ArrowRight")
    mask = painted(edit)
    assert mask.getpixel((32, 32)) == 255
    assert mask.getpixel((42, 34)) == 255
    assert mask.getpixel((42, 46)) == 0
    edit.keyboard.press("]")
    assert int(edit.input_value("#brush-size")) > 8
    edit.keyboard.press("e")  # no page's key here
    expect(edit.locator("button[data-tool=eraser]")).to_have_attribute("aria-pressed", "true")
    assert "/studio/edit/?image=" in edit.url


def test_the_painting_survives_a_reload_a_failed_request_and_a_login(
    browser: sync_api.Browser, server: LiveServer, picture: str
) -> None:
    context = browser.new_context(base_url=server.url)  # whose console complains of the request that fails
    edit = context.new_page()
    open_edit(edit, f"?image={picture}")
    edit.locator("#brush-size").fill("12")
    stroke(edit, (16, 32), (48, 32))
    edit.fill("#prompt", "a blue door")
    edit.click("#more summary")
    edit.fill("[name=lora]", "no-such-lora")
    edit.click("#more summary")
    edit.click("#paint")
    expect(edit.locator("#error-loras")).to_contain_text("no-such-lora")  # and its part of the form opens
    assert painted(edit).getpixel((32, 32)) == 255
    edit.goto("/admin/login/")  # as an expired session would
    edit.go_back()
    edit.reload()
    expect(edit.locator("#painted-share")).to_contain_text("%")
    assert edit.input_value("#prompt") == "a blue door"
    assert [painted(edit).getpixel(at) for at in ((32, 32), (32, 50))] == [255, 0]
    edit.click("[data-do=undo]")
    assert painted(edit).getextrema() == (0, 0)
    edit.route("**/studio/edit/paint", lambda route: route.abort())
    edit.click("[data-do=redo]")
    with edit.expect_event("requestfailed"):
        edit.click("#paint")
    expect(edit.locator(".notice")).to_contain_text("can't be reached")
    assert painted(edit).getpixel((32, 32)) == 255
    context.close()


def test_a_job_s_painting_comes_back_in_another_browser(
    browser: sync_api.Browser, edit: sync_api.Page, server: LiveServer
) -> None:
    edit.locator("#brush-size").fill("14")
    stroke(edit, (40, 40), (52, 52))
    repaint(edit)
    context = browser.new_context(viewport=NARROW, base_url=server.url)
    phone = context.new_page()
    open_edit(phone, f"?job={newest(server)['id']}")
    expect(phone.locator("#painted-share")).to_contain_text("%")
    assert [painted(phone).getpixel(at) for at in ((46, 46), (10, 10))] == [255, 0]
    expect(phone.locator("#stage .before-after").first).to_be_visible()  # what was made from it
    context.close()


# ---------------------------------------------------------------- fingers


@pytest.fixture
def phone(browser: sync_api.Browser, server: LiveServer, picture: str) -> Iterator[sync_api.Page]:
    context = browser.new_context(viewport=NARROW, has_touch=True, is_mobile=True, base_url=server.url)
    page = context.new_page()
    open_edit(page, f"?image={picture}")
    yield page
    context.close()


def test_a_finger_paints_and_two_fingers_zoom(phone: sync_api.Page) -> None:
    session = phone.context.new_cdp_session(phone)

    def touch(kind: str, *points: tuple[float, float]) -> None:
        fingers = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": fingers})

    phone.locator("#easel-view").scroll_into_view_if_needed()
    phone.locator("#brush-size").fill("10")
    touch("touchStart", place(phone, 20, 40))
    touch("touchMove", place(phone, 40, 40))
    touch("touchEnd")
    assert painted(phone).getpixel((30, 40)) == 255
    width = phone.locator("#easel-image").bounding_box()["width"]  # type: ignore[index]
    (x, y), (x2, y2) = place(phone, 24, 24), place(phone, 40, 24)
    touch("touchStart", (x, y))
    touch("touchStart", (x, y), (x2, y2))
    touch("touchMove", (x - 40, y), (x2 + 40, y2))
    touch("touchEnd")
    assert phone.locator("#easel-image").bounding_box()["width"] > 1.5 * width  # type: ignore[index]
    assert painted(phone).getpixel((24, 24)) == 0  # the first of two fingers paints nothing
    phone.click("[data-do=fit]")
    assert phone.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
    phone.evaluate("document.querySelectorAll('.edit details').forEach((one) => { one.open = true; })")
    assert phone.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
    keep_screenshot(phone, "edit-390")
    phone.set_viewport_size({"width": 320, "height": 568})  # what a page at 400 % has, by WCAG 1.4.10
    for address in ("/studio/edit/", phone.url):
        phone.goto(address)
        assert phone.evaluate("document.documentElement.scrollWidth") <= 320, address


def test_a_pen_paints_as_wide_as_it_presses(edit: sync_api.Page) -> None:
    session = edit.context.new_cdp_session(edit)
    edit.locator("#brush-size").fill("10")
    for y, force in ((16, 0.2), (44, 1.0)):
        for kind, x in (("mousePressed", 20), ("mouseMoved", 32), ("mouseMoved", 44), ("mouseReleased", 44)):
            left, top = place(edit, x, y)
            event = {"type": kind, "x": left, "y": top, "button": "left", "buttons": 1, "force": force, "pointerType": "pen"}
            session.send("Input.dispatchMouseEvent", {**event, "clickCount": 1})
    edit.keyboard.press("Control+z")
    edit.keyboard.press("Control+Shift+z")  # drawn again from what is kept of it
    mask = painted(edit)
    widths = [sum(mask.getpixel((32, row)) > 127 for row in range(*rows)) for rows in ((0, 30), (30, SIDE))]  # type: ignore[operator]
    assert widths[0] == pytest.approx(4, abs=1)
    assert widths[1] == pytest.approx(20, abs=1)


def test_a_large_picture_is_painted_on_fewer_pixels_and_the_mask_is_where_it_was_painted(
    edit: sync_api.Page, server: LiveServer
) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (8 * SIDE * 8, SIDE * 8), "teal").save(buffer, "PNG")
    sent = server.client.post("/api/images/", files={"image": ("a.png", buffer.getvalue(), "image/png")}).json()
    open_edit(edit, f"?image={sent['id']}")
    edit.locator("#brush-size").fill("200")
    stroke(edit, (SIDE * 0.25, SIDE / 2), (SIDE * 0.5, SIDE / 2))
    mask = painted(edit)
    assert mask.size == (2048, 256)
    assert [mask.getpixel((x, 128)) for x in (380, 480, 1000, 1150)] == [0, 255, 255, 0]
    size = edit.evaluate("""async () => {
      const { Painting } = await import("/static/studio/painting.js"), canvas = document.createElement("canvas");
      const painting = new Painting(canvas, 4096, 512, () => {});
      painting.begin(2000, 256, 100, false);
      painting.extend(2400, 256);
      painting.end();
      return painting.bounds();
    }""")
    assert [round(size[side], -1) for side in ("xmin", "xmax", "ymin", "ymax")] == [1950, 2450, 210, 310]


# ---------------------------------------------------------------- growing, steering, enlarging


def test_the_frame_is_dragged_and_the_picture_grows(edit: sync_api.Page, server: LiveServer) -> None:
    handle = edit.locator("[data-edge=right]").bounding_box()
    image = edit.locator("#easel-image").bounding_box()
    assert handle is not None
    assert image is not None
    x, y = handle["x"] + 10, handle["y"] + handle["height"] / 2
    edit.mouse.move(x, y)
    edit.mouse.down()
    edit.mouse.move(x + image["width"] * 0.26, y, steps=4)
    edit.mouse.up()
    assert edit.input_value("[name=right]") == "16"
    expect(edit.locator("#grown-size")).to_have_text("64 × 64 grows to 80 × 64")
    edit.click("#growing summary")
    edit.fill("[name=top]", "8")
    repaint(edit)
    params = newest(server)["params"]
    assert params["outpaint"] == {"left": 0, "right": 16, "top": 8, "bottom": 0}
    before = edit.locator(".before image").first
    places = before.evaluate("image => ['x', 'y', 'width'].map((name) => image.getAttribute(name))")
    assert places == ["0.000%", "11.111%", "80.000%"]


def test_a_map_is_shown_and_steers(edit: sync_api.Page, server: LiveServer) -> None:
    edit.click("#steering summary")
    edit.select_option("[name=control_use]", "preprocessor:canny")
    edit.click("text=Show the map")
    expect(edit.locator("#control-map .made img")).to_be_visible()
    assert newest(server, "preprocess")["params"]["kind"] == "canny"
    edit.fill("[name=control_weight]", "0.5")
    repaint(edit)
    control = newest(server)["params"]["control"][0]
    assert (control["preprocessor"], control["model_id"], control["weight"]) == ("canny", "tiny-control", 0.5)
    file = edit.locator("[name=ip_adapter_image_file]")
    file.set_input_files({"name": "a.png", "mimeType": "image/png", "buffer": png("green")})
    expect(edit.locator(".picture-input-shown img[src]")).to_be_visible()
    repaint(edit)
    assert len(newest(server)["params"]["ip_adapter"]) == 1
    keep_screenshot(edit, "edit-steered")


def test_a_result_is_enlarged_compared_and_the_next_source(edit: sync_api.Page, server: LiveServer, picture: str) -> None:
    edit.locator("[action$=upscale] select[name=model_id]").select_option("lanczos")
    edit.click("text=Enlarge >> nth=-1")
    slider = edit.locator("#stage .before-after input").first
    expect(slider).to_be_visible()
    assert newest(server, "upscale")["params"]["model_id"] == "lanczos"
    slider.focus()
    for _ in range(10):
        edit.keyboard.press("ArrowRight")
    assert edit.locator(".before-after").first.evaluate("box => box.style.getPropertyValue('--at')") == "60%"
    edit.click("text=Edit the result")
    edit.wait_for_selector("#edit[data-width='128']")
    assert edit.input_value("#prompt") == "a red door"
    made = server.client.get(f"/api/images/?source={picture}&origin=upscaled").json()["results"][0]["id"]
    assert made in edit.url


# ---------------------------------------------------------------- where pictures come from


def png(colour: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (SIDE, SIDE), colour).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_picture_is_dropped_chosen_or_refused_and_what_was_typed_goes_with_it(
    page: sync_api.Page, server: LiveServer
) -> None:
    page.goto("/studio/edit/")
    drop(page, b"rubbish", "text/plain")
    expect(page.locator(".notice")).to_contain_text("This is no picture")
    page.locator("[data-drop-here]").set_input_files({"name": "a.png", "mimeType": "image/png", "buffer": png("olive")})
    page.wait_for_selector("#edit")
    page.fill("#prompt", "an olive grove")
    drop(page, png("navy"), "image/png")
    page.wait_for_url(lambda url, before=page.url: url != before)
    page.wait_for_selector("#edit")
    expect(page.locator("#prompt")).to_have_value("an olive grove")
    page.reload()
    assert page.locator("#easel-image").evaluate("image => image.naturalWidth") == SIDE
    page.goto("/studio/gallery/")
    page.locator("#grid .tile").first.click()
    page.locator(".actions a", has_text="Edit").click()
    page.wait_for_selector("#edit")


def test_a_running_edit_is_found_again_and_cancelled(page: sync_api.Page, server: LiveServer, picture: str) -> None:
    body = {"prompt": "slowly", "steps": 150, "num_images": 16, "image": picture, "strength": 1}
    job = server.client.post("/api/img2img/", json=body, headers={"Prefer": "respond-async"}).json()["id"]
    open_edit(page, f"?image={picture}")
    expect(page.locator(f"#job-{job} .job-word")).to_contain_text("Step", timeout=30_000)
    page.reload()
    page.locator(f"#job-{job} button").click()
    expect(page.locator(f"#job-{job}")).to_contain_text("Cancelled", timeout=20_000)
