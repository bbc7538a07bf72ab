"""The deployment files say what the code has: commands, settings, ports, devices and metrics."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from service.adapters.tango import device_names
from service.cli import app
from service.settings import ENVIRONMENT_PREFIX, Settings, load_settings
from service.worker.health import WorkerHealth
from service.worker.metrics import render

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
CUDA = yaml.safe_load((ROOT / "deploy/docker/cuda.yml").read_text())
DOCKERFILE = (ROOT / "deploy/docker/Dockerfile").read_text()
KUBERNETES = list(yaml.safe_load_all((ROOT / "deploy/kubernetes/worker.yaml").read_text()))
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
PINNED = re.compile(r"[\w./-]+:\d+\.\d+[\w.-]*|[\w./-]+:v\d+\.\d+\.\d+")
VARIABLE = re.compile(r"\$\{\w+:-([^}]*)\}")


def ours(service: dict[str, Any]) -> dict[str, str]:
    """Our settings in the environment of a service, as they are where the caller sets nothing."""
    environment = service.get("environment", {})
    return {
        name: VARIABLE.sub(r"\1", value) for name, value in environment.items() if name.startswith(ENVIRONMENT_PREFIX)
    }


def test_the_services_are_those_of_one_installation() -> None:
    assert set(SERVICES) == {"tango-database", "devices", "worker", "prometheus"}


@pytest.mark.parametrize("name", SERVICES)
def test_images_are_pinned_and_watched(name: str) -> None:
    service = SERVICES[name]

    assert PINNED.fullmatch(service["image"])
    assert service["healthcheck"]["test"][0] == "CMD"
    assert service["restart"] == "unless-stopped"


def test_base_images_are_pinned() -> None:
    (default,) = re.findall(r"^ARG PYTHON_IMAGE=(\S+)$", DOCKERFILE, re.MULTILINE)

    assert PINNED.fullmatch(default)
    assert set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)) == {"${PYTHON_IMAGE}"}
    for folder in re.findall(r"^COPY (\w+) \w+$", DOCKERFILE, re.MULTILINE):
        assert (ROOT / folder).is_dir()
        assert f"!{folder}\n" in (ROOT / ".dockerignore").read_text()


@pytest.mark.parametrize("command", [service["command"] for name, service in SERVICES.items() if name != "prometheus"])
def test_commands_and_their_options_exist(command: list[str]) -> None:
    if command[:2] == ["python", "-m"]:
        assert importlib.util.find_spec(command[2]) is not None
        return
    known = {parameter for own in COMMANDS[command[1]].params for parameter in own.opts}

    assert command[0] == "braggloop"
    assert {option for option in command[2:] if option.startswith("--")} <= known


@pytest.mark.parametrize("name", SERVICES)
def test_settings_in_the_environment_are_known(name: str) -> None:
    assert isinstance(load_settings(environment=ours(SERVICES[name])), Settings)


def test_worker_and_devices_find_each_other() -> None:
    worker = load_settings(environment=ours(SERVICES["worker"])).worker
    devices = load_settings(environment=ours(SERVICES["devices"]))

    assert worker.endpoint == "tcp://devices:31001"
    assert worker.http_host == "0.0.0.0"
    assert devices.streamer.endpoint == "tcp://0.0.0.0:31001"
    for offered, used in ((worker.results, devices.worker.results), (worker.requests, devices.worker.requests)):
        assert used == offered.replace("0.0.0.0", "worker")
    assert {"31002:31002", "127.0.0.1:31003:31003"} <= set(SERVICES["worker"]["ports"]), "requests: this host alone"


def test_ports_are_published_and_told() -> None:
    published = {port.split(":")[-2] for service in SERVICES.values() for port in service["ports"]}
    head = (ROOT / "docker-compose.yml").read_text().split("\nname:")[0]

    assert published == {"10000", "31001", "31002", "31003", "9100", "9090"}
    assert all(port in head for port in published)


def test_volumes_are_named_and_devices_that_are_watched_exist() -> None:
    used = {VARIABLE.sub(r"\1", mount).split(":")[0] for service in SERVICES.values() for mount in service["volumes"]}
    watched = re.findall(r"'(\w+/\w+/\w+)'", " ".join(SERVICES["devices"]["healthcheck"]["test"]))

    assert {name for name in used if not name.startswith("./")} == set(COMPOSE["volumes"])
    assert all((ROOT / name).is_dir() for name in used if name.startswith("./"))
    assert watched
    assert set(watched) <= {name for names in device_names(Settings()).values() for name in names}


def test_cuda_changes_only_what_it_must() -> None:
    worker = CUDA["services"]["worker"]

    assert load_settings(environment=ours(worker)).phasing.device == "cuda"
    assert PINNED.fullmatch(worker["image"])
    assert f"ARG {next(iter(worker['build']['args']))}=" in DOCKERFILE


def test_prometheus_scrapes_the_worker_and_its_alerts_use_metrics_that_exist() -> None:
    folder = ROOT / "deploy/prometheus"
    config = yaml.safe_load((folder / "prometheus.yml").read_text())
    rules = [
        rule
        for file in config["rule_files"]
        for group in yaml.safe_load((folder / file).read_text())["groups"]
        for rule in group["rules"]
    ]
    exposed = render(WorkerHealth)().decode()
    known = set(re.findall(r"^# TYPE (\w+)", exposed, re.MULTILINE))

    assert config["scrape_configs"][0]["static_configs"][0]["targets"] == ["worker:9100"]
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert set(re.findall(r"braggloop_\w+", rule["expr"])) <= known, rule["alert"]
        assert set(rule["annotations"]) == {"summary", "action"}


def test_kubernetes_runs_one_worker_with_settings_that_exist() -> None:
    by_kind = {document["kind"]: document for document in KUBERNETES}
    template = by_kind["Deployment"]["spec"]["template"]
    (container,) = template["spec"]["containers"]
    settings = load_settings(environment={entry["name"]: entry["value"] for entry in container["env"]})

    assert by_kind["Deployment"]["spec"]["replicas"] == 1
    assert by_kind["Service"]["spec"]["selector"] == template["metadata"]["labels"]
    assert settings.worker.http_host == "0.0.0.0"
    assert settings.worker.http_port == next(
        port["containerPort"] for port in container["ports"] if port["name"] == "http"
    )
    assert container["command"] == SERVICES["worker"]["command"]
    assert PINNED.fullmatch(container["image"])
