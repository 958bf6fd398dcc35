import pytest
from django.contrib.auth.models import Permission, User
from django.core.cache import cache
from django.test import Client


@pytest.fixture(autouse=True)
def nothing_cached() -> None:
    cache.clear()


@pytest.fixture
def staff(admin_client: Client) -> Client:
    """A person who may do everything."""
    return admin_client


@pytest.fixture
def onlooker(db: None) -> Client:
    """A person who may look at jobs, and nothing else."""
    user = User.objects.create_user("onlooker", password="a password", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_job"))
    client = Client()
    client.force_login(user)
    return client
