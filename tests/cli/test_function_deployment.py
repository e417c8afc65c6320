"""What deploys the functions agrees with the program; the image is built and run where that is possible."""

import importlib
import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import httpx
import pytest
import yaml

pytest.importorskip("aiohttp", reason="aiohttp is not installed (extra delivery)")

from einthoven.cli.functions import command
from einthoven.continuum import Region
from einthoven.runtime.hosted import Hosted
from einthoven.testing.function_hosts import HOST_CHECKS, check_function_host

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "functions"
CONTAINERFILE = (FOLDER / "Containerfile").read_text()
PORT = 8080
BUILD_S = 1800


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FOLDER / name).read_text()))


def of_kind(name: str, kind: str) -> dict[str, Any]:
    return next(one for one in documents(name) if one["kind"] == kind)


def container_of(name: str, kind: str) -> dict[str, Any]:
    (found,) = of_kind(name, kind)["spec"]["template"]["spec"]["containers"]
    return found


def parsed(words: list[str], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The words as ``einthoven functions serve`` takes them; it is not started."""
    monkeypatch.setenv("PORT", str(PORT))
    assert isinstance(command, click.Group)
    serve = command.commands["serve"]
    return serve.make_context("serve", ["--host", "0.0.0.0", *words]).params  # noqa: S104 - not listened at


def test_the_image_runs_what_there_is_as_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = yaml.safe_load(re.search(r"^ENTRYPOINT (.*)$", CONTAINERFILE, re.MULTILINE).group(1))
    assert entry == ["einthoven", "functions", "serve", "--host", "0.0.0.0"]  # noqa: S104 - the image's
    assert f"EXPOSE {PORT}" in CONTAINERFILE
    assert re.search(rf"\bPORT={PORT}\b", CONTAINERFILE)
    assert parsed([], monkeypatch)["port"] == PORT
    last_user = re.findall(r"^USER (.*)$", CONTAINERFILE, re.MULTILINE)[-1]
    assert int(last_user.split(":")[0]) > 0
    assert CONTAINERFILE.index("USER ") < CONTAINERFILE.index("warm_kernels")


def test_compose_says_what_the_program_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    (compose,) = documents("compose.yaml")
    service = compose["services"]["functions"]
    assert (FOLDER / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
    *words, last = service["command"]
    said = parsed(words, monkeypatch)
    assert said["workers"] == said["slots"]
    assert last == f"--token-file=/run/secrets/{service['secrets'][0]}"
    assert service["secrets"][0] in compose["secrets"]
    assert service["ports"][0].startswith("127.0.0.1:")
    assert service["ports"][0].endswith(f":{PORT}")
    assert f"127.0.0.1:{PORT}/readyz" in service["healthcheck"]["test"][-1]


@pytest.mark.parametrize(("file", "kind"), [("knative.yaml", "Service"), ("kubernetes.yaml", "Deployment")])
def test_containers_say_what_the_program_takes(file: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    container = container_of(file, kind)
    said = parsed(container["args"], monkeypatch)
    (port,) = container["ports"]
    assert port["containerPort"] == PORT
    assert not said["allow_anonymous"]
    (variable,) = container["env"]
    assert variable["name"] == "EINTHOVEN_FUNCTIONS_TOKEN"
    probes = {name: one["httpGet"] for name, one in container.items() if name.endswith("Probe")}
    assert probes["readinessProbe"]["path"] == "/readyz"
    assert probes["livenessProbe"]["path"] == "/healthz"
    assert {one["port"] for one in probes.values()} <= {PORT, port["name"]}


def test_knative_sends_no_more_calls_than_a_container_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = of_kind("knative.yaml", "Service")["spec"]["template"]["spec"]
    said = parsed(spec["containers"][0]["args"], monkeypatch)
    assert said["slots"] <= spec["containerConcurrency"] <= said["slots"] + 256
    assert spec["timeoutSeconds"] >= said["wait_s"]


def test_kubernetes_waits_for_the_end_and_scales_what_it_deploys(monkeypatch: pytest.MonkeyPatch) -> None:
    deployment = of_kind("kubernetes.yaml", "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    drain_s = parsed(pod["containers"][0]["args"], monkeypatch)["drain_s"]
    assert pod["terminationGracePeriodSeconds"] > drain_s
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert str(pod["securityContext"]["runAsUser"]) in CONTAINERFILE
    scaled = of_kind("kubernetes.yaml", "ScaledObject")["spec"]
    assert scaled["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert of_kind("kubernetes.yaml", "Service")["spec"]["selector"] == labels
    assert "cpu" in pod["containers"][0]["resources"]["requests"], "KEDA scales by a share of it"


def test_openfaas_deploys_a_function_at_each_address(monkeypatch: pytest.MonkeyPatch) -> None:
    (stack,) = documents("openfaas.yaml")
    known = {one.name for one in Hosted().functions}
    for name, function in stack["functions"].items():
        for variable, value in function["environment"].items():
            monkeypatch.setenv(variable, value)
        token_file = function["environment"].pop("EINTHOVEN_FUNCTIONS_TOKEN_FILE")
        assert token_file == f"/var/openfaas/secrets/{function['secrets'][0]}"
        monkeypatch.setenv("EINTHOVEN_FUNCTIONS_TOKEN_FILE", __file__)
        said = parsed([], monkeypatch)
        assert said["only"] == name
        assert name in known
        assert said["port"] == PORT
        assert not said["allow_anonymous"]
    text = (FOLDER / "openfaas.yaml").read_text()
    address = re.search(r'address = "(.*?)", functions = (\[.*?\])', text)
    region = Region(
        name="faas", kind="http", address=address.group(1), functions=tuple(json.loads(address.group(2)))
    )
    assert set(region.functions) == set(stack["functions"])


class _Template(yaml.SafeLoader):
    """CloudFormation's, with its tags as they are."""


_Template.add_multi_constructor("!", lambda loader, tag, node: {tag: loader.construct_scalar(node)})


def test_lambda_calls_the_handler_and_shows_nobody_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    template = yaml.load((FOLDER / "lambda.yaml").read_text(), _Template)  # noqa: S506 - a safe loader
    made = template["Resources"]["Functions"]["Properties"]
    token = made["Environment"]["Variables"]["EINTHOVEN_FUNCTIONS_TOKEN"]
    assert template["Parameters"][token["Ref"]]["NoEcho"] is True
    assert made["FunctionUrlConfig"]["InvokeMode"] == "BUFFERED"
    image = (FOLDER / "Containerfile.lambda").read_text()
    module, _, name = yaml.safe_load(re.search(r"^CMD (.*)$", image, re.MULTILINE).group(1))[0].rpartition(
        "."
    )
    assert callable(getattr(importlib.import_module(module), name))
    assert re.search(r"^USER (\d+)", image.rpartition("pip install")[2], re.MULTILINE).group(1) != "0"
    kernels = re.search(r"NUMBA_CACHE_DIR=(\S+)", CONTAINERFILE).group(1)
    assert f"cp -r {kernels} /tmp/" in image


# -------------------------------------------------------------------- the image itself


@pytest.fixture(scope="module")
def image() -> Iterator[list[str]]:
    """Builds the image; gives the words with which containers are run."""
    podman = shutil.which("podman")
    if podman is None:
        pytest.skip("podman is not installed")
    asked = os.environ.get("EINTHOVEN_BASE_IMAGE")
    base = asked or re.search(r"^ARG BASE=(.*)$", CONTAINERFILE, re.MULTILINE).group(1)
    probe = subprocess.run([podman, "image", "exists", base], check=False, capture_output=True, timeout=60)
    if probe.returncode:
        pulled = subprocess.run([podman, "pull", base], check=False, capture_output=True, timeout=300)
        if pulled.returncode:
            pytest.skip(f"{base} cannot be pulled; EINTHOVEN_BASE_IMAGE names another image with Python")
    runs = [podman, "run", "--rm", "--network", "host", "--cap-drop", "all", "--memory", "2g"]
    tried = subprocess.run([*runs, base, "true"], check=False, capture_output=True, timeout=120)
    if tried.returncode:
        pytest.skip("podman cannot run containers here; CONTAINERS_CONF may help")
    name = "localhost/einthoven-functions:test"
    done = subprocess.run(
        [
            *(podman, "build", "--network", "host", "--build-arg", f"BASE={base}", "-t", name),
            *("-f", str(FOLDER / "Containerfile"), str(ROOT)),
        ],
        check=False,
        capture_output=True,
        text=True,
        timeout=BUILD_S,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    yield runs
    subprocess.run([podman, "image", "rm", "-f", name], check=False, capture_output=True, timeout=120)


def test_the_image_starts_quickly_serves_and_ends_well(image: list[str]) -> None:
    name = "localhost/einthoven-functions:test"
    refused = subprocess.run([*image, name], check=False, capture_output=True, text=True, timeout=120)
    assert refused.returncode == 2
    assert "by anybody" in refused.stderr
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    flags = ["-e", f"PORT={port}", "-e", "EINTHOVEN_FUNCTIONS_TOKEN=of-a-test", "--name", f"einthoven-{port}"]
    began_s = time.perf_counter()
    with subprocess.Popen([*image, *flags, name]) as process:
        try:
            while time.perf_counter() - began_s < 60:
                try:
                    if httpx.get(f"{url}/readyz", trust_env=False).status_code == 200:
                        break
                except httpx.TransportError:
                    time.sleep(0.02)
            assert time.perf_counter() - began_s < 15, "the kernels were compiled at the start"
            for check in HOST_CHECKS:
                check_function_host(url, check, "of-a-test")
        finally:
            subprocess.run([image[0], "stop", "-t", "20", f"einthoven-{port}"], check=False, timeout=120)
        assert process.wait(60) == 0
