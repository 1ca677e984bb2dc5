"""A Ray cluster of this machine's loopback address, for tests and benchmarks; its processes are ended by their ids."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ray looks for an address outside otherwise, and uses it in place of 127.0.0.1
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_BACKEND_LOG_LEVEL": "error",
    "PYTHONPATH": os.pathsep.join(sys.path),
}
_HEAD, _OTHERS = "127.0.0.1", "127.0.0.2"
"""Drivers connect to a node of their own address, so to the head, which is not killed."""
_STORE = 80 << 20


class LoopbackCluster:
    """A head and further nodes. Each has one processor for workers."""

    def __init__(self, folder: str, cpus: int) -> None:
        cluster = import_module("ray.cluster_utils").Cluster
        self._cluster = cluster(
            initialize_head=True, head_node_args={**_node(cpus, _HEAD), "temp_dir": folder, "include_dashboard": False}
        )
        self.nodes: list[Any] = []

    @property
    def address(self) -> str:
        return str(self._cluster.address)

    def add_node(self, cpus: int = 1) -> None:
        self.nodes.append(self._cluster.add_node(**_node(cpus, _OTHERS)))

    def control(self) -> int:
        """Return the process id of the head's control store, which knows and ends the workers."""
        return int(self._cluster.head_node.all_processes["gcs_server"][0].process.pid)

    def raylets(self) -> list[int]:
        """Return the process ids of the nodes' own processes, but for the head's."""
        return [int(node.all_processes["raylet"][0].process.pid) for node in self.nodes]

    def kill_node(self) -> None:
        """Kill the node that came last: SIGKILL to its raylet, after which its workers end, too."""
        self._cluster.remove_node(self.nodes.pop(), allow_graceful=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._cluster.shutdown()


def _node(cpus: int, address: str) -> dict[str, object]:
    return {"num_cpus": cpus, "node_ip_address": address, "object_store_memory": _STORE}


@contextmanager
def loopback_cluster(cpus: int = 1, settings: Mapping[str, str] = MappingProxyType({})) -> Iterator[LoopbackCluster]:
    """Start a head whose folder is deleted at the end; child processes inherit the environment.

    Parameters
    ----------
    settings
        Further variables of the environment.
    """
    before = dict(os.environ)
    folder = tempfile.mkdtemp(prefix="r", dir="/tmp")  # paths of sockets have at most 107 bytes
    # Ray notes the newest cluster there. Its own folder is missing on a new machine, and shared by all clusters
    os.environ.update({**ENVIRONMENT, "RAY_TMPDIR": folder, **settings})
    Path(folder, "ray").mkdir()
    try:
        with LoopbackCluster(f"{folder}/ray", cpus) as cluster:
            yield cluster
    finally:
        os.environ.clear()
        os.environ.update(before)
        shutil.rmtree(folder, ignore_errors=True)
