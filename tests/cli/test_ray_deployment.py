"""What deploys a Ray cluster agrees with the program, with itself, and with the page about it."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from einthoven.continuum import read_continuum

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "ray"
TEXT = (FOLDER / "raycluster.yaml").read_text()
CONTAINERFILE = (FOLDER / "Containerfile").read_text()
DOCUMENTS: dict[str, Any] = {one["kind"]: one for one in yaml.safe_load_all(TEXT)}
CLUSTER = DOCUMENTS["RayCluster"]["spec"]
GROUPS = {"head": CLUSTER["headGroupSpec"], **{one["groupName"]: one for one in CLUSTER["workerGroupSpecs"]}}


def container_of(group: str) -> dict[str, Any]:
    (found,) = GROUPS[group]["template"]["spec"]["containers"]
    return found


def resources_of(group: str) -> dict[str, float]:
    """As ``ray start`` is given them, through a shell."""
    (word,) = shlex.split(GROUPS[group]["rayStartParams"].get("resources", "'{}'"))
    return json.loads(word)


def test_it_is_a_cluster_as_kuberay_knows_it() -> None:
    assert DOCUMENTS["RayCluster"]["apiVersion"] == "ray.io/v1"
    assert set(GROUPS) == {"head", "edge", "core"}
    for one in CLUSTER["workerGroupSpecs"]:
        assert 1 <= one["minReplicas"] <= one["replicas"] <= one["maxReplicas"]
        assert container_of(one["groupName"])["name"] == "ray-worker"
    assert container_of("head")["name"] == "ray-head"
    for group in GROUPS.values():
        assert all(isinstance(value, str) for value in group["rayStartParams"].values()), "or it is refused"


def test_image_and_cluster_have_one_version_of_ray_which_the_extra_takes() -> None:
    version = CLUSTER["rayVersion"]
    assert re.search(r"^ARG RAY=(.*)$", CONTAINERFILE, re.MULTILINE).group(1) == version
    least = re.search(r'"ray>=([\d.]+)"', (ROOT / "pyproject.toml").read_text()).group(1)
    assert tuple(map(int, version.split("."))) >= tuple(map(int, least.split(".")))
    assert {container_of(one)["image"] for one in GROUPS} == {"registry.example/einthoven-ray:latest"}


def test_each_group_of_nodes_is_a_region_that_can_be_declared() -> None:
    assert resources_of("head") == {}
    assert GROUPS["head"]["rayStartParams"]["num-cpus"] == "0", "no call is performed there"
    for name in ("edge", "core"):
        assert resources_of(name) == {name: 1}
        cpus = int(GROUPS[name]["rayStartParams"]["num-cpus"])
        limits = container_of(name)["resources"]
        assert limits["limits"] == limits["requests"]
        assert int(limits["limits"]["cpu"]) == cpus
    said = "\n".join(re.findall(r"^# (\[regions.*|\w+ = .*)$", TEXT, re.MULTILINE))
    (region,) = read_continuum(said).regions
    assert region.kind == "ray"
    assert region.resource in GROUPS
    host = re.fullmatch(r"ray://(.*)-head-svc:(\d+)", region.address)
    assert host.group(1) == DOCUMENTS["RayCluster"]["metadata"]["name"]
    ports = {one["name"]: one["containerPort"] for one in container_of("head")["ports"]}
    assert int(host.group(2)) == ports["client"]


def test_a_node_that_dies_is_noticed_as_the_page_says() -> None:
    page = (ROOT / "docs" / "reference" / "ray-regions.md").read_text()
    for group in GROUPS:
        for one in container_of(group)["env"]:
            assert f"{one['name']}={one['value']}" in page


@pytest.mark.parametrize("group", GROUPS)
def test_nodes_run_as_nobody_and_have_shared_memory(group: str) -> None:
    spec = GROUPS[group]["template"]["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert f"USER {spec['securityContext']['runAsUser']}:" in CONTAINERFILE
    assert CONTAINERFILE.rindex("USER 10001") > CONTAINERFILE.index("pip install")
    assert container_of(group)["securityContext"]["allowPrivilegeEscalation"] is False
    (volume,) = spec["volumes"]
    (mount,) = container_of(group)["volumeMounts"]
    assert (mount["name"], mount["mountPath"]) == (volume["name"], "/dev/shm")  # noqa: S108 - a mount
    assert volume["emptyDir"]["medium"] == "Memory"


def test_nobody_reaches_the_nodes_but_each_other_and_those_who_are_let() -> None:
    policy = DOCUMENTS["NetworkPolicy"]["spec"]
    labels = policy["podSelector"]["matchLabels"]
    for group in GROUPS.values():
        assert labels.items() <= group["template"]["metadata"]["labels"].items()
    among, callers = policy["ingress"]
    assert among == {"from": [{"podSelector": {"matchLabels": labels}}]}
    assert callers["ports"] == [{"port": 10001}]


def test_the_image_is_that_of_the_functions_with_ray() -> None:
    base = re.search(r"^ARG BASE=(.*)$", CONTAINERFILE, re.MULTILINE).group(1)
    assert f"-t {base} -f deploy/functions/Containerfile" in CONTAINERFILE
    folder = re.search(r"(\S+)/bin/pip", CONTAINERFILE).group(1)
    assert f"ENV PATH={folder}/bin:" in (ROOT / "deploy" / "functions" / "Containerfile").read_text()
    assert f"export PATH={folder}/bin:$PATH' > /etc/profile.d/" in CONTAINERFILE
