"""The field `webhook` of every request that makes a job."""

import base64
import json
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from api.access.services import create_key
from api.jobs.models import Job
from api.jobs.webhooks import NOT_ALLOWED
from tests.api.bodies import ASYNC, BODIES, FORMS, HUGGING_FACE, address, png
from tests.api.test_params_again import CASES, OTHER_WORDS

pytestmark = pytest.mark.django_db(transaction=True)
URL = "https://example.com/hook?job=1"
BOTH = {"url": URL, "events": ["started", "completed"]}


@pytest.fixture(autouse=True)
def only_public_networks(settings: Any) -> None:
    settings.WEBHOOK_ALLOW_PRIVATE = False


def post(client: Client, path: str, **fields: Any) -> Any:
    body = {**BODIES[path](), **fields}
    return client.post(address(path), body, content_type="application/json", headers=ASYNC)


@pytest.mark.parametrize(("path", "body"), CASES, ids=[path for path, _ in CASES])
def test_every_request_that_makes_a_job_takes_it(client: Client, path: str, body: Any) -> None:
    reply = post(client, path, webhook=BOTH)
    assert reply.status_code == 202, reply.content
    [job] = Job.objects.filter(parent=None)
    assert job.webhook == {**BOTH, "origin": "http://testserver"}
    assert "webhook" not in job.params
    if path.startswith("/api/"):
        assert reply.json()["webhook"] == BOTH


@pytest.mark.parametrize("path", [path for path in OTHER_WORDS if path != "/v1/responses/input_tokens"])  # a count
def test_the_bodies_of_openai_and_localai_take_it_beside_their_own_fields(client: Client, path: str) -> None:
    assert post(client, path, webhook=BOTH).status_code == 202
    assert Job.objects.get().webhook == {**BOTH, "origin": "http://testserver"}
    refused = post(client, path, webhook="nowhere").json()["error"]
    assert (refused["param"], refused["code"]) == ("webhook", "url_not_allowed")


@pytest.mark.parametrize("path", HUGGING_FACE)
def test_hugging_faces_parameters_take_it(client: Client, path: str) -> None:
    parameters = BODIES[path]().get("parameters") or {}
    assert post(client, path, parameters={**parameters, "webhook": BOTH}).status_code == 202
    assert Job.objects.get().webhook == {**BOTH, "origin": "http://testserver"}
    refused = post(client, path, parameters={**parameters, "webhook": "nowhere"}).json()
    assert refused["error"].startswith("parameters.webhook: ")


@pytest.mark.parametrize("path", FORMS)
def test_a_form_has_it_as_text(client: Client, path: str) -> None:
    body = {name: value if isinstance(value, str | int) else json.dumps(value) for name, value in BODIES[path]().items()}
    for sent in (URL, json.dumps({"url": URL})):
        reply = client.post(path, {**body, "webhook": sent}, headers=ASYNC)
        assert reply.status_code == 202, reply.content
        assert reply.json()["webhook"] == {"url": URL, "events": ["completed"]}


@pytest.mark.parametrize("path", ["/api/score/", "/score"])
def test_null_in_a_form_is_none(client: Client, path: str) -> None:
    """As in JSON; it is no URL."""
    reply = client.post(path, {"image": base64.b64encode(png()).decode(), "webhook": "null"}, headers=ASYNC)
    assert reply.status_code == 202, reply.content
    assert Job.objects.get().webhook is None


def test_a_url_alone_hears_of_the_end(client: Client) -> None:
    assert post(client, "/api/txt2img/", webhook=URL).json()["webhook"] == {"url": URL, "events": ["completed"]}


def test_a_job_without_one_says_null(client: Client) -> None:
    assert post(client, "/api/txt2img/").json()["webhook"] is None


def test_events_are_kept_once_in_their_order(client: Client) -> None:
    sent = {"url": URL, "events": ["completed", "progress", "completed"]}
    assert post(client, "/api/txt2img/", webhook=sent).json()["webhook"]["events"] == ["progress", "completed"]


@pytest.mark.parametrize(
    ("webhook", "field"),
    [
        ("", "webhook"),
        ("example.com", "webhook"),
        ("ftp://example.com/", "webhook"),
        ("http://", "webhook"),
        ("http://user:secret@example.com/", "webhook"),
        ("http://example.com:99999/", "webhook"),
        ("http://[::1", "webhook"),
        ("http://ex ample.com/", "webhook"),
        ("http://example.com/\r\nX-Y: z", "webhook"),
        ("http://exämple.com/", "webhook"),
        ("http://example.com/" + "a" * 2000, "webhook"),
        ("http://127.0.0.1/", "webhook"),
        ("http://localhost:8000/", "webhook"),
        ("http://hooks.localhost./", "webhook"),
        ("http://[::1]/", "webhook"),
        ("http://[::ffff:10.0.0.1]/", "webhook"),
        ("http://10.1.2.3/", "webhook"),
        ("http://169.254.169.254/latest", "webhook"),
        ("http://127.1/", "webhook"),
        ("http://2130706433/", "webhook"),
        ("http://0x7f000001/", "webhook"),
        ("http://example.com:0/", "webhook"),
        ("http://a..b/", "webhook"),
        ("http://.../", "webhook"),
        ("http://-a.com/", "webhook"),
        ("http://*.example.com/", "webhook"),
        ('http://"/', "webhook"),
        ("http://x\\y/", "webhook"),
        ("http://%65xample.com/", "webhook"),
        ("http://[v1.x]/", "webhook"),
        ("http://[2606:4700::1%eth0]/", "webhook"),
        (f"http://{'a' * 64}.com/", "webhook"),
        (f"http://{'a.' * 127}com/", "webhook"),
        (7, "webhook"),
        ([], "webhook"),
        ([URL], "webhook"),
        (True, "webhook"),
        ({}, "webhook.url"),
        ({"url": None}, "webhook.url"),
        ({"url": 7.5, "events": ["completed"]}, "webhook.url"),
        ({"url": "http://10.0.0.1/"}, "webhook.url"),
        ({"url": URL, "events": []}, "webhook.events"),
        ({"url": URL, "events": "completed"}, "webhook.events"),
        ({"url": URL, "events": ["ended"]}, "webhook.events.0"),
        ({"url": URL, "secret": "x"}, "webhook.secret"),
    ],
)
def test_what_is_no_receiver_is_refused_by_its_name(client: Client, webhook: object, field: str) -> None:
    reply = post(client, "/api/txt2img/", webhook=webhook)
    assert reply.status_code == 400, reply.content
    assert [error["field"] for error in reply.json()["errors"]] == [field]
    assert not Job.objects.exists()


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/", "http://localhost/", "http://192.168.1.2/", "http://[fd00::1]/"])
def test_a_private_network_is_allowed_by_a_setting(client: Client, settings: Any, url: str) -> None:
    settings.WEBHOOK_ALLOW_PRIVATE = True
    assert post(client, "/api/txt2img/", webhook=url).status_code == 202
    for never in ("169.254.169.254", "100.100.100.200", "[fd00:ec2::254]", "[fd20:ce::254]", "168.63.129.16", "0.0.0.0"):
        reply = post(client, "/api/txt2img/", webhook=f"http://{never}/")
        assert (reply.status_code, reply.json()["errors"][0]["detail"]) == (400, NOT_ALLOWED)


@pytest.mark.parametrize(
    "host", ["example.com", "example.com.", "a-b.c_d.example", "3com.net", "x", "xn--exmple-cua.com", "1.2.3.4.example"]
)
def test_a_name_that_may_exist_is_taken(client: Client, host: str) -> None:
    assert post(client, "/api/txt2img/", webhook=f"https://{host}/").status_code == 202


def test_the_same_key_with_another_webhook_is_another_request(client: Client) -> None:
    def send(**fields: Any) -> Any:
        body = {"prompt": "a", "seed": 1, **fields}
        return client.post("/api/txt2img/", body, content_type="application/json", headers={**ASYNC, "Idempotency-Key": "k"})

    first = send(webhook=URL)
    assert send(webhook={"url": URL}).json()["id"] == first.json()["id"]
    assert [send().status_code, send(webhook=BOTH).status_code] == [422, 422]


def test_it_is_said_beside_a_grids_request_and_not_in_it(client: Client) -> None:
    request = {"prompt": "a lake", "webhook": URL}
    reply = post(client, "/api/grids/", request=request)
    assert [error["field"] for error in reply.json()["errors"]] == ["request.webhook"]
    axis = {"field": "webhook", "values": [URL, BOTH]}
    assert post(client, "/api/grids/", axes=[axis]).status_code == 400


def test_a_preset_has_none(client: Client) -> None:
    reply = client.post(
        "/api/presets/", {"name": "mine", "request": {"prompt": "a", "webhook": URL}}, content_type="application/json"
    )
    assert [error["field"] for error in reply.json()["errors"]] == ["request.webhook"]


def test_a_picture_sent_as_a_file_goes_with_it(client: Client) -> None:
    form = {"prompt": "a", "image": SimpleUploadedFile("a.png", png()), "webhook": URL}
    assert client.post("/api/img2img/", form, headers=ASYNC).json()["webhook"]["url"] == URL


def test_another_key_does_not_see_it(client: Client) -> None:
    (_, mine), (_, others) = (create_key(name=name) for name in ("one", "other"))
    sent = client.post(
        "/api/txt2img/",
        {"prompt": "a", "webhook": URL},
        content_type="application/json",
        headers={**ASYNC, "Authorization": f"Bearer {mine}"},
    )
    answers = [
        client.get(f"/api/jobs/{sent.json()['id']}/", headers={"Authorization": f"Bearer {key}"}).status_code
        for key in (mine, others)
    ]
    assert answers == [200, 404]


@pytest.mark.parametrize(
    ("path", "body"), [("/generate", {"prompt": "a lake"}), ("/score", {"image": base64.b64encode(png()).decode()})]
)
def test_the_older_servers_take_it_beside_their_own_fields(client: Client, path: str, body: dict[str, Any]) -> None:
    sent = {**body, "webhook": BOTH}
    assert client.post(path, sent, content_type="application/json", headers=ASYNC).status_code == 202
    assert Job.objects.get().webhook["url"] == URL
    refused = client.post(path, {**body, "webhook": "x"}, content_type="application/json", headers=ASYNC)
    assert (refused.status_code, "webhook" in refused.json()["detail"]) == (400, True)


def test_openai_chats_name_the_field_in_their_own_form(client: Client) -> None:
    refused = post(client, "/v1/chat/completions", webhook={"url": "http://10.0.0.1/"})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "webhook.url")
