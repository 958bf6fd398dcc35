"""axe-core on every page of the studio and its main states: wide and narrow, light and dark, in both languages."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright import sync_api

from api.studio.pages import PAGES
from tests.live import LiveServer
from tests.studio.browsers import MARKS, NARROW, WIDE, keep_screenshot

pytestmark = MARKS
LOOKS: list[tuple[str, str, sync_api.ViewportSize]] = [
    ("en", "light", WIDE),
    ("vi", "dark", NARROW),
    ("vi", "light", NARROW),
    ("en", "dark", WIDE),
]
"""Pages are seen in all of them, other states in the first two: they differ in everything."""
GRAVE = ("serious", "critical")
OPEN_ALL = "document.querySelectorAll('main details').forEach((one) => { one.open = true; })"
COMMAS = """[...document.querySelectorAll('*')].flatMap((one) => [...one.attributes].map((a) => `${a.name}=${a.value}`))
    .filter((text) => /^[^=]+=-?\\d+,\\d+$/.test(text))"""
"""Numbers that a language's decimal comma has broken: no attribute has one."""


@dataclass
class Visitor:
    """A page in one look; `faults` gathers what is wrong with what it was shown."""

    page: sync_api.Page
    language: str
    look: str
    faults: list[str] = field(default_factory=list)
    seen: int = 0

    def check(self, name: str) -> None:
        page = self.page
        page.evaluate("document.getAnimations().forEach((one) => one.finish())")  # colours on their way have less contrast
        for fault in Axe().run(page).response["violations"]:
            if fault["impact"] in GRAVE:
                nodes = [
                    f"{node['html'][:160]} {node['any'][0]['message'] if node['any'] else ''}" for node in fault["nodes"][:3]
                ]
                self.faults.append(f"{name}: {fault['id']}: {nodes}")
        if page.evaluate("document.documentElement.lang") != self.language:
            self.faults.append(f"{name}: the language is not told")
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            self.faults.append(f"{name}: it is wider than the screen")
        self.faults += [f"{name}: {text}" for text in page.evaluate(COMMAS)]
        self.seen += 1
        keep_screenshot(page, f"axe-{self.look}-{self.seen}")

    def visit(self, path: str, prepare: Callable[[sync_api.Page], object] = lambda page: page.evaluate(OPEN_ALL)) -> None:
        self.page.goto(path)
        prepare(self.page)
        self.check(path)


def name_of(look: tuple[str, str, sync_api.ViewportSize]) -> str:
    return f"{look[0]}-{look[1]}-{look[2]['width']}"


@pytest.fixture
def visitor(request: pytest.FixtureRequest, browser: sync_api.Browser, server: LiveServer) -> Iterator[Visitor]:
    language, theme, size = request.param
    context = browser.new_context(
        viewport=size, base_url=server.url, locale=language, color_scheme=theme, reduced_motion="reduce"
    )
    page = context.new_page()
    page.set_default_timeout(20_000)
    found = Visitor(page, language, name_of(request.param))
    page.on("console", lambda said: said.type in ("error", "warning") and found.faults.append(f"console: {said.text}"))
    page.on("pageerror", lambda error: found.faults.append(f"script: {error}"))
    context.on("request", lambda asked: leaves(asked.url, server.url) and found.faults.append(f"request to {asked.url}"))
    yield found
    context.close()


def leaves(url: str, server: str) -> bool:
    return not url.startswith((f"{server}/", "data:", "blob:"))


def newest(server: LiveServer, what: str) -> Any:
    return server.client.get(f"/api/{what}/?limit=1").json()["results"][0]["id"]


@pytest.mark.parametrize("visitor", LOOKS, ids=name_of, indirect=True)
def test_no_page_has_a_grave_fault(visitor: Visitor) -> None:
    for page in PAGES:
        visitor.visit(page.address)
    assert visitor.faults == []


def open_picture(page: sync_api.Page) -> None:
    page.locator(".tile").first.click()
    page.wait_for_selector("#lightbox[open] .viewer-scale:not(:empty)")


def choose(page: sync_api.Page) -> None:
    page.wait_for_selector(".tile-cell input")
    page.locator(".tile-cell input").first.check(force=True)
    page.wait_for_selector("#selection.open")


def fail(page: sync_api.Page) -> None:
    page.evaluate("document.getElementById('prompt-form').noValidate = true")
    page.fill("#prompt", "a lake")
    page.evaluate(OPEN_ALL)
    page.fill("[name=width]", "100")
    page.click(".prompt-form .go")
    page.wait_for_selector("#error-width:not(:empty)")


@pytest.mark.parametrize("visitor", LOOKS[:2], ids=name_of, indirect=True)
def test_no_state_has_a_grave_fault(visitor: Visitor, server: LiveServer) -> None:
    visitor.visit("/", fail)
    visitor.visit("/", lambda page: page.evaluate("document.getElementById('help').showModal()"))
    visitor.visit("/", lambda page: page.evaluate("document.getElementById('languages').showPopover()"))
    visitor.visit("/studio/gallery/", choose)
    visitor.visit("/studio/gallery/", open_picture)
    visitor.visit("/studio/gallery/?q=nothing-has-this")
    picture = newest(server, "images")
    visitor.visit(f"/studio/images/{picture}/")
    for page in ("edit", "look", "variants"):
        visitor.visit(f"/studio/{page}/?{'again' if page == 'variants' else 'image'}={picture}")
    visitor.visit("/studio/compare/taste/")
    visitor.visit(f"/studio/jobs/{newest(server, 'jobs')}/")
    visitor.visit("/studio/nowhere/")
    assert [fault for fault in visitor.faults if "404 (Not Found)" not in fault] == []


@pytest.mark.parametrize("visitor", LOOKS[:1], ids=name_of, indirect=True)
def test_a_grave_fault_would_be_found(visitor: Visitor) -> None:
    visitor.page.goto("/")
    visitor.page.evaluate("document.querySelector('main').innerHTML = '<img src=data:,><input cx=\"1,5\">'")
    visitor.check("spoilt")
    assert {"image-alt", "label"} <= {fault.split(": ")[1] for fault in visitor.faults}
    assert "spoilt: cx=1,5" in visitor.faults
    assert leaves("https://example.com/a.css", "http://127.0.0.1:1")
