import pytest
from django.core.cache import cache
from django.test import Client

from api.access.services import create_key

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
