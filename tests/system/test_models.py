"""The list of models."""

from collections.abc import Callable
from pathlib import Path

import pytest
from django.test import Client

from api.jobs.models import Worker
from tests.system.conftest import listed_model

pytestmark = pytest.mark.django_db
FIELDS = {
    "id", "name", "task", "family", "source", "licence", "gated", "default_size", "default_steps", "default_guidance_scale",
    "scheduler", "storage", "parameters", "memory", "available", "loaded", "note", "adapters", "kind", "size", "file_name", "path",
    "usable", "reason", "precision", "few_step", "trigger_words", "hashes", "preview_url",
}  # fmt: skip


def test_the_list_is_a_bare_array_with_all_that_a_client_needs(client: Client) -> None:
    models = client.get("/api/models/").json()
    assert isinstance(models, list)
    assert all(set(model) == FIELDS for model in models)
    assert {"starter", "stable-diffusion-v1-5", "sdxl-base-1.0", "openjourney-v4"} <= {model["id"] for model in models}


def test_a_default_size_is_a_number_of_pixels(client: Client) -> None:
    assert listed_model(client, "sdxl-base-1.0")["default_size"] == 1024


def test_a_model_that_must_be_fetched_first_is_not_available(client: Client, own_catalog: Path) -> None:
    assert listed_model(client, "stable-diffusion-v1-5")["available"] is False
    assert listed_model(client, "gone")["available"] is False


def test_a_model_whose_weights_are_here_is_available(client: Client, own_catalog: Path) -> None:
    assert listed_model(client, "tiny/one")["available"] is True


def test_the_starter_is_available_from_the_first_minute_and_says_what_it_is(client: Client, own_catalog: Path) -> None:
    starter = listed_model(client, "starter")
    assert (starter["available"], starter["source"]) == (True, "built-in")


def test_a_gated_model_says_so(client: Client) -> None:
    assert listed_model(client, "flux.1-schnell")["gated"] is True


def test_a_model_names_the_adapters_that_fit_it(client: Client, own_catalog: Path) -> None:
    assert "bold" in listed_model(client, "tiny/one")["adapters"]


def test_a_model_in_a_workers_memory_is_loaded(client: Client, make_worker: Callable[..., Worker]) -> None:
    make_worker()
    assert listed_model(client, "starter")["loaded"] is True
    assert listed_model(client, "sd-turbo")["loaded"] is False
