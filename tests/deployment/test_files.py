"""Dockerfile, docker-compose*.yml and config/kubernetes: they fit their schemas, and name only what is here."""

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import kubernetes_validate
import pytest
import yaml
from cloudcoil.models.keda.v1alpha1 import ScaledObject
from django.core.management import get_commands, load_command_class

from api.jobs.worker.shutdown import GRACE_SECONDS
from config.env import setting_names
from config.env_file import unknown_names
from config.failures import ROOT
from tests.deployment import compose, manifests
from tests.live import LiveServer, free_port

VERSIONS = ("1.30", "1.37")
"""Of Kubernetes: the oldest that the manifests are for, and the newest that the library knows."""
OURS = "darkroom"
TO_SPARE = 15.0
"""Seconds between the end of what a process may still do and its being killed."""


def is_ours(container: dict[str, Any]) -> bool:
    return bool(container["image"].partition(":")[0] == OURS)


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    """Of all compose files, by the file and the service."""
    found = {}
    for file in compose.FILES:
        document = compose.read(file, dict.fromkeys(compose.required(file), "10.0.0.1"))
        found.update({f"{file} {name}": service for name, service in document["services"].items()})
    return found


def commands(services: dict[str, dict[str, Any]]) -> list[list[str]]:
    """Each as words; what a shell gets, as several."""
    found = [service["command"] for service in services.values() if is_ours(service) and "command" in service]
    found += [container["command"] for _, container in manifests.containers() if is_ours(container)]
    docker = re.findall(r"^CMD (.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    found += [json.loads(text) for text in docker]
    shells = [words[2].split("&&") for words in found if words[:2] == ["sh", "-c"]]
    plain = [words for words in found if words[:2] != ["sh", "-c"]]
    return plain + [part.removeprefix(" exec").split() for parts in shells for part in parts]


# ---------------------------------------------------------------- schemas


@pytest.mark.parametrize("version", VERSIONS)
def test_manifests_fit_kubernetes_schemas(version: str) -> None:
    for document in manifests.documents():
        if "." not in document["apiVersion"] or ".k8s.io" in document["apiVersion"]:
            kubernetes_validate.validate(document, version, strict=True)


def test_scaled_objects_fit_kedas_schema() -> None:
    [scaled] = [document for document in manifests.documents() if document["kind"] == "ScaledObject"]
    known = ScaledObject.model_validate(scaled).model_dump(by_alias=True, exclude_unset=True, mode="json")
    assert known == scaled  # a name that the schema doesn't have would be left out


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
@pytest.mark.parametrize("overlay", manifests.OVERLAYS)
def test_kustomize_puts_the_overlays_together(overlay: str) -> None:
    command = ["kubectl", "kustomize", str(manifests.FOLDER / overlay)]
    rendered = list(yaml.safe_load_all(subprocess.run(command, check=True, capture_output=True, timeout=60).stdout))
    for document in rendered:
        if document["kind"] not in ("ScaledObject", "ServiceMonitor"):
            kubernetes_validate.validate(document, VERSIONS[-1], strict=True)
    names = {(document["kind"], document["metadata"]["name"]) for document in rendered}
    [settings] = [name for kind, name in names if kind == "ConfigMap"]
    used = re.findall(r"configMapRef: *\{?\s*name: ([\w-]+)", yaml.safe_dump_all(rendered))
    assert set(used) == {settings}
    assert all(document["metadata"].get("namespace", "darkroom") == "darkroom" for document in rendered)


# ---------------------------------------------------------------- what they name is here


def test_they_set_only_settings_that_are_read(services: dict[str, dict[str, Any]]) -> None:
    used = {name for service in services.values() if is_ours(service) for name in service["environment"]}
    used |= set(manifests.environment())
    used |= {
        each["name"]
        for _, container in manifests.containers()
        if is_ours(container)
        for each in container.get("env", [])
        if "value" in each
    }
    used |= {
        match["name"]
        for file in compose.FILES
        for match in compose.VARIABLE.finditer((ROOT / file).read_text())
        if match["name"]
    }
    assert unknown_names(sorted(used), setting_names) == {}


def test_settings_that_they_dont_name_reach_our_containers_and_neither_git_nor_the_image(
    services: dict[str, dict[str, Any]],
) -> None:
    for name, service in services.items():
        assert service.get("env_file") == ([{"path": "darkroom.env", "required": False}] if is_ours(service) else None), name
    for file in (".gitignore", ".dockerignore"):
        assert "darkroom.env" in (ROOT / file).read_text().split(), file


def test_their_commands_exist(services: dict[str, dict[str, Any]]) -> None:
    found = commands(services)
    assert ["celery", "-A", "config", "worker"] in found
    for program, *words in found:
        assert Path(sys.executable).with_name(program).exists(), program
        if words[0] == "manage.py":
            command = load_command_class(get_commands()[words[1]], words[1])
            command.create_parser("manage.py", words[1]).parse_args(words[2:])  # exits for an option that isn't there


def test_images_have_versions_and_bounds(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        assert re.fullmatch(r"[a-z/]+:\d[\w.-]*", service["image"]), name
        assert service["deploy"]["resources"]["limits"]["memory"], name
    [tag] = re.findall(r"name: darkroom, newTag: (\S+)}", (manifests.FOLDER / "base" / "kustomization.yaml").read_text())
    assert {service["image"] for service in services.values() if is_ours(service)} == {f"darkroom:{tag}"}
    for name, container in manifests.containers():
        assert container["image"] == OURS or re.fullmatch(r"[a-z/]+:\d[\w.-]*", container["image"]), name
        resources = container["resources"]
        assert {"cpu", "memory"} <= set(resources["requests"]), name
        assert "memory" in resources["limits"], name


def test_the_image_has_the_programs_of_their_database(services: dict[str, dict[str, Any]]) -> None:
    """Without pg_dump of the server's version or a newer one there is no backup."""
    images = [service["image"] for service in services.values()] + [
        container["image"] for _, container in manifests.containers()
    ]
    servers = {image.partition(":")[2].partition("-")[0] for image in images if image.startswith("postgres:")}
    assert servers == set(re.findall(r" postgresql-client-(\d+)=\1\.", (ROOT / "Dockerfile").read_text()))


def test_their_processes_have_time_to_end(services: dict[str, dict[str, Any]]) -> None:
    web = runpy.run_path(str(ROOT / "config" / "gunicorn.py"))["graceful_timeout"] + TO_SPARE
    worker = GRACE_SECONDS + TO_SPARE
    for name, service in services.items():
        if is_ours(service):
            assert int(service["stop_grace_period"].removesuffix("s")) >= max(web, worker), name
    seconds = {name: pod["terminationGracePeriodSeconds"] for name, pod in manifests.pods() if name in ("web", "worker")}
    pause = next(
        container["lifecycle"]["preStop"]["exec"]["command"][1]
        for name, container in manifests.containers()
        if name == "web/web"
    )
    assert seconds["web"] >= web + int(pause)
    assert seconds["worker"] >= worker


def test_the_manifests_settings_pass_the_checks(tmp_path: Path) -> None:
    """But for what only the owner has."""
    given = {**manifests.environment(), "DATA_DIR": str(tmp_path), "SECRET_KEY": "0123456789" * 6, "HOST": "0.0.0.0"}
    environment = {**os.environ, **given, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
    command = [sys.executable, "manage.py", "check", "--fail-level", "WARNING"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


# ---------------------------------------------------------------- probes and the metric, against a server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """As in a pod: behind TLS, without a worker, and called by its address, which probes must not depend on."""
    live = LiveServer(
        tmp_path_factory.mktemp("pod"),
        DATABASE_URL="",
        JOB_RUNNER="external",
        ALLOWED_HOSTS="pictures.example.com,10.0.0.1",
        BEHIND_TLS_PROXY="true",
    )
    with live:
        yield live


@pytest.mark.own_database
def test_probes_are_answered(server: LiveServer) -> None:
    probes = [
        container[kind]["httpGet"]
        for _, container in manifests.containers()
        for kind in container
        if "httpGet" in str(container.get(kind))
    ]
    assert len(probes) == 3
    for probe in probes:
        reply = server.client.get(probe["path"], headers={"Host": "10.0.0.2:8000"})
        assert (reply.status_code, probe["port"]) == (200, "http"), reply.text
    assert server.client.get("/api/ready/").status_code == 503  # there is no worker
    assert server.client.get("/api/ready/?without_worker=perhaps").status_code == 400


@pytest.mark.own_database
def test_the_images_health_check_passes(server: LiveServer) -> None:
    [text] = re.findall(r"^HEALTHCHECK .*\\\n\s+CMD (.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    command = [sys.executable, *json.loads(text)[1:]]
    assert subprocess.run(command, env=server.environment, timeout=20).returncode == 0
    assert (
        subprocess.run(command, env={**server.environment, "PORT": "1"}, stderr=subprocess.DEVNULL, timeout=20).returncode != 0
    )


@pytest.mark.own_database
@pytest.mark.skipif(shutil.which("caddy") is None, reason="needs Caddy (Debian's package)")
def test_the_balancer_passes_on_that_tls_was_ended_before_it(server: LiveServer, tmp_path: Path) -> None:
    document = compose.read("docker-compose.fleet.yml", dict.fromkeys(compose.required("docker-compose.fleet.yml"), "10.0.0.1"))
    text, port = document["configs"]["caddyfile"]["content"], free_port()
    text = re.sub(
        r"dynamic a web 8000 \{.*?\}", f"to 127.0.0.1:{server.port}", text.replace(":8000 {", f":{port} {{"), flags=re.DOTALL
    )
    (tmp_path / "Caddyfile").write_text("{\n admin off\n}\n" + text)
    command = ["caddy", "run", "--adapter", "caddyfile", "--config", str(tmp_path / "Caddyfile")]
    caddy = subprocess.Popen(command, env={**os.environ, "HOME": str(tmp_path)}, stderr=subprocess.DEVNULL)
    try:
        page = {"url": f"http://127.0.0.1:{port}/studio/login", "headers": {"Host": "pictures.example.com"}}
        server.wait_until(lambda: answers(**page), "the balancer answers")
        assert httpx.get(**page).headers["Location"] == "https://pictures.example.com/studio/login"
        page["headers"] |= {"X-Forwarded-Proto": "https"}
        assert httpx.get(**page).status_code == 200
    finally:
        caddy.kill()
        caddy.wait()


def answers(**request: Any) -> bool:
    try:
        return httpx.get(**request).status_code < 500
    except httpx.HTTPError:
        return False


@pytest.mark.own_database
def test_workers_are_scaled_by_metrics_that_exist(server: LiveServer) -> None:
    [scaled] = [document for document in manifests.documents() if document["kind"] == "ScaledObject"]
    wanted = re.findall(r'(\w+)\{namespace="darkroom",(status="\w+")\}', scaled["spec"]["triggers"][0]["metadata"]["query"])
    assert len(wanted) == 2
    key = next(word for word in server.manage("create_key", "prometheus", "--scope", "read").split() if word.startswith("drk_"))
    metrics = server.client.get("/metrics", headers={"Host": "10.0.0.1:8000", "Authorization": f"Bearer {key}"}).text
    assert all(f"\n{name}{{{label}}} " in metrics for name, label in wanted), metrics
