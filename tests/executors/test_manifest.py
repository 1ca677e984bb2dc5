"""The manifest of docs/cluster.md has the fields of KubeRay's RayCluster (ray.io/v1), and those of its pods."""

from pathlib import Path
from typing import Any

import pytest

yaml = pytest.importorskip("yaml", reason='pip install "bsbatch[ray]"')

_SPEC = {"rayVersion", "enableInTreeAutoscaling", "autoscalerOptions", "headGroupSpec", "workerGroupSpecs"}
_GROUP = {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"}
_CONTAINER = {"name", "image", "env", "resources", "volumeMounts"}


@pytest.fixture
def manifest() -> dict[str, Any]:
    page = (Path(__file__).parents[2] / "docs/cluster.md").read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.safe_load(page.split("```yaml")[1].split("```")[0])
    return found


def test_it_is_a_cluster_of_a_head_and_one_group_that_grows_and_shrinks(manifest: dict[str, Any]) -> None:
    spec = manifest["spec"]
    assert (manifest["apiVersion"], manifest["kind"]) == ("ray.io/v1", "RayCluster")
    assert set(spec) == _SPEC
    assert set(spec["headGroupSpec"]) == {"rayStartParams", "template"}
    (group,) = spec["workerGroupSpecs"]
    assert set(group) == _GROUP
    assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    parameters = *spec["headGroupSpec"]["rayStartParams"].values(), *group["rayStartParams"].values()
    assert all(isinstance(value, str) for value in parameters), "KubeRay refuses numbers there"


def test_all_pods_see_the_archive_and_the_results_under_the_same_paths(manifest: dict[str, Any]) -> None:
    groups = manifest["spec"]["headGroupSpec"], *manifest["spec"]["workerGroupSpecs"]
    mounts = set()
    for pod in (group["template"]["spec"] for group in groups):
        (container,) = pod["containers"]
        assert set(container) == _CONTAINER
        names = {volume["name"] for volume in pod["volumes"]}
        assert names == {mount["name"] for mount in container["volumeMounts"]}
        mounts.add(frozenset(mount["mountPath"] for mount in container["volumeMounts"]))
    assert mounts == {frozenset({"/archive", "/out"})}
