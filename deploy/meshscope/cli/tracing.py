"""From the inputs of `meshscope trace` to its report, without reading or writing anything."""

import json
from base64 import urlsafe_b64decode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from meshscope.algebra.request import Request
from meshscope.cli.dialled import Dialled, dial
from meshscope.cli.given import Given, Infer, Inputs, Project, places, read_declared
from meshscope.cli.report import finding
from meshscope.cli.trace_report import Parted, TraceReport, legs_of
from meshscope.cli.traced import Sidecar, Sidecars, View
from meshscope.evaluation import Call, Step, Token, split_target
from meshscope.evaluation.journey import Journey, journey
from meshscope.evaluation.parting import Parting, partings
from meshscope.policy.source import ResourceRef
from meshscope.watcher.problem import LOSES_INPUT

_BEARER: Final = "Bearer "
_LESS_TELLING: Final = ("Service", "ServiceEntry", "EndpointSlice", "Pod", "Node", "Namespace")
"""Kinds that only say that something is there; what decides comes first."""


class UnknownWorkload(Exception):
    """No sidecar is meant by a name; the message tells which there are."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is traced.

    Attributes:
        source: Name of the workload that sends it.
        to: `HOST[:PORT]`.
        method: Of HTTP.
        target: Path, with query.
        headers: Names and values.
        says_http: Method, path or headers were given, so it is HTTP even where the port is not.
    """

    source: str
    to: str
    method: str = "GET"
    target: str = "/"
    headers: tuple[tuple[str, str], ...] = ()
    says_http: bool = False


def follow(inputs: Inputs, asked: Asked, infer: Infer, project: Project) -> TraceReport:
    """Follow a request through both sidecars, as declared and as held.

    Raises:
        UnknownWorkload: No sidecar is meant by `asked.source`.
        CannotDial: It cannot be said what `asked.to` is.
    """
    read = read_declared(inputs)
    given = Given(inputs, read.resources)
    sidecars = Sidecars(given, inputs.dumps, infer, project)
    notes: list[str] = []
    source = _source(asked.source, sidecars, notes)
    dialled = dial(asked.to, source, sidecars)
    call = _call(asked, dialled, notes)

    def seen(view: View) -> Journey:
        return journey(source.peer(view), call, lambda address: sidecars.at(address, view))

    said = seen("declared") if source.projection is not None else None
    met = [said, seen("held")] if said else [seen("held")]
    on_way = {name: found for name in _names(met) if (found := sidecars.sidecar(name)) is not None}
    dumps = {name: one.file for name, one in on_way.items() if one.file}
    held = met[-1] if dumps else None
    accounts: dict[View, Journey] = {}
    if said is not None:
        accounts["declared"] = said
    if held is not None:
        accounts["held"] = held
    legs = legs_of(
        accounts, lambda view, proxy, step: _resources(step, sidecars.sidecar(proxy), view)
    )
    return TraceReport(
        source=source.inputs.proxy,
        dialled=dialled,
        call=call,
        declared=legs.get("declared"),
        held=legs.get("held"),
        dumps=dumps,
        without_dump=tuple(name for name, one in on_way.items() if not one.file),
        parted=_parted(said, held),
        open=tuple(
            dict.fromkeys(
                (
                    *(("nothing is declared in these files",) if said is None else ()),
                    *((inputs.lacks,) if inputs.lacks else ()),
                    *_open(said, "declared", sidecars),
                    *_open(held, "held", sidecars),
                )
            )
        ),
        notes=(*sidecars.notes, *notes, *dialled.notes),
        findings=(
            *inputs.unreadable,
            *(finding(one) for one in read.problems if one.code in LOSES_INPUT),
            *given.findings,
            *sidecars.findings,
        ),
        places=places(read.resources),
    )


def _source(workload: str, sidecars: Sidecars, notes: list[str]) -> Sidecar:
    names = sidecars.named(workload)
    found = next((one for name in names if (one := sidecars.sidecar(name)) is not None), None)
    if found is None:
        if names:
            raise UnknownWorkload(f"{names[0]} has no sidecar, or not one that is traced")
        known = sidecars.names
        listed = ", ".join(known[:10]) + (f" and {len(known) - 10} more" if len(known) > 10 else "")
        raise UnknownWorkload(
            f"no workload is called {workload!r}; there are {listed}"
            if known
            else f"no workload is called {workload!r}: the files hold no Pod and no dump"
        )
    if len(names) > 1:
        notes.append(
            f"{workload} has {len(names)} Pods; the request starts from {found.inputs.proxy}"
        )
    return found


def _call(asked: Asked, dialled: Dialled, notes: list[str]) -> Call:
    path, query = split_target(asked.target)
    headers = {name.lower(): value for name, value in asked.headers}
    is_http = dialled.is_http or (asked.says_http and not dialled.encrypted)
    if dialled.encrypted and asked.says_http:
        notes.append(
            "the application encrypts what it sends to this port: sidecars see no method, path or "
            "header"
        )
    token = _bearer(headers.get("authorization", ""))
    if token is not None:
        notes.append("signature and times of the token are not checked; it counts as valid")
    request = Request(
        method=asked.method,
        authority=headers.pop("host", dialled.authority),
        path=path,
        query=query,
        headers=tuple(headers.items()),
        transport="tls" if dialled.encrypted else "plaintext",
        destination_address=dialled.address,
        port=dialled.port,
        server_name=dialled.host if dialled.encrypted else "",
    )
    protocol = "http1" if is_http and dialled.protocol == "tcp" else dialled.protocol
    return Call("outbound", request, protocol, token)


def _bearer(value: str) -> Token | None:
    """The token in a header; None: there is none that can be read."""
    parts = value.removeprefix(_BEARER).split(".")
    if not value.startswith(_BEARER) or len(parts) != 3:
        return None
    try:
        claims = json.loads(urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except ValueError:
        return None
    return Token(claims) if isinstance(claims, dict) else None


def _names(journeys: Sequence[Journey]) -> tuple[str, ...]:
    """The workloads that the request meets."""
    return tuple(
        dict.fromkeys(
            name
            for one in journeys
            for name in (one.source, *(arrival.peer for arrival in one.arrivals))
            if name
        )
    )


def _resources(step: Step, sidecar: Sidecar | None, view: View) -> tuple[ResourceRef, ...]:
    """The resources that say a step: those that decide, else those that are merely there."""
    if step.stage == "authorization":
        named = (step.rule.partition("[")[0],) if step.rule else step.among
        return tuple(
            ResourceRef("AuthorizationPolicy", namespace, name)
            for namespace, _, name in (one.rpartition("/") for one in named)
        )
    if sidecar is None or step.policy is None:
        return ()
    policies = (
        sidecar.policies(view).get(step.policy),
        sidecar.policies("declared").get(step.policy),
    )
    # Envoy is not told the names of all resources.
    sources = next((one.sources for one in policies if one is not None and one.sources), ())
    return tuple(one for one in sources if one.kind not in _LESS_TELLING) or sources


def _parted(declared: Journey | None, held: Journey | None) -> tuple[Parted, ...]:
    """Where the two part; what is said of several sidecars stands once."""
    if declared is None or held is None:
        return ()
    alike: dict[tuple[object, ...], list[Parting]] = {}
    for one in partings(declared, held):
        alike.setdefault((one.side, one.declared, one.held, one.outcome), []).append(one)
    return tuple(
        Parted(
            replace(group[0], endpoints=tuple(at for one in group for at in one.endpoints)),
            tuple(dict.fromkeys(one.proxy for one in group)),
        )
        for group in alike.values()
    )


def _open(found: Journey | None, view: View, sidecars: Sidecars) -> Iterator[str]:
    """What is not known on the way, and could change what is said."""
    if found is None:
        return
    consulted = [(found.source, found.consulted)]
    consulted += [(arrival.peer, arrival.consulted) for arrival in found.arrivals]
    for name, keys in consulted:
        sidecar = sidecars.sidecar(name)
        if sidecar is not None and keys:
            # A sidecar without a dump is taken as declared, and so are its doubts.
            known: View = view if view == "declared" or sidecar.inference else "declared"
            for doubt in sidecar.doubts(known, keys):
                yield f"{name}: {doubt}"
    for arrival in found.arrivals:
        for doubt in arrival.doubts:
            yield f"{found.source} to {arrival.endpoint}: {doubt} is not known"
