import os
from collections.abc import Iterator

import pytest
from django.core.cache import cache
from django.test import Client
from playwright import sync_api

from api.access.services import create_key
from tests.images.conftest import tiny_catalog_file  # noqa: F401  (a fixture)
from tests.live import LiveServer
from tests.studio.browsers import ARGUMENTS, CHROMIUM, PASSWORD, WIDE

OUTSIDE = "192.0.2.7"


@pytest.fixture(autouse=True)
def nothing_cached() -> None:
    cache.clear()


@pytest.fixture
def here(db: None) -> Client:
    """A browser on the server's own machine, where no key was made: open."""
    return Client()


@pytest.fixture
def stranger(db: None) -> Client:
    """A browser on another machine, of a server that has a key."""
    create_key(name="somebody's")
    return Client(REMOTE_ADDR=OUTSIDE)


@pytest.fixture
def person(stranger: Client, admin_user: object) -> Client:
    """The same browser, once its person has logged in as staff."""
    stranger.force_login(admin_user)
    return stranger


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, tiny_catalog_file: str) -> Iterator[LiveServer]:  # noqa: F811
    folder = tmp_path_factory.mktemp("studio")
    environment = {"DJANGO_SUPERUSER_PASSWORD": PASSWORD, "CATALOG_EXTRA": tiny_catalog_file}
    with LiveServer(folder, DEFAULT_IMAGE_MODEL="tiny", DATABASE_URL="", **environment) as live:
        live.manage("createsuperuser", "--noinput", "--username", "owner", "--email", "owner@example.org")
        live.wait_until(lambda: live.answers("/api/ready/"), "a worker is ready")
        live.client.post("/api/txt2img/", json={"prompt": "the first picture", "seed": 1})
        yield live


@pytest.fixture(scope="module")  # Django's database can't be used where its event loop runs
def browser() -> Iterator[sync_api.Browser]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: sync_api.Browser, server: LiveServer) -> Iterator[sync_api.Page]:
    """A page whose console must stay silent."""
    context = browser.new_context(viewport=WIDE, base_url=server.url)
    page = context.new_page()
    page.set_default_timeout(float(os.environ.get("PAGE_TIMEOUT", 60)) * 1000)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    context.close()
    assert complaints == []
