"""The page that makes pictures in a real browser: what it keeps, what it finds again, and what it says when something fails."""

import re

from playwright import sync_api
from playwright.sync_api import expect

from tests.live import LiveServer
from tests.studio.browsers import EACH_SCREEN, MARKS, keep_screenshot

pytestmark = MARKS
SLOW = {"prompt": "slowly", "steps": 150, "num_images": 16}
ASYNC = {"Prefer": "respond-async"}


def begin(server: LiveServer, **body: object) -> str:
    return str(server.client.post("/api/txt2img/", json={**SLOW, **body}, headers=ASYNC).json()["id"])


def cancel(server: LiveServer, *jobs: str) -> None:
    for job in jobs:
        server.client.post(f"/api/jobs/{job}/cancel/")
        server.wait_until(lambda job=job: server.client.get(f"/api/jobs/{job}/").json()["finished_at"], "it has ended")


def newest(server: LiveServer) -> dict:
    return server.client.get("/api/jobs/?kind=txt2img&limit=1").json()["results"][0]


def test_running_jobs_are_found_again_after_a_reload_and_in_another_tab(page: sync_api.Page, server: LiveServer) -> None:
    jobs = [begin(server, prompt=f"slowly {number}") for number in range(4)]
    for tab in (page, page.context.new_page()):
        tab.goto("/")
        for job in jobs:
            expect(tab.locator(f"#job-{job}")).to_be_visible()
        expect(tab.locator(".job-word", has_text=re.compile(r"Step \d+ of 2400 · about .+ left")).first).to_be_visible(
            timeout=30_000
        )
        assert tab.locator("[sse-connect]").count() <= 2
    page.reload()
    page.locator(f"#job-{jobs[0]} button").click()
    expect(page.locator(f"#job-{jobs[0]}")).to_contain_text("Cancelled", timeout=20_000)
    cancel(server, *jobs)
    expect(page.locator(".job-word", has_text="Cancelled.")).to_have_count(4, timeout=20_000)


def test_a_failure_stays_with_its_reason_until_it_is_tried_again_or_dismissed(page: sync_api.Page, server: LiveServer) -> None:
    server.manage("shell", "-c", MAKE_FAILURES)
    page.goto("/")
    page.reload()
    first, second = page.locator(".job", has_text="a failed one"), page.locator(".job", has_text="a hopeless one")
    expect(first.locator(".failed")).to_have_text("The memory was not enough.")
    keep_screenshot(page, "make-failed")
    first.get_by_role("button", name="Try again").click()
    expect(page.locator(".made img").first).to_be_visible()
    second.get_by_role("link", name="Change it").click()
    expect(page.locator("#prompt")).to_have_value("a hopeless one")
    second.get_by_role("button", name="Dismiss").click()
    expect(second).to_have_count(0)
    page.reload()
    expect(page.locator(".failed")).to_have_count(0)


MAKE_FAILURES = """
from api.jobs.models import Job
from django.utils import timezone
from tests.rows import PARAMS
for prompt in ("a hopeless one", "a failed one"):
    Job.objects.create(kind="txt2img", status="failed", model_id="tiny", owner_key="local", prompt=prompt,
        params={**PARAMS, "prompt": prompt, "model_id": "tiny", "width": 64, "height": 64, "prompt_syntax": "compel"},
        error={"code": "out_of_memory", "status": 507, "detail": "The memory was not enough."},
        started_at=timezone.now(), finished_at=timezone.now())
"""


def test_shapes_sliders_and_the_seed(page: sync_api.Page, server: LiveServer) -> None:
    page.goto("/")
    page.fill("#prompt", "a boat")
    page.click("#more summary")
    page.click("[data-shape='16:9']")
    assert (page.input_value("[name=width]"), page.input_value("[name=height]")) == ("88", "64")
    expect(page.locator("[data-shape='16:9']")).to_have_attribute("aria-pressed", "true")
    page.locator("[data-field=steps] [type=range]").fill("4")
    assert page.input_value("[name=steps]") == "4"
    page.fill("[name=steps]", "3")
    assert page.input_value("[data-field=steps] [type=range]") == "3"
    page.click(".prompt-form .go")
    expect(page.locator(".made img").first).to_be_visible()
    drawn = newest(server)["params"]
    assert (drawn["width"], drawn["height"], drawn["steps"]) == (88, 64, 3)
    page.click("#seed-lock")  # keeps the last one
    assert page.input_value("[name=seed]") == str(drawn["seed"])
    page.click("#seed-lock")
    assert page.input_value("[name=seed]") == ""
    page.click("#seed-dice")
    assert page.input_value("[name=seed]").isdigit()


def test_loras_with_weights_tags_and_format_are_sent(page: sync_api.Page, server: LiveServer) -> None:
    page.goto("/")
    page.fill("#prompt", "a house")
    page.click("#more summary")
    page.fill("[name=lora]", "tiny-style")
    page.fill("[name=lora_weight]", "0.4")
    page.fill("[name=tags]", "one, two")
    page.select_option("[name=output_format]", "webp")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".made img").first).to_be_visible()
    params = newest(server)["params"]
    assert [(lora["id"], lora["weight"]) for lora in params["loras"]] == [("tiny-style", 0.4)]
    assert (params["tags"], params["output_format"]) == (["one", "two"], "webp")
    page.click("#add-lora")
    page.locator("[name=lora]").nth(1).fill("no-such-lora")
    page.click(".prompt-form .go")
    expect(page.locator("#error-loras")).to_contain_text("no-such-lora")
    assert page.input_value("#prompt") == "a house"


def test_earlier_prompts_and_the_count_of_tokens(page: sync_api.Page, server: LiveServer) -> None:
    server.client.post("/api/txt2img/", json={"prompt": "an earlier prompt", "steps": 1})
    page.goto("/")
    page.get_by_role("button", name="History").click()
    page.fill("#history-words", "earl")
    page.get_by_role("button", name="an earlier prompt").click()
    expect(page.locator("#prompt")).to_have_value("an earlier prompt")
    expect(page.locator("#tokens")).to_contain_text(re.compile(r"\d+ of \d+ tokens"))


def test_the_colours_are_chosen_and_stay(page: sync_api.Page) -> None:
    page.goto("/")
    page.click("#theme")
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"
    page.goto("/studio/gallery/")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.click("#theme")
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "light"
    page.click("#theme")
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme ?? ''") == ""


def test_the_keys_are_shown_and_lead_on(page: sync_api.Page) -> None:
    page.goto("/studio/gallery/")
    page.wait_for_selector("#grid .tile canvas")
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#help")).to_be_hidden()
    page.keyboard.press("m")
    page.wait_for_selector("#prompt")
    page.keyboard.type("?")
    expect(page.locator("#prompt")).to_have_value("?")
    expect(page.locator("#help")).to_be_hidden()


def test_no_request_leaves_the_server(page: sync_api.Page, server: LiveServer) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    for address in ("/", "/studio/gallery/"):
        page.goto(address)
        page.wait_for_timeout(500)
    assert len(asked) > 10
    assert [url for url in asked if not url.startswith((server.url, "data:", "blob:"))] == []


@EACH_SCREEN
def test_the_form_with_all_of_it_fits_its_screen(
    browser: sync_api.Browser, server: LiveServer, viewport: sync_api.ViewportSize, colours: str
) -> None:
    context = browser.new_context(viewport=viewport, color_scheme=colours, base_url=server.url)  # type: ignore[arg-type]
    page = context.new_page()
    job = begin(server)
    page.goto("/")
    page.fill("#prompt", "a serene lake at sunset, with a boat")
    page.click("#more summary")
    page.wait_for_timeout(1500)
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    keep_screenshot(page, f"make-more-{viewport['width']}-{colours}")
    page.keyboard.press("Escape")
    page.locator("#help-button").evaluate("button => button.click()")
    page.screenshot()
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    keep_screenshot(page, f"help-{viewport['width']}-{colours}")
    cancel(server, job)
    context.close()
