"""The sidecars that `meshscope trace` asks: what is declared for each, and what it holds."""

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from meshscope.analysis.mesh import has_sidecar
from meshscope.cli.given import Given, Infer, NotVerified, Project
from meshscope.cli.identity import with_node
from meshscope.cli.report import Finding
from meshscope.comparison.meaning import accepts
from meshscope.comparison.subjects import subject
from meshscope.evaluation.connection import Peer
from meshscope.events.proxy import ProxyInputs
from meshscope.events.resource import Resource
from meshscope.inference.result import Inference
from meshscope.policy.key import PolicyKey
from meshscope.policy.kinds import Kind
from meshscope.policy.policy import Policy
from meshscope.projection.mesh import DEFAULT_DOMAIN, Mesh
from meshscope.projection.meshes import meshes
from meshscope.projection.result import Projection
from meshscope.projection.services.instances import CANONICAL_NAME, spiffe
from meshscope.projection.services.owners import workload_name

View = Literal["declared", "held"]

_KINDS: Final = {"router": "a gateway", "waypoint": "a waypoint", "ztunnel": "a ztunnel"}


@dataclass(frozen=True, eq=False)
class Sidecar:
    """One sidecar. Equality is identity.

    Attributes:
        inputs: What it says of itself.
        identity: SPIFFE name of its service account.
        projection: What is declared for it; None: nothing at all is declared.
        inference: What it holds; None: there is no dump of it.
        file: That dump.
    """

    inputs: ProxyInputs
    identity: str
    projection: Projection | None
    inference: Inference | None = None
    file: str = ""
    _declared: dict[PolicyKey, Policy] = field(default_factory=dict)

    def policies(self, view: View) -> Mapping[PolicyKey, Policy]:
        """Its policies; of a sidecar without a dump those that are declared, and the reverse."""
        if self.inference is not None and (view == "held" or self.projection is None):
            return self.inference.policies
        if self.projection is None:
            return {}
        if not self.projection.alternatives or self.inference is None:
            return self.projection.policies
        if not self._declared:
            self._declared.update(self._with_alternatives(self.projection, self.inference))
        return self._declared

    @staticmethod
    def _with_alternatives(
        projection: Projection, inference: Inference
    ) -> Mapping[PolicyKey, Policy]:
        """What is declared; of several possible outcomes the one that is held, if one is."""
        chosen = dict(projection.policies)
        for place, outcomes in projection.alternatives.items():
            held = inference.policies.get(place)
            for outcome in outcomes:
                if held is None and outcome is None:
                    chosen.pop(place, None)
                elif held is not None and outcome is not None and accepts(outcome, held):
                    chosen[place] = outcome
        return chosen

    def peer(self, view: View) -> Peer:
        """The sidecar as one end of a connection."""
        identity = self.identity
        if view == "held" and self.inference is not None:
            shown = (one for one in self.inference.state.certificates if one.role == "workload")
            identity = next((one.identity for one in shown if one.identity), identity)
        return Peer(self.inputs.proxy, self.policies(view), identity, self._address)

    @property
    def _address(self) -> str:
        return self.inputs.addresses[0] if self.inputs.addresses else ""

    def doubts(self, view: View, consulted: Iterable[PolicyKey]) -> Iterator[str]:
        """Why what these policies say may not be all, in words."""
        keys = tuple(consulted)
        if view == "declared" and self.projection is not None:
            for part in self.projection.unverifiable:
                if any(part.covers(key) for key in keys):
                    yield f"{part.reason} ({part.source})" if part.source else part.reason
            for key in keys:
                outcomes = self.projection.alternatives.get(key)
                held = None if self.inference is None else self.inference.policies.get(key)
                if outcomes and not (held and any(one and accepts(one, held) for one in outcomes)):
                    yield (
                        f"the age of resources is not known: {len(outcomes)} outcomes are possible "
                        f"for {subject(key)}, and one of them is shown"
                    )
        if view == "held" and self.inference is not None:
            for lacking in self.inference.incomplete:
                if any(key.kind in lacking.kinds for key in keys):
                    yield f"the configuration dump lacks {lacking.section}: {lacking.reason}"
        places = {str(key): key for key in keys}
        for key in self.policies(view):
            if key.kind is Kind.EXTENSION and (at := _within(key["location"], places)) is not None:
                yield f"{key['name']} stands in {subject(at)}, and what that does is not modelled"


def _within(location: str, places: Mapping[str, PolicyKey]) -> PolicyKey | None:
    """The policy in which a part of the configuration stands."""
    for text, key in places.items():
        if location == text or location.startswith(f"{text}/") or text.startswith(f"{location}/"):
            return key
    return None


@dataclass(frozen=True, slots=True)
class _Dump:
    """A dump, packed, since most of them are never asked for."""

    file: str
    packed: bytes
    addresses: tuple[str, ...]


class Sidecars:
    """The sidecars of a mesh, each looked into when it is asked for.

    Attributes:
        findings: Dumps that could not be read.
        notes: What is to be known of the dumps besides.
    """

    def __init__(
        self,
        given: Given,
        dumps: Iterable[tuple[str, bytes | Finding]],
        infer: Infer,
        project: Project,
    ) -> None:
        self.findings: list[Finding] = []
        self.notes: list[str] = []
        self._given = given
        self._infer = infer
        self._project = project
        self._known: dict[str, Sidecar] = {}
        self._pods = {
            f"{one.name}.{one.namespace}": one
            for one in given.resources
            if (one.group, one.kind) == ("", "Pod")
        }
        self._dumps: dict[str, _Dump] = {}
        self._others: dict[str, str] = {}
        for path, data in dumps:
            self._index(path, data)
        self._at = {
            address: name for name, pod in self._pods.items() for address in _addresses(pod)
        }
        for name, dump in self._dumps.items():
            self._at.update((address, name) for address in dump.addresses)

    def _index(self, path: str, data: bytes | Finding) -> None:
        try:
            dump = self._given.dump(path, data)
        except NotVerified as error:
            if error.finding is not None:
                self.findings.append(error.finding)
            else:
                self.notes.append(f"{path} is left out: {error.reason}")
            return
        kind, inputs = self._node(dump)
        if kind != "sidecar":
            self._others[inputs.proxy] = _KINDS.get(kind, f"a proxy of type {kind!r}")
        elif inputs.proxy in self._dumps:
            earlier = self._dumps[inputs.proxy].file
            self.notes.append(f"{path} is left out: {inputs.proxy} was read before, from {earlier}")
        elif not isinstance(data, Finding):
            self._dumps[inputs.proxy] = _Dump(path, zlib.compress(data, 1), inputs.addresses)

    def _node(self, dump: Mapping[str, Any]) -> tuple[str, ProxyInputs]:
        """Type and inputs of the proxy that a dump is of."""
        found = self._infer(
            {"configs": [one for one in dump["configs"] if "BootstrapConfigDump" in one["@type"]]}
        )
        return dict(found.state.node).get("node type", "sidecar"), found.proxy

    def named(self, workload: str) -> tuple[str, ...]:
        """The Pods that a name means: a Pod `name.namespace`, those of a workload, or of an app.

        The namespace may stand in front (`namespace/name`) or be left out. Pods with a dump come
        first.
        """
        namespace, slash, name = workload.rpartition("/")
        name = f"{name}.{namespace}" if slash else name
        known = sorted({*self._pods, *self._dumps})
        exact = [one for one in known if one == name or one.rpartition(".")[0] == name]
        found = exact or self._called(name, workload_name) or self._called(name, canonical_name)
        return tuple(sorted(found, key=lambda one: one not in self._dumps))

    def _called(self, name: str, by: Callable[[Resource], str]) -> list[str]:
        return sorted(
            one
            for one, pod in self._pods.items()
            if (called := by(pod)) and name in (called, f"{called}.{pod.namespace}")
        )

    @property
    def names(self) -> tuple[str, ...]:
        """All Pods with a sidecar, and all proxies of which there is a dump."""
        pods = (name for name, pod in self._pods.items() if has_sidecar(pod))
        return tuple(sorted({*pods, *self._dumps}))

    def sidecar(self, name: str) -> Sidecar | None:
        """A sidecar by the name of its Pod; None: it has none."""
        pod = self._pods.get(name)
        if name not in self._dumps and (pod is None or not has_sidecar(pod)):
            return None
        if name not in self._known:
            self._known[name] = self._looked_into(name)
        return self._known[name]

    def _looked_into(self, name: str) -> Sidecar:
        dump = self._dumps.get(name)
        inference = None
        if dump is not None:
            data = zlib.decompress(dump.packed)
            inference = self._infer(self._given.dump(dump.file, data))
            inputs = inference.proxy
        else:
            _, inputs = self._node(with_node({"configs": []}, self._given.node(name) or {}))
        plane = self._given.settings(inputs.revision)
        resources = self._given.resources
        projection = self._project(plane, resources, inputs) if resources else None
        domain = plane.mesh_config.get("trustDomain") or DEFAULT_DOMAIN
        identity = spiffe(domain, inputs.namespace, inputs.service_account or "default")
        return Sidecar(inputs, identity, projection, inference, dump.file if dump else "")

    def at(self, address: str, view: View) -> Peer:
        """Who is at an address."""
        name = self._at.get(address)
        if name is None:
            return Peer(says=f"no Pod and no dump has the address {address}")
        found = self.sidecar(name)
        if found is not None:
            return found.peer(view)
        if name in self._others:
            return Peer(name, says=f"it is {self._others[name]}; only sidecars are traced")
        return Peer(name, says="it has no sidecar", takes_all=True)

    def mesh(self, sidecar: Sidecar) -> Mesh:
        """The mesh as a sidecar sees it."""
        plane = self._given.settings(sidecar.inputs.revision)
        return meshes(plane, self._given.resources, sidecar.inputs)[0]

    def addresses(self, selector: Mapping[str, str], namespace: str) -> tuple[str, ...]:
        """First addresses of the Pods that a selector chooses."""
        return tuple(
            addresses[0]
            for _, pod in sorted(self._pods.items())
            if pod.namespace == namespace and selector.items() <= pod.labels.items()
            if (addresses := _addresses(pod))
        )

    def pod_address(self, name: str) -> str:
        """First address of a Pod `name.namespace`; empty: there is none."""
        pod = self._pods.get(name)
        return next(iter(_addresses(pod)), "") if pod is not None else ""


def canonical_name(pod: Resource) -> str:
    """What Istio calls the service that a Pod stands for; empty: no label says it."""
    return next((pod.labels[name] for name in CANONICAL_NAME if name in pod.labels), "")


def _addresses(pod: Resource) -> tuple[str, ...]:
    status: Mapping[str, Any] = pod.body.get("status") or {}
    found = tuple(one["ip"] for one in status.get("podIPs") or () if one.get("ip"))
    return found or ((status["podIP"],) if status.get("podIP") else ())
