"""Prometheus and Grafana as they are written in the stack: they ask what is served, and show what there is."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import Counter, Histogram

from ml import metrics

DOCKER = Path(__file__).resolve().parents[2] / "docker"
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]
OBSERVED = DOCKER / "observability"
DASHBOARD = json.loads((OBSERVED / "grafana/dashboards/almanac.json").read_text())
TARGETS = [target for panel in DASHBOARD["panels"] for target in panel["targets"]]
SOURCES = yaml.safe_load((OBSERVED / "grafana/datasources/prometheus.yaml").read_text())["datasources"]


def series() -> dict[str, set[str]]:
    """The names under which there are figures, each with its labels."""
    found: dict[str, set[str]] = {}
    for metric in vars(metrics).values():
        if isinstance(metric, (Counter, Histogram)):
            [family] = metric.describe()
            labels = set(metric._labelnames)
            if isinstance(metric, Counter):
                found[f"{family.name}_total"] = labels
            else:
                found |= {f"{family.name}_sum": labels, f"{family.name}_count": labels}
                found[f"{family.name}_bucket"] = labels | {"le"}
    return found


def test_prometheus_asks_each_service_at_its_port_with_a_key_that_it_has() -> None:
    asked = yaml.safe_load((OBSERVED / "prometheus.yaml").read_text())["scrape_configs"]
    assert {job["job_name"] for job in asked} == {"api", "worker"}
    for job in asked:
        [where] = job["dns_sd_configs"]
        assert where["names"] == [job["job_name"]]
        assert str(where["port"]) == SERVICES[job["job_name"]]["healthcheck"]["test"][-1]
        key = Path(job["authorization"]["credentials_file"])
        assert key.parent == Path("/run/secrets")
        assert key.name in SERVICES["prometheus"]["secrets"]
        assert set(SERVICES["prometheus"].get("networks", ["default"])) <= set(SERVICES[job["job_name"]]["networks"])


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target["expr"][:60])
def test_a_panel_shows_figures_that_there_are(target: dict[str, Any]) -> None:
    known = {**series(), "up": {"job"}}
    names = set(re.findall(r"\b(almanac_\w+|up)\b", target["expr"]))
    assert names
    assert names <= set(known)
    of_these = set.intersection(*(known[name] for name in names))
    assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= of_these
    for group in re.findall(r"by \(([^)]*)\)", target["expr"]):
        assert set(group.split(", ")) <= of_these
    assert set(re.findall(r"[{,](\w+)=~?\"", target["expr"])) <= of_these


def test_every_figure_has_a_place() -> None:
    shown = " ".join(target["expr"] for target in TARGETS)
    families = {re.sub(r"_(sum|count|bucket)$", "", name) for name in series()}
    assert {family for family in families if family not in shown} <= {"almanac_commit_rows"}


def test_the_dashboard_is_found_and_asks_a_source_that_there_is() -> None:
    [provider] = yaml.safe_load((OBSERVED / "grafana/providers/almanac.yaml").read_text())["providers"]
    mounts = dict(volume.split(":")[:2] for volume in SERVICES["grafana"]["volumes"])
    assert mounts["./observability/grafana/dashboards"] == provider["options"]["path"]
    assert mounts["./observability/grafana/providers"] == "/etc/grafana/provisioning/dashboards"
    assert mounts["./observability/grafana/datasources"] == "/etc/grafana/provisioning/datasources"
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{provider['options']['path']}/almanac.json"
    [source] = SOURCES
    assert source["url"] == "http://prometheus:9090"
    variables = DASHBOARD["templating"]["list"]
    assert {part["datasource"]["uid"] for part in [*DASHBOARD["panels"], *TARGETS, *variables]} == {source["uid"]}


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken
        assert at["x"] + at["w"] <= 24
        taken |= cells
