"""Chats in a real browser: what is asked, what is written meanwhile, what breaks off, and what comes back."""

import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw
from playwright import sync_api
from playwright.sync_api import expect

from tests.live import LiveServer
from tests.studio.browsers import EACH_SCREEN, MARKS, NARROW, WIDE, drop, keep_screenshot
from tests.studio.chat_server import MODEL, ScriptedChat

pytestmark = MARKS
LONG = "A lake 🍕 under the **sky**, told slowly, and then more of it.\n\n```py\nprint('a < b')\n```\n\nThe end."
HOSTILE = (
    '<img src=x onerror="document.title=1"> ![x](https://evil.example/x.png) [a](javascript:alert(1)) [ok](https://ok.example/)'
)


@pytest.fixture(scope="module")
def model() -> Iterator[ScriptedChat]:
    model = ScriptedChat()
    yield model
    model.shutdown()
    model.server_close()


@pytest.fixture(scope="module")
def chat_server(tmp_path_factory: pytest.TempPathFactory, model: ScriptedChat) -> Iterator[LiveServer]:
    settings = {"CHAT_REMOTE_URL": model.url, "CHAT_REMOTE_MODELS": MODEL, "DATABASE_URL": "", "DEVICE": "cpu"}
    with LiveServer(tmp_path_factory.mktemp("chats"), **settings) as live:
        warm_up(live)
        yield live


def warm_up(live: LiveServer) -> None:
    """The first chat of a new worker may wait for what that imports longer than a page's test does."""
    live.wait_until(lambda: live.answers("/api/ready/"), "a worker is ready")
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Hello?"}]}
    assert live.client.post("/v1/chat/completions", json=body).status_code == 200


@pytest.fixture
def server(chat_server: LiveServer, model: ScriptedChat) -> Iterator[LiveServer]:
    """In the place of the one that makes pictures; see `page` in conftest.py."""
    model.answer = "Hello."
    model.held.set()
    yield chat_server
    model.held.set()


def red_circle(folder: Path) -> Path:
    image = Image.new("RGB", (256, 256), "white")
    ImageDraw.Draw(image).ellipse((80, 80, 180, 180), fill="red")
    image.save(folder / "circle.png")
    return folder / "circle.png"


def begin(page: sync_api.Page, text: str, model: str = MODEL) -> None:
    page.select_option("#chat-model", model)
    page.fill("#prompt", text)
    page.keyboard.press("Enter")
    expect(page.locator(".question", has_text=text).last).to_be_visible()


def answers(page: sync_api.Page) -> sync_api.Locator:
    return page.locator(".answer .markdown")


def test_it_talks_about_pictures_that_are_uploaded_dropped_and_chosen(
    page: sync_api.Page, server: LiveServer, tmp_path: Path
) -> None:
    """With the built-in model, as it comes."""
    picture = red_circle(tmp_path)
    made = server.client.post("/api/txt2img/", json={"prompt": "a blue square", "seed": 1, "steps": 2}).json()
    page.goto("/studio/chat/")
    page.set_input_files("#chat-files", picture)
    expect(page.locator(".attached")).to_have_count(1)
    page.fill("#prompt", "What is in this image?")
    page.reload()  # nothing typed is lost
    expect(page.locator(".attached")).to_have_count(1)
    expect(page.locator("#prompt")).to_have_value("What is in this image?")
    page.click(".composer .go")
    expect(answers(page)).to_contain_text("red circle")
    expect(page.locator(".chat-facts")).to_have_text(
        re.compile(r"starter-vlm · \w+ · \d+ tokens read, \d+ written · [\d.,]+ tokens/s · ")
    )
    expect(page.locator(".question img")).to_have_count(1)
    expect(page.locator("#prompt")).to_have_value("")
    expect(page.locator(".attached")).to_have_count(0)
    expect(page.locator("#conversation-list [aria-current]")).to_have_text(re.compile("What is in this image"))
    drop(page, picture.read_bytes(), "image/png")
    expect(page.locator(".attached")).to_have_count(1)
    page.click("#open-picker")
    page.locator("[data-pick]").first.click()
    expect(page.locator("[data-pick][aria-pressed=true]")).to_have_count(1)
    page.keyboard.press("Escape")
    expect(page.locator(".attached")).to_have_count(2)
    page.goto(f"/studio/images/{made['result']['images'][0]['id']}/")
    page.get_by_role("link", name="Talk about it").click()
    expect(page.locator(".attached img")).to_have_count(1)


def test_a_reload_and_a_server_that_stops_in_the_middle_lose_nothing(
    browser: sync_api.Browser, server: LiveServer, model: ScriptedChat
) -> None:
    context = browser.new_context(viewport=WIDE, base_url=server.url, permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()  # Chromium reports each request to a server that is away, which the fixture's page must not have
    page.goto("/studio/chat/")
    model.answer = LONG
    model.held.clear()
    begin(page, "Tell me slowly")
    written = page.locator("[data-text]")
    expect(written).to_contain_text("A lake 🍕 under the **sky**, told slowly")
    page.fill("#prompt", "a next question")
    page.reload()
    expect(written).to_contain_text("A lake 🍕 under the **sky**, told slowly")
    assert written.text_content().count("A lake") == 1  # type: ignore[union-attr]
    expect(page.locator("#prompt")).to_have_value("a next question")
    server.stop(signal.SIGTERM)
    expect(page.locator("[data-state]")).to_have_text("The connection was lost; trying again…", timeout=20_000)
    page.locator("#prompt").press("Enter")  # it can't be sent now
    expect(page.locator(".notice-error").last).to_contain_text("can't be reached")
    expect(page.locator("#prompt")).to_have_value("a next question")
    model.held.set()
    server.start()
    expect(answers(page)).to_contain_text("The end.", timeout=90_000)
    assert answers(page).inner_text().count("A lake") == 1
    expect(answers(page).locator("strong")).to_have_text("sky")
    page.locator(".code button").click()
    assert page.evaluate("navigator.clipboard.readText()") == "print('a < b')\n"
    keep_screenshot(page, "chat-answer")
    drop(page, b"no picture", "image/png")
    expect(page.locator(".notice-error").last).to_contain_text("dropped:")
    context.close()
    warm_up(server)


def test_stop_keeps_what_was_said_and_another_try_is_a_branch(
    page: sync_api.Page, server: LiveServer, model: ScriptedChat
) -> None:
    page.goto("/studio/chat/")
    model.answer = LONG
    model.held.clear()
    begin(page, "Tell me")
    expect(page.locator("[data-text]")).to_contain_text("told slowly", timeout=25_000)
    page.click("[data-stop]")
    expect(page.locator(".chat-note", has_text="Stopped here.")).to_be_visible()
    expect(answers(page)).to_contain_text("A lake 🍕 under the sky, told slowly")
    model.held.set()
    model.answer = "Short."
    page.get_by_role("button", name="Another answer").click()
    expect(answers(page)).to_have_text("Short.")
    expect(page.locator(".branches span")).to_have_text("2/2")
    page.locator(".edit summary").click()
    page.locator(".edit textarea").fill("Tell me less")
    page.reload()  # an edit is a draft, too
    expect(page.locator(".edit textarea")).to_have_value("Tell me less")
    model.answer = "Less."
    page.locator(".edit textarea").press("Enter")
    expect(answers(page)).to_have_text("Less.")
    expect(page.locator(".branches span")).to_have_text("3/3")
    begin(page, "And on")
    expect(answers(page)).to_have_count(2)
    page.get_by_role("button", name="Earlier branch").click()
    expect(answers(page)).to_have_text(["Short."])
    page.get_by_role("button", name="Later branch").click()
    expect(answers(page)).to_have_text(["Less.", "Less."])
    page.reload()
    expect(answers(page)).to_have_text(["Less.", "Less."])


def test_a_hostile_answer_does_nothing_and_becomes_a_prompt_as_it_is_read(
    page: sync_api.Page, server: LiveServer, model: ScriptedChat
) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    model.answer = HOSTILE
    page.goto("/studio/chat/")
    begin(page, "<b>Attack</b>")
    expect(answers(page)).to_contain_text("onerror")
    assert page.evaluate("document.querySelectorAll('.thread img, .thread script, .question b').length") == 0
    links = page.locator(".markdown a").evaluate_all("all => all.map((one) => [one.getAttribute('href'), one.rel])")
    assert links == [[href, "noopener noreferrer nofollow"] for href in ("https://evil.example/x.png", "https://ok.example/")]
    assert [url for url in asked if not url.startswith((server.url, "data:"))] == []
    page.locator(".markdown a", has_text="ok").evaluate("link => getSelection().selectAllChildren(link)")
    page.get_by_role("link", name="Make this").click()
    expect(page.locator("#prompt")).to_have_value("ok")
    page.go_back()
    page.evaluate("getSelection().removeAllRanges()")
    page.get_by_role("link", name="Make this").click()
    expect(page.locator("#prompt")).to_have_value(HOSTILE)


def test_conversations_are_searched_renamed_and_deleted_with_undo(page: sync_api.Page, server: LiveServer) -> None:
    page.goto("/studio/chat/")
    begin(page, "about zebras")
    expect(answers(page)).to_have_count(1)
    page.fill("#search", "zebras")
    rows = page.locator("[data-conversation]:visible")
    expect(rows).to_have_count(1)
    page.locator(".chat-rename summary").click()
    page.fill("#title", "Stripes")
    page.keyboard.press("Enter")
    expect(page.locator(".chat-head h1")).to_have_text("Stripes")
    expect(rows).to_contain_text("Stripes")
    page.locator(".chat-head").get_by_role("button", name="Delete").click()
    expect(page.locator("#chat-deleted")).to_be_visible()
    expect(rows).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    expect(answers(page)).to_be_visible()
    expect(rows).to_have_count(1)
    page.locator(".chat-head").get_by_role("button", name="Delete").click()
    page.goto("/studio/chat/?q=zebras")  # who leaves has deleted it
    server.wait_until(lambda: not kept(server, "zebras"), "the conversation is gone")
    page.reload()
    expect(page.locator("[data-conversation]")).to_have_count(0)


def kept(server: LiveServer, words: str) -> list[dict[str, Any]]:
    return server.client.get("/api/conversations/", params={"q": words}).json()["results"]  # type: ignore[no-any-return]


def test_a_failure_says_why_and_is_tried_again(page: sync_api.Page, server: LiveServer, model: ScriptedChat) -> None:
    page.goto("/studio/chat/")
    page.locator(".composer .more summary").click()
    page.fill("[name=max_tokens]", "5")
    page.fill("[name=temperature]", "0.5")
    page.fill("[name=system]", "Be brief.")
    model.answer = ""
    begin(page, "Fail")
    expect(page.locator(".failed")).not_to_be_empty()
    model.answer = "Well."
    page.get_by_role("button", name="Try again").click()
    expect(answers(page)).to_have_text("Well.")
    body = model.requests[-1]
    assert [one["role"] for one in body["messages"]] == ["system", "user"]
    assert (body["temperature"], body.get("max_completion_tokens", body.get("max_tokens"))) == (0.5, 5)


def test_it_is_read_and_written_without_scripts(browser: sync_api.Browser, server: LiveServer, tmp_path: Path) -> None:
    context = browser.new_context(java_script_enabled=False, base_url=server.url, viewport=NARROW)
    page = context.new_page()
    page.goto("/studio/chat/")
    page.set_input_files("#chat-files", red_circle(tmp_path))
    page.fill("#prompt", "What color is it?")
    page.get_by_role("button", name="Send").click()
    expect(answers(page)).to_have_text("Red.", timeout=20_000)  # it loads itself again until then
    page.locator(".edit summary").click()
    page.locator(".edit textarea").fill("What shape is this?")
    page.get_by_role("button", name="Ask this instead").click()
    expect(answers(page)).to_have_text("A circle.", timeout=20_000)
    page.get_by_role("button", name="Earlier branch").click()
    expect(answers(page)).to_have_text("Red.")
    page.get_by_role("link", name="☰ Conversations").click()
    expect(page.locator("#conversation-list a").first).to_be_visible()
    context.close()


@EACH_SCREEN
def test_every_state_fits_its_screen(
    browser: sync_api.Browser,
    server: LiveServer,
    model: ScriptedChat,
    tmp_path: Path,
    viewport: sync_api.ViewportSize,
    colours: str,
) -> None:
    context = browser.new_context(viewport=viewport, color_scheme=colours, base_url=server.url, has_touch=viewport == NARROW)  # type: ignore[arg-type]
    page = context.new_page()
    picture = red_circle(tmp_path)

    def fits(state: str) -> None:
        assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"], state
        keep_screenshot(page, f"chat-{state}-{viewport['width']}-{colours}")

    page.goto("/studio/chat/")
    fits("new")
    page.set_input_files("#chat-files", [picture, picture])
    expect(page.locator(".attached")).to_have_count(1)
    model.answer = LONG + "\n\n| a | b |\n|---|---|\n| " + "wide " * 40 + " | 2 |\n\n- one\n- two\n\n> said\n\n" + "x" * 300
    model.held.clear()
    page.select_option("#chat-model", MODEL)
    page.fill("#prompt", "A question that is long enough to need more than one line on a phone, with " + "y" * 120)
    page.get_by_role("button", name="Send").click()
    expect(page.locator("[data-text]")).to_contain_text("The end.")
    fits("writing")
    model.held.set()
    expect(answers(page)).to_be_visible()
    page.get_by_role("button", name="Another answer").click()
    expect(page.locator(".branches span")).to_have_text("2/2")
    page.locator(".edit summary").click()
    page.locator(".composer .more summary").click()
    fits("full")
    context.close()
