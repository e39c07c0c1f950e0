"""The files of deploy/ are what their tools expect, and fit each other and the server."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from compose_spec.models import ComposeSpecification

from proxy.settings import load_settings
from proxy.settings.model import TABLE
from tests.deploy.files import (
    DEPLOY,
    DOCKERFILE,
    compose,
    example_values,
    filled_in,
    image_environment,
    instructions,
    path,
    seconds,
)
from tests.http.processes import ROOT

TOOLS = Path(sys.executable).parent


def test_every_setting_that_is_named_exists() -> None:
    known = {setting.variable for setting in TABLE}
    named = {
        name
        for file in DEPLOY.rglob("*")
        if file.is_file() and file.suffix != ".pyc"
        for name in re.findall(r"PGRST_[A-Z_]+", file.read_text())
    }
    assert len(named) > 5
    assert named <= known


# --- the image ------------------------------------------------------------------------------


def test_the_dockerfile_pleases_hadolint() -> None:
    done = subprocess.run(
        [TOOLS / "hadolint", DOCKERFILE], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_the_copied_files_make_the_package(tmp_path: Path) -> None:
    copied = [rest.split() for name, rest in instructions() if name == "COPY"]
    for *sources, target in copied:
        if sources[0].startswith("--from"):
            continue
        for source in sources:
            assert f"!{source}" in (ROOT / ".dockerignore").read_text().splitlines()
            place = tmp_path / target if (ROOT / source).is_dir() else tmp_path / source
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, place)
            else:
                shutil.copy(ROOT / source, place)
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {"edgerest/__main__.py", "proxy/cli/main.py", "pool/pool.py"} <= set(names)
    assert [name for name in names if name.endswith("entry_points.txt")]


def test_the_image_has_every_extra_that_a_setting_may_need() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (everything,) = project["optional-dependencies"]["all"]
    extras = set(everything.removeprefix("edgerest[").removesuffix("]").split(","))
    source = "".join(file.read_text() for file in (ROOT / "proxy").rglob("*.py"))
    assert set(re.findall(r"edgerest\[(\w+)\]", source)) == extras
    installs = [rest for name, rest in instructions() if name == "RUN" and "-c con" in rest]
    assert [rest for rest in installs if "'.[all]'" in rest] == installs != []


def test_the_image_runs_as_nobody_and_tells_its_health() -> None:
    found = dict(instructions())
    user = found["USER"].partition(":")[0]
    assert user.isdigit()
    assert int(user) > 0
    assert found["ENTRYPOINT"] == '["edgerest"]'
    assert found["HEALTHCHECK"].endswith('CMD ["edgerest", "ready"]')


# --- compose --------------------------------------------------------------------------------


def test_compose_yaml_is_one() -> None:
    parsed = ComposeSpecification.model_validate(compose())
    assert set(parsed.services or {}) == {"edge1", "edge2", "proxy", "postgres"}


def test_compose_yaml_needs_what_example_env_gives() -> None:
    text = path("compose", "compose.yaml").read_text()
    assert filled_in(text, example_values()) != text
    demanded = set(re.findall(r"\$\{(\w+):\?\}", text))
    assert demanded <= set(example_values())
    for name in re.findall(r"^ +- \./([\w.]+):", text, re.MULTILINE):
        assert path("compose", name).is_file()


def test_compose_waits_for_requests_in_flight() -> None:
    for name in ("edge1", "edge2"):
        service = compose()["services"][name]
        drain = service["environment"]
        needed = int(drain["PGRST_SERVER_DRAIN_DELAY"]) + int(
            drain["PGRST_SERVER_DRAIN_TIMEOUT"]
        )
        assert seconds(service["stop_grace_period"]) > needed


# --- systemd --------------------------------------------------------------------------------

UNIT = path("systemd", "edgerest.service")
needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze"
)


def analysed(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = ["systemd-analyze", "--no-pager", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@needs_systemd
def test_the_unit_is_one(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/edgerest/bin/edgerest", "/bin/true"))
    done = analysed("verify", unit)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@needs_systemd
def test_the_unit_is_allowed_little() -> None:
    # In tenths: of 10 for a service without any restriction.
    done = analysed("security", "--offline=true", "--threshold=15", UNIT)
    assert done.returncode == 0, done.stdout


def test_the_unit_waits_for_requests_in_flight() -> None:
    (limit,) = re.findall(r"^TimeoutStopSec=(\d+)$", UNIT.read_text(), re.MULTILINE)
    defaults = load_settings(None, {}).settings
    assert int(limit) > defaults.server_drain_delay + defaults.server_drain_timeout


# --- Kubernetes -----------------------------------------------------------------------------


def manifests() -> dict[str, Any]:
    text = path("kubernetes", "edgerest.yaml").read_text()
    return {document["kind"]: document for document in yaml.safe_load_all(text)}


@pytest.mark.parametrize("kind", manifests())
def test_the_manifest_fits_its_schema(kind: str) -> None:
    kubernetes_validate.validate(manifests()[kind], kubernetes_validate.latest_version(), True)


def test_the_manifests_fit_each_other(tmp_path: Path) -> None:
    found = manifests()
    pod = found["Deployment"]["spec"]["template"]
    labels = pod["metadata"]["labels"]
    assert found["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert found["Service"]["spec"]["selector"] == labels
    assert found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    assert found["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == labels

    (container,) = pod["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["port"] == "admin"

    config = tmp_path / "edgerest.toml"
    config.write_text(
        found["ConfigMap"]["data"]["edgerest.toml"].replace(
            "@/run/secrets/edgerest", f"@{tmp_path}"
        )
    )
    (tmp_path / "db-uri").write_text("postgresql://authenticator@postgres/app")
    (tmp_path / "jwt-secret").write_text("a secret for tests that is long enough")
    loaded = load_settings(config, image_environment())
    assert loaded.warnings == ()
    settings = loaded.settings
    assert ports == {"http": settings.server_port, "admin": settings.admin_server_port}
    assert pod["spec"]["terminationGracePeriodSeconds"] > (
        settings.server_drain_delay + settings.server_drain_timeout
    )
    # The probe has told that the pod is leaving before it stops taking requests.
    readiness = container["readinessProbe"]
    assert (
        readiness["periodSeconds"] * readiness["failureThreshold"] < settings.server_drain_delay
    )


def test_the_pod_is_restricted() -> None:
    pod = manifests()["Deployment"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in pod["containers"]:
        allowed = container["securityContext"]
        assert allowed["allowPrivilegeEscalation"] is False
        assert allowed["readOnlyRootFilesystem"] is True
        assert allowed["capabilities"] == {"drop": ["ALL"]}


# --- a hosted container service -------------------------------------------------------------


def test_fly_toml_fits_the_image_and_its_settings() -> None:
    fly = tomllib.loads(path("fly", "fly.toml").read_text())
    settings = load_settings(None, image_environment() | fly["env"]).settings
    assert fly["http_service"]["internal_port"] == settings.server_port
    assert fly["checks"]["ready"]["port"] == settings.admin_server_port
    assert fly["metrics"]["port"] == settings.admin_server_port
    assert path("fly", fly["build"]["dockerfile"]).resolve() == DOCKERFILE
    assert seconds(fly["kill_timeout"]) > (
        settings.server_drain_delay + settings.server_drain_timeout
    )
