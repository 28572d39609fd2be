"""Which tools the sandbox knows, in which version, and what each is built from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

# Minor release -> the patch release that is pinned by a wrapper module under gobuild/.
KUBERNETES_VERSIONS = {"1.37": "1.37.1", "1.36": "1.36.4"}
DEFAULT_KUBERNETES_VERSION = "1.37.1"

GOBUILD_FOLDER = Path(__file__).resolve().parent.parent / "gobuild"

# The commands of k8s.io/kubernetes that make a control plane and a node.
KUBERNETES_COMMANDS = (
    "kube-apiserver",
    "kubectl",
    "kubelet",
    "kube-controller-manager",
    "kube-scheduler",
    "kube-proxy",
)


@dataclass(frozen=True)
class Family:
    """Tools that come from one Go module in one version.

    Attributes
    ----------
    name, version
        For example "kubernetes", "1.37.1".
    wrapper
        The folder with the go.mod and go.sum that hold every module of its build.
    stamps
        Go variables the linker sets, so that the binary knows its version.
    tags
        Go build tags.
    """

    name: str
    version: str
    wrapper: Path
    stamps: tuple[tuple[str, str], ...] = ()
    tags: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


@dataclass(frozen=True)
class Tool:
    """One binary.

    Attributes
    ----------
    name
        The name it is asked for.
    binary
        The file's name on a PATH (helm 3 is asked for as "helm3" but is called helm).
    package
        The Go package of its main function.
    version_arguments
        Arguments with which it prints its version and ends.
    """

    name: str
    binary: str
    family: Family
    package: str
    version_arguments: tuple[str, ...] = ("--version",)

    def __str__(self) -> str:
        return f"{self.name} {self.family.version}"


def catalog(*, kubernetes_version: str = DEFAULT_KUBERNETES_VERSION) -> dict[str, Tool]:
    """All tools by name, with those of Kubernetes in the given version; ValueError if that is not pinned."""
    tools = (*_kubernetes(pinned_kubernetes_version(kubernetes_version)), *_OTHERS)
    return {tool.name: tool for tool in tools}


def pinned_kubernetes_version(version: str) -> str:
    """The pinned patch release for "1.37", "1.37.1" or "v1.37.1"; ValueError names the versions there are."""
    plain = version.removeprefix("v")
    full = KUBERNETES_VERSIONS.get(plain, plain)
    if full not in KUBERNETES_VERSIONS.values():
        raise ValueError(
            f"Kubernetes {version} is not pinned here; there are {', '.join(KUBERNETES_VERSIONS.values())}"
        )
    return full


def _kubernetes(version: str) -> tuple[Tool, ...]:
    major, minor, _ = version.split(".")
    # Without the stamps /version says v0.0.0 and Helm's kubeVersion check fails.
    stamps = tuple(
        (f"k8s.io/{package}.{variable}", value)
        for package in ("component-base/version", "client-go/pkg/version")
        for variable, value in (
            ("gitVersion", f"v{version}"),
            ("gitMajor", major),
            ("gitMinor", minor),
            ("gitTreeState", "clean"),
        )
    )
    family = Family("kubernetes", version, GOBUILD_FOLDER / f"kubernetes-{major}.{minor}", stamps)
    return tuple(
        Tool(
            command,
            command,
            family,
            f"k8s.io/kubernetes/cmd/{command}",
            ("version", "--client") if command == "kubectl" else ("--version",),
        )
        for command in KUBERNETES_COMMANDS
    )


def _family(name: str, version: str, *stamps: tuple[str, str]) -> Family:
    return Family(name, version, GOBUILD_FOLDER / name, stamps)


_ETCD = _family("etcd", "3.7.3")
# The Go module's v0.315.0 is the release 3.15.0. The tags leave out two dozen clouds' service discovery, which takes
# longest to compile.
_PROMETHEUS = Family(
    "prometheus",
    "3.15.0",
    GOBUILD_FOLDER / "prometheus",
    stamps=(
        ("github.com/prometheus/common/version.Version", "3.15.0"),
        ("github.com/prometheus/common/version.Branch", "HEAD"),
    ),
    tags=("remove_all_sd", "enable_kubernetes_sd", "enable_dns_sd"),
)
_KWOK = _family("kwok", "0.8.0", ("sigs.k8s.io/kwok/pkg/consts.Version", "v0.8.0"))
_HELM4 = _family("helm4", "4.3.1", ("helm.sh/helm/v4/internal/version.version", "v4.3.1"))
_HELM3 = _family("helm3", "3.22.0", ("helm.sh/helm/v3/internal/version.version", "v3.22.0"))
_KUBECONFORM = _family("kubeconform", "0.8.0", ("main.version", "v0.8.0"))
_KUBE_STATE_METRICS = _family(
    "kube-state-metrics", "2.18.0", ("github.com/prometheus/common/version.Version", "v2.18.0")
)

_OTHERS = (
    Tool("etcd", "etcd", _ETCD, "go.etcd.io/etcd/server/v3"),
    Tool("prometheus", "prometheus", _PROMETHEUS, "github.com/prometheus/prometheus/cmd/prometheus"),
    Tool("promtool", "promtool", _PROMETHEUS, "github.com/prometheus/prometheus/cmd/promtool"),
    Tool("kwok", "kwok", _KWOK, "sigs.k8s.io/kwok/cmd/kwok"),
    Tool("helm", "helm", _HELM4, "helm.sh/helm/v4/cmd/helm", ("version", "--short")),
    Tool("helm3", "helm", _HELM3, "helm.sh/helm/v3/cmd/helm", ("version", "--short")),
    Tool("kubeconform", "kubeconform", _KUBECONFORM, "github.com/yannh/kubeconform/cmd/kubeconform", ("-v",)),
    Tool("kube-state-metrics", "kube-state-metrics", _KUBE_STATE_METRICS, "k8s.io/kube-state-metrics/v2", ("version",)),
)
