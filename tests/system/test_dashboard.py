"""deploy/observability: Grafana's dashboard and Prometheus's alert rules name what /metrics has."""

import json
import os
import re
import shutil
import subprocess
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families

FOLDER = Path(__file__).resolve().parents[2] / "deploy/observability"
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "darkroom.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
RULES = [rule for group in yaml.safe_load((FOLDER / "rules.yml").read_text())["groups"] for rule in group["rules"]]
without_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None and os.environ.get("CI") != "true", reason="needs promtool (Debian's package prometheus)"
)
SUFFIX = re.compile(r"_(total|bucket|sum|count)$")


def expressions() -> dict[str, str]:
    """As Prometheus reads them: Grafana puts values in place of its variables."""
    panels = {f"{panel['id']}{target['refId']}": target["expr"] for panel in PANELS for target in panel["targets"]}
    given = {name: expr.replace("$__rate_interval", "5m").replace("$kind", ".*") for name, expr in panels.items()}
    return {**given, **{rule["alert"]: rule["expr"] for rule in RULES}}


@pytest.mark.django_db
def test_every_metric_that_they_name_is_there(client: Client) -> None:
    families = {family.name: family.type for family in text_string_to_metric_families(client.get("/metrics").content.decode())}
    named = {name for expr in expressions().values() for name in re.findall(r"\bdarkroom_\w+", expr)}
    missing = {
        name for name in named if name not in families and families.get(SUFFIX.sub("", name)) not in ("counter", "histogram")
    }
    assert (missing, named != set()) == (set(), True)


def test_the_dashboard_is_one_that_grafana_can_import() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    assert [
        panel["title"] for panel in PANELS if not panel["fieldConfig"]["defaults"].get("unit") or not panel["description"]
    ] == []
    variables = {variable["name"]: variable["type"] for variable in DASHBOARD["templating"]["list"]}
    assert variables == {"datasource": "datasource", "kind": "query"}
    assert {panel["datasource"]["uid"] for panel in PANELS} == {"${datasource}"}
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in DASHBOARD["panels"]]
    assert len(set(places)) == len(places)


def promtool(*arguments: str | Path) -> None:
    checked = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@without_promtool
def test_every_expression_can_be_read(tmp_path: Path) -> None:
    """The panels' as recording rules, which the same tool checks."""
    recorded = [{"record": f"panel:{name}", "expr": expr} for name, expr in expressions().items()]
    (tmp_path / "panels.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": recorded}]}))
    promtool("check", "rules", tmp_path / "panels.yml", FOLDER / "rules.yml")


@without_promtool
def test_the_configuration_that_the_documentation_has_is_one(tmp_path: Path) -> None:
    text = (FOLDER.parents[1] / "docs/fleet.md").read_text()
    [block] = re.findall(r"^    scrape_configs:\n(?:    .*\n)+", text, re.MULTILINE)
    (tmp_path / "darkroom_key").write_text("dk_key")
    (tmp_path / "prometheus.yml").write_text(textwrap.dedent(block).replace("/etc/prometheus/", f"{tmp_path}/"))
    shutil.copy(FOLDER / "rules.yml", tmp_path)
    promtool("check", "config", tmp_path / "prometheus.yml")


@without_promtool
def test_alerts_are_raised_when_they_should_be_and_not_before() -> None:
    """Of each form that a rule here has one: nothing answers, a sum by labels, a share with a floor, a limit that is a series itself."""
    promtool("test", "rules", Path(__file__).with_name("alerts.yml"))
