"""The API's own documentation."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import call_command
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from openapi_spec_validator import validate

from api.system.openapi_operations import LISTED, summary_of, tag_of

pytestmark = pytest.mark.django_db
SNAPSHOT = Path(__file__).with_name("openapi.yaml")
REFRESH = "manage.py spectacular --file tests/system/openapi.yaml"


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """As drf-spectacular makes it, any warning of it an error."""
    file = tmp_path_factory.mktemp("schema") / "openapi.yaml"
    call_command("spectacular", "--validate", "--fail-on-warn", "--file", str(file))
    return yaml.safe_load(file.read_text())


@pytest.fixture(scope="module")
def txt2img(document: dict[str, Any]) -> dict[str, Any]:
    return operation_of(document, "/api/txt2img/", "post")


def operation_of(document: dict[str, Any], path: str, method: str) -> dict[str, Any]:
    """With the shared responses and parameters that it names in their places."""
    components, operation = document["components"], document["paths"][path][method]

    def found(value: dict[str, Any]) -> dict[str, Any]:
        _, _, section, name = value["$ref"].split("/") if "$ref" in value else ("", "", "", "")
        return components[section][name] if name else value

    responses = {status: found(response) for status, response in operation["responses"].items()}
    return {**operation, "responses": responses, "parameters": [found(one) for one in operation.get("parameters", [])]}


def api_routes(patterns: list[Any], prefix: str = "/") -> set[str]:
    routes: set[str] = set()
    for pattern in patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            routes |= api_routes(pattern.url_patterns, route)
        elif isinstance(pattern, URLPattern) and route.startswith(("/api/", "/metrics", "/v1/", "/chat-server/")):
            routes.add(re.sub(r"<[^>]*>", "{}", route))
    return routes


def test_it_is_valid_openapi_3_1(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    validate(document)


def test_the_copy_in_the_repository_is_current(document: dict[str, Any]) -> None:
    assert yaml.safe_load(SNAPSHOT.read_text()) == document, f"the API has changed; if that is meant: {REFRESH}"


def test_every_address_of_the_api_is_in_it(document: dict[str, Any]) -> None:
    documented = {re.sub(r"{[^}]*}", "{}", path) for path in document["paths"]}
    assert api_routes(get_resolver().url_patterns) - documented == {"/api/schema/", "/api/docs/"}


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(method, path, one) for path, methods in document["paths"].items() for method, one in methods.items()]


def test_every_operation_has_a_short_summary(document: dict[str, Any]) -> None:
    for method, path, operation in operations(document):
        assert 8 < len(operation["summary"]) <= 60, (method, path)
        assert not operation["summary"].endswith("."), (method, path)


def test_no_two_operations_have_the_same_summary(document: dict[str, Any]) -> None:
    summaries = [operation["summary"] for _, _, operation in operations(document)]
    assert len(set(summaries)) == len(summaries)


def test_pictures_come_first_and_every_operation_has_one_of_the_tags(document: dict[str, Any]) -> None:
    names = [tag["name"] for tag in document["tags"]]
    assert names == ["images", "scoring", "vision", "chat", "assistants", "jobs", "models", "status"]
    tags = [operation["tags"] for _, _, operation in operations(document)]
    assert list(dict.fromkeys(name for one in tags for name in one)) == names
    assert list(document["paths"])[:2] == ["/api/txt2img/", "/api/img2img/"]


def test_the_table_of_contents_lists_only_operations_that_there_are(document: dict[str, Any]) -> None:
    assert set(LISTED) - {(method.upper(), path) for method, path, _ in operations(document)} == set()


def test_every_body_has_an_example(document: dict[str, Any]) -> None:
    """Swagger UI fills in the first of them; without one it makes one of types, which no server takes."""
    for method, path, operation in operations(document):
        body = operation.get("requestBody", {"content": {}})["content"].get("application/json")
        assert body is None or body["examples"], (method, path)


def test_what_is_not_listed_has_its_docstrings_first_sentence() -> None:
    assert summary_of("POST", "/api/own/", "Do one\nthing. Then another.\n\nMore.") == "Do one thing"
    assert tag_of("POST", "/api/own/") == "others"


def test_it_is_served(client: Client, document: dict[str, Any]) -> None:
    reply = client.get("/api/schema/")
    assert reply["Content-Type"] == "application/json"
    assert reply.json()["paths"].keys() == document["paths"].keys()


def test_a_capability_answers_201_or_202_with_the_job(txt2img: dict[str, Any]) -> None:
    for status in ("201", "202"):
        assert txt2img["responses"][status]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Job"}
    assert "Location" in txt2img["responses"]["202"]["headers"]


@pytest.mark.parametrize("status", ["400", "401", "403", "411", "413", "415", "422", "429", "503", "507"])
def test_a_capabilitys_refusals_are_problems(txt2img: dict[str, Any], status: str) -> None:
    problem = txt2img["responses"][status]["content"]["application/problem+json"]
    assert problem == {"schema": {"$ref": "#/components/schemas/Problem"}}


@pytest.mark.parametrize("status", ["409", "500", "503", "507"])
def test_a_failed_job_is_answered_as_a_job(txt2img: dict[str, Any], status: str) -> None:
    assert txt2img["responses"][status]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Job"}


def test_a_capabilitys_headers_and_extras_are_documented(txt2img: dict[str, Any]) -> None:
    parameters = {(parameter["in"], parameter["name"]) for parameter in txt2img["parameters"]}
    assert {("header", "Prefer"), ("header", "Idempotency-Key"), ("query", "include")} <= parameters


def test_what_names_a_thing_may_not_find_it(document: dict[str, Any]) -> None:
    for path, operations in document["paths"].items():
        for operation in operations.values():
            if path.startswith(("/v1/", "/chat-server/", "/hf/", "/mcp")):
                continue  # a model that isn't known is a 404, as in OpenAI's API; and a method, in MCP's newest version
            assert ("404" in operation["responses"]) == ("{" in path)


def test_the_event_stream_is_documented(document: dict[str, Any]) -> None:
    stream = operation_of(document, "/api/jobs/{id}/events/", "get")
    assert "text/event-stream" in stream["responses"]["200"]["content"]
    assert "Last-Event-ID" in {parameter["name"] for parameter in stream["parameters"]}


@pytest.fixture(scope="module")
def chat(document: dict[str, Any]) -> dict[str, Any]:
    return operation_of(document, "/v1/chat/completions", "post")


def test_a_chat_is_answered_whole_or_as_a_stream(chat: dict[str, Any]) -> None:
    content = chat["responses"]["200"]["content"]
    assert content["application/json"]["schema"] == {"$ref": "#/components/schemas/ChatCompletion"}
    assert content["text/event-stream"]["schema"]["type"] == "string"
    assert chat["responses"]["202"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Job"}


def test_a_chats_refusals_are_in_openais_envelope(chat: dict[str, Any]) -> None:
    for status, answer in chat["responses"].items():
        if status >= "400":
            assert answer["content"] == {"application/json": {"schema": {"$ref": "#/components/schemas/OpenAIError"}}}


@pytest.mark.django_db(transaction=True)
def test_the_example_of_a_chat_is_one_that_is_taken(
    chat: dict[str, Any], client: Client, settings: Any, tmp_path: Path
) -> None:
    settings.CHAT_REMOTE_URL, settings.CHAT_REMOTE_MODELS, settings.DEFAULT_CHAT_MODEL = "http://far/v1", ["far"], "far"
    settings.MEDIA_ROOT = tmp_path
    (example,) = chat["requestBody"]["content"]["application/json"]["examples"].values()
    headers = {"Prefer": "respond-async"}
    reply = client.post("/v1/chat/completions", example["value"], content_type="application/json", headers=headers)
    assert (reply.status_code, reply.json()["kind"]) == (202, "chat")


def test_keys_are_documented(document: dict[str, Any], txt2img: dict[str, Any]) -> None:
    assert document["components"]["securitySchemes"]["api_key"]["scheme"] == "bearer"
    assert txt2img["security"] == [{"api_key": []}]


# ---------------------------------------------------------------- Swagger UI


def test_the_pages_assets_come_from_here(client: Client) -> None:
    page = client.get("/api/docs/").content.decode()
    addresses = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(addresses) == 4
    assert all(address.startswith("/static/") for address in addresses)
    assert not re.search(r"https?://", page)


def test_the_pages_assets_are_there(client: Client) -> None:
    page = client.get("/api/docs/").content.decode()
    for address in re.findall(r'(?:src|href)="([^"]+)"', page):
        assert client.get(address).status_code == 200


def test_a_stranger_is_sent_to_log_in(outside: Client) -> None:
    reply = outside.get("/api/docs/")
    assert (reply.status_code, reply["Location"]) == (302, "/studio/login?next=/api/docs/")


def test_a_wrong_key_gets_a_problem(outside: Client) -> None:
    reply = outside.get("/api/docs/", headers={"Authorization": "Bearer drk_no"})
    assert (reply.status_code, reply["Content-Type"]) == (401, "application/problem+json")
    assert reply.json()["code"] == "not_authenticated"


def test_a_person_who_is_logged_in_sees_it(outside: Client, admin_user: Any) -> None:
    outside.force_login(admin_user)
    assert outside.get("/api/docs/").status_code == 200
    assert outside.get("/api/schema/").status_code == 200
