"""Which cluster is meant, and what is said where a kubeconfig does not tell."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from accelform.errors import ContextUnknown, KubeconfigUnusable
from accelform.targets.kubernetes import kubeconfig
from accelform.targets.kubernetes.client import Cluster

TWO = """
apiVersion: v1
kind: Config
clusters:
  - {name: one, cluster: {server: "http://10.0.0.1:8080"}}
  - {name: two, cluster: {server: "https://two.example:6443"}}
users:
  - {name: me, user: {token: SECRET-TOKEN}}
contexts:
  - {name: east, context: {cluster: one, user: me}}
  - {name: west, context: {cluster: two, user: me}}
  - {name: broken, context: {cluster: three, user: me}}
"""


@pytest.fixture
def two(tmp_path: Path) -> str:
    path = tmp_path / "config"
    path.write_text(TWO)
    return str(path)


def test_a_context_is_a_cluster(two: str) -> None:
    """Nothing is sent to connect; server and host come from the context's cluster."""
    with Cluster.connect(two, "west") as cluster:
        assert (str(cluster), cluster.server, cluster.fqdn) == (
            "cluster 'west'",
            "https://two.example:6443",
            "two.example",
        )


def test_the_current_context(two: str) -> None:
    """Without a name the current context is meant; where there is none, those to choose from are told."""
    with pytest.raises(ContextUnknown, match=r"no current context; set kube_context .* it has east, west, broken"):
        Cluster.connect(two)
    Path(two).write_text(TWO + "current-context: east\n")
    with Cluster.connect(two) as cluster:
        assert cluster.context == "east"


def test_a_wrong_context_lists_the_right_ones(two: str) -> None:
    """A context that is not there is told with those that are."""
    with pytest.raises(ContextUnknown, match="has no context 'north'; it has east, west, broken"):
        Cluster.connect(two, "north")


def test_a_context_without_cluster(two: str) -> None:
    """A context whose cluster is missing cannot be used, and no secret is told."""
    with pytest.raises(KubeconfigUnusable, match="cannot be used for context 'broken'") as refused:
        Cluster.connect(two, "broken")

    assert "SECRET" not in str(refused.value)


@pytest.mark.parametrize("content", ["", "just text", "a: [1,", "[]", "clusters: 7\ncontexts: []"])
def test_what_is_no_kubeconfig(tmp_path: Path, content: str) -> None:
    """Any other file is refused by name."""
    path = tmp_path / "config"
    path.write_text(content)

    with pytest.raises(KubeconfigUnusable, match=str(path)):
        Cluster.connect(str(path), "east")


def test_a_missing_file(tmp_path: Path) -> None:
    """A path that leads nowhere, or to a folder, is told."""
    with pytest.raises(KubeconfigUnusable, match="there is no kubeconfig at"):
        Cluster.connect(str(tmp_path / "none"), "east")
    with pytest.raises(KubeconfigUnusable, match="cannot be read"):
        Cluster.connect(str(tmp_path), "east")


def test_where_kubeconfigs_are(two: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The setting wins over $KUBECONFIG, which wins over ~/.kube/config; several files are laid over each other."""
    monkeypatch.setenv("KUBECONFIG", f"/a{os.pathsep}/b")
    assert kubeconfig.files("") == f"/a{os.pathsep}/b"
    assert kubeconfig.files(two) == two
    monkeypatch.delenv("KUBECONFIG")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert kubeconfig.files("") == str(tmp_path / ".kube" / "config")

    more = tmp_path / "more"
    more.write_text("contexts:\n  - {name: north, context: {cluster: one, user: me}}\ncurrent-context: north\n")
    with Cluster.connect(f"{two}{os.pathsep}{more}") as cluster:
        assert cluster.server == "http://10.0.0.1:8080"
