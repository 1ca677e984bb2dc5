"""The manifest of docs/cluster.md passes the schema of KubeRay's RayCluster, and that of Kubernetes for its pods."""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

yaml = pytest.importorskip("yaml", reason='pip install "bsbatch[test]"')
kubernetes = pytest.importorskip("kubernetes_validate.utils", reason='pip install "bsbatch[test]"')
jsonschema = pytest.importorskip("jsonschema", reason='pip install "bsbatch[test]"')
referencing = pytest.importorskip("referencing.jsonschema", reason='pip install "bsbatch[test]"')

Place = tuple[str | int, ...]

_ROOT = Path(__file__).parents[2]
_SECTION = (_ROOT / "docs/cluster.md").read_text(encoding="utf-8").split("## On Kubernetes")[1].split("\n## ")[0]
_MANIFEST = _SECTION.split("```yaml")[1].split("```")[0]
_OLDEST, _NEWEST = kubernetes.all_versions()[0], kubernetes.all_versions()[-1]
_QUANTITY = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$"
_FREE = {"rayStartParams", "requests", "limits"}
"""Mappings whose keys the user chooses."""
_REQUIRED = {"apiVersion", "kind", "metadata", "headGroupSpec", "groupName", "minReplicas", "maxReplicas", "template"}
_REQUIRED |= {"containers", "mountPath", "claimName"}
_BAD_VALUES = {
    ("apiVersion",): "ray.io/v1alpha1",
    ("kind",): "RayJob",
    ("spec", "authOptions", "mode"): "password",
    ("spec", "headGroupSpec", "rayStartParams", "num-cpus"): 0,
    ("spec", "headGroupSpec", "template", "spec", "containers", 0, "resources", "limits", "memory"): "8 GB",
    ("spec", "workerGroupSpecs", 0, "maxReplicas"): 2**31,
    ("spec", "workerGroupSpecs", 0, "replicas"): None,
}


def _read_manifest() -> Any:
    return json.loads(json.dumps(yaml.safe_load(_MANIFEST)))  # without the anchor: nothing stands in two places


@cache
def _open_validator(version: str) -> Any:
    """Open the schema of RayCluster with the types of a version of Kubernetes.

    Unlike the schema of an operator, these accept null for each optional field and any text for a quantity.
    """
    name = f"kubernetes-json-schema/v{version}-local-strict/_definitions.json"
    text = json.dumps(kubernetes.schema_contents(name, version)["$defs"])
    types = json.loads(re.sub(r'\["(\w+)", "null"\]', r'"\1"', text))
    types["io.k8s.apimachinery.pkg.api.resource.Quantity"] = {"type": ["string", "number"], "pattern": _QUANTITY}
    resource = referencing.DRAFT202012.create_resource({"$defs": types})
    registry = referencing.EMPTY_REGISTRY.with_resource("kubernetes", resource)
    schema = yaml.safe_load((Path(__file__).parent / "raycluster.yaml").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema, registry=registry)


def _is_valid(manifest: Any) -> bool:
    return bool(_open_validator(_NEWEST).is_valid(manifest))


def _places(value: Any, place: Place = ()) -> Iterator[Place]:
    """Yield the places of all values below a value."""
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield (*place, key)
        yield from _places(value[key], (*place, key))


def _holder(manifest: Any, place: Place) -> Any:
    """Find the mapping or list that has a value."""
    for key in place[:-1]:
        manifest = manifest[key]
    return manifest


_PLACES = list(_places(_read_manifest()))
_FIELDS = [place for place in _PLACES if isinstance(place[-1], str) and place[-2:-1] not in {(key,) for key in _FREE}]


def _name(place: Place) -> str:
    return ".".join(map(str, place))


def _is_required(place: Place) -> bool:
    return place[-1] in _REQUIRED or (place[-1] == "name" and isinstance(place[-2], int))


@pytest.mark.parametrize("version", [_OLDEST, _NEWEST])
def test_it_passes_the_schema_in_the_oldest_and_the_newest_version_of_kubernetes(version: str) -> None:
    found = [f"{error.json_path}: {error.message}" for error in _open_validator(version).iter_errors(_read_manifest())]
    assert found == []


@pytest.mark.parametrize("place", _FIELDS, ids=_name)
def test_a_misspelt_field_is_refused(place: Place) -> None:
    manifest, field = _read_manifest(), str(place[-1])
    holder = _holder(manifest, place)
    holder[field.upper()] = holder[field]
    assert not _is_valid(manifest)


@pytest.mark.parametrize("place", [place for place in _FIELDS if _is_required(place)], ids=_name)
def test_a_missing_field_is_refused(place: Place) -> None:
    manifest = _read_manifest()
    del _holder(manifest, place)[place[-1]]
    assert not _is_valid(manifest)


@pytest.mark.parametrize("place", _PLACES, ids=_name)
def test_a_value_of_another_type_is_refused(place: Place) -> None:
    manifest = _read_manifest()
    holder = _holder(manifest, place)
    holder[place[-1]] = True if isinstance(holder[place[-1]], str) else str(holder[place[-1]])
    assert not _is_valid(manifest)


@pytest.mark.parametrize("place", _BAD_VALUES, ids=_name)
def test_a_value_that_is_not_allowed_is_refused(place: Place) -> None:
    manifest = _read_manifest()
    _holder(manifest, place)[place[-1]] = _BAD_VALUES[place]
    assert not _is_valid(manifest)


def test_the_cluster_has_a_head_without_workers_and_one_group_that_grows_and_shrinks() -> None:
    spec = _read_manifest()["spec"]
    (group,) = spec["workerGroupSpecs"]
    assert spec["enableInTreeAutoscaling"] is True
    assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert spec["authOptions"]["mode"] == "token"


def test_all_pods_have_the_archive_and_the_results_under_the_same_paths() -> None:
    pods = [_container_and_volumes(group) for group in _groups()]
    mounts = {json.dumps(container["volumeMounts"]) for container, _ in pods}
    assert len(mounts) == 1
    for container, volumes in pods:
        claims = {volume["name"]: volume["persistentVolumeClaim"] for volume in volumes}
        mounted = {mount["name"]: mount for mount in container["volumeMounts"]}
        assert {name: mount["mountPath"] for name, mount in mounted.items()} == {"archive": "/archive", "out": "/out"}
        assert mounted.keys() == claims.keys()
        assert all(mounted[name].get("readOnly") == claims[name].get("readOnly") for name in claims)
        assert mounted["archive"]["readOnly"] is True


def test_the_text_names_the_image_and_the_processors_of_the_manifest() -> None:
    text = re.sub(r"```yaml.*?```", "", _SECTION, flags=re.DOTALL)
    containers = [_container_and_volumes(group)[0] for group in _groups()]
    assert {container["image"] for container in containers} == {"bsbatch-ray"}
    assert "`bsbatch-ray`" in text
    assert f"--worker-cpus {containers[1]['resources']['limits']['cpu']} " in text
    for container in containers:
        requested, limits = container["resources"]["requests"], container["resources"]["limits"]
        assert requested.items() >= limits.items()


def test_the_version_of_ray_is_the_one_that_is_tested() -> None:
    pinned = re.search(r"^ray==(\S+)$", (_ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert pinned is not None
    assert _read_manifest()["spec"]["rayVersion"] == pinned[1]
    assert f"ray[default]=={pinned[1]}" in _SECTION


def _groups() -> list[Any]:
    spec = _read_manifest()["spec"]
    return [spec["headGroupSpec"], *spec["workerGroupSpecs"]]


def _container_and_volumes(group: Any) -> tuple[Any, Any]:
    pod = group["template"]["spec"]
    (container,) = pod["containers"]
    return container, pod["volumes"]
