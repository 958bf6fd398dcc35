"""The log-in and the queue in a real browser, on a server that has keys."""

import json
import re
from collections.abc import Iterator

import pytest
from playwright import sync_api
from playwright.sync_api import expect

from tests.live import LiveServer
from tests.studio.browsers import MARKS, NARROW, keep_screenshot

pytestmark = MARKS
LONG = {"steps": 150, "num_images": 16, "width": 256, "height": 256}
Keys = dict[str, str]
REVOKE = (
    "from api.access.models import ApiKey; from django.utils import timezone; ApiKey.objects.update(revoked_at=timezone.now())"
)


@pytest.fixture(scope="module")
def keys(server: LiveServer) -> Iterator[Keys]:
    """The tokens of three. Without a key again, the server is open to other modules' tests."""
    scopes = {"painter": ["read", "submit"], "reader": ["read"], "chief": ["staff"]}
    made = (
        (name, server.manage("create_key", name, *(f"--scope={scope}" for scope in theirs))) for name, theirs in scopes.items()
    )
    yield {name: printed.strip().splitlines()[-1] for name, printed in made}
    server.manage("shell", "-c", REVOKE)


def log_in(page: sync_api.Page, token: str) -> None:
    page.fill("#key", token)
    page.click("text=Log in with the key")
    page.wait_for_selector(".account-name")


def ask(server: LiveServer, keys: Keys, name: str, body: dict[str, object], address: str = "/api/txt2img/") -> str:
    headers = {"Authorization": f"Bearer {keys[name]}", "Prefer": "respond-async"}
    reply = server.client.post(address, json=body, headers=headers)
    assert reply.status_code == 202, reply.text
    return str(reply.json()["id"])


def test_what_was_typed_is_there_after_a_log_in_and_only_for_the_same_person(page: sync_api.Page, keys: Keys) -> None:
    page.goto("/studio/gallery/?q=lake")
    log_in(page, keys["painter"])
    assert page.url.endswith("/studio/gallery/?q=lake")
    page.goto("/")
    page.fill("#prompt", "a lake that took long to describe")
    page.click("#more summary")
    page.fill("[name=steps]", "3")
    page.context.clear_cookies(name="sessionid")
    page.click(".prompt-form .go")
    page.wait_for_url("**/studio/login?next=%2F")
    log_in(page, keys["reader"])
    assert page.input_value("#prompt") == ""
    page.click(".account > button")
    page.click("text=Log out")
    log_in(page, keys["painter"])
    assert (page.input_value("#prompt"), page.input_value("[name=steps]")) == ("a lake that took long to describe", "3")
    page.click(".prompt-form .go")
    page.wait_for_selector(".made img")
    opened = "async (image) => { await image.decode(); return image.naturalWidth }"
    assert page.locator(".made img").evaluate(opened) == 64  # the session opens the file
    page.reload()
    assert page.input_value("#prompt") == ""
    assert page.locator(".tile img").first.evaluate(opened) > 0


def test_a_key_that_may_only_look_sees_why_nothing_can_be_sent(page: sync_api.Page, server: LiveServer, keys: Keys) -> None:
    page.goto("/")
    log_in(page, keys["reader"])
    expect(page.locator(".look-only")).to_contain_text("may only look")
    expect(page.locator(".prompt-form .go")).to_be_disabled()
    for address in ("/studio/gallery/", "/studio/queue/"):
        page.goto(address)
        expect(page.locator("main button[type=submit]:visible")).to_have_count(0)


def test_the_queue_is_renewed_under_the_hand_of_who_uses_it(page: sync_api.Page, server: LiveServer, keys: Keys) -> None:
    """By keyboard: the focus stays on the same button while the rows around it change, and the button works."""
    page.goto("/studio/queue/?whose=mine")
    log_in(page, keys["chief"])
    first, second = (ask(server, keys, "chief", {"prompt": f"the {name}", **LONG}) for name in ("first", "second"))
    other = ask(server, keys, "painter", {"prompt": "not the chief's", **LONG})
    page.wait_for_selector(f"#rows-running #cancel-{second}")
    assert page.locator(f"#row-{other}").count() == 0
    page.focus(f"#cancel-{second}")
    page.evaluate(f"document.getElementById('cancel-{second}').seen = true")
    server.client.post(f"/api/jobs/{first}/cancel/", headers={"Authorization": f"Bearer {keys['chief']}"})
    page.wait_for_selector(f"#rows-ended #row-{first}")
    expect(page.locator(f"#row-{second} .row-state")).to_contain_text("Step")
    assert page.evaluate("document.activeElement.seen && document.activeElement.id") == f"cancel-{second}"
    page.keyboard.press("Enter")
    page.wait_for_selector(f"#rows-ended #row-{second} >> text=Cancelled")
    page.select_option("[name=whose]", "")
    page.wait_for_selector(f"#row-{other} >> text=painter")
    page.reload()
    page.click(f"#cancel-{other}")
    page.wait_for_selector(f"#rows-ended #row-{other} >> text=Cancelled")
    keep_screenshot(page, "queue-wide")


def test_models_are_loaded_and_unloaded_without_the_admin(page: sync_api.Page, keys: Keys) -> None:
    page.goto("/studio/queue/?model=starter-clip")
    log_in(page, keys["chief"])
    loaded = page.locator("#queue-machines .held li", has_text="starter-clip")
    if not loaded.count():
        page.click("#command-starter-clip")
        page.wait_for_selector("#stage >> text=starter-clip is here, and in memory.")
    loaded.locator("button").click()
    page.wait_for_selector("#stage >> text=starter-clip is no longer in memory.")
    expect(loaded).to_have_count(0)
    expect(page.locator("#command-starter-clip")).to_have_text(re.compile("^Load"), timeout=25_000)


def test_a_button_that_was_renewed_a_moment_ago_keeps_the_page(page: sync_api.Page, keys: Keys) -> None:
    """htmx takes over a new form when the swap settles: a press before that would be sent by the browser, which leaves the page."""
    page.goto("/studio/queue/?model=starter-clip")
    log_in(page, keys["chief"])
    page.evaluate(
        """() => { const part = document.querySelector("#queue-models");
        const press = () => document.querySelector("#command-starter-clip").click();
        document.querySelector("#model-starter-clip form").remove();
        new MutationObserver((_, observer) => { observer.disconnect(); press() }).observe(part, { childList: true, subtree: true });
        htmx.trigger(part, "refresh") }"""
    )
    page.wait_for_selector("#stage >> text=/starter-clip is (here, and|no longer) in memory/")
    assert "/studio/queue/" in page.url


def test_on_a_phone_every_page_is_one_tap_away(browser: sync_api.Browser, server: LiveServer, keys: Keys) -> None:
    """Eight pages don't fit: their row scrolls, and begins where the current page is seen."""
    context = browser.new_context(viewport=NARROW, base_url=server.url, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto("/studio/queue/")
    log_in(page, keys["chief"])
    page.evaluate(
        """() => { const row = document.querySelector(".pages"), pages = ["Edit", "Compare", "Chat", "Look", "Judge"];
        for (const name of pages) row.prepend(Object.assign(row.firstChild.cloneNode(), { textContent: name }));
        row.querySelector("[aria-current]").scrollIntoView({ inline: "center", block: "nearest" }) }"""
    )
    targets = json.loads(
        page.evaluate(
            """() => JSON.stringify([...document.querySelectorAll(".top :is(a, button, summary)")].filter((one) => one.checkVisibility())
            .map((one) => one.getBoundingClientRect()).filter((box) => box.width).map(({ width, height }) => [width, height]))"""
        )
    )
    assert min(height for _, height in targets) >= 44
    assert min(width for width, _ in targets) >= 44
    current = page.locator(".pages [aria-current]").bounding_box()
    assert current is not None
    assert current["x"] >= 0
    assert current["x"] + current["width"] <= NARROW["width"]
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
    page.tap(".account > button")
    keep_screenshot(page, "menu-narrow")
    page.tap("text=Log out")
    page.wait_for_selector("#key")
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
    context.close()
