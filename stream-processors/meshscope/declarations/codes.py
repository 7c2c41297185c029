"""The codes of declarations (`MSC-2xxx`) beside those of manifests."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from meshscope.declarations.finding import Severity


@dataclass(frozen=True, slots=True)
class DeclarationCode:
    """One sort of finding.

    Attributes:
        code: Public and stable.
        title: What sort of thing it is.
        severity: `error`: requests fail for certain, or a resource is refused. `warning`: it does
            not do what it says. `info`: it may be meant so.
        repair: What to do.
        equivalents: Codes of `istioctl analyze` (IST) and Kiali (KIA) that look at the same.
    """

    code: str
    title: str
    severity: Severity
    repair: str
    equivalents: tuple[str, ...] = ()


_CODES: Final = (
    DeclarationCode(
        "MSC-2010",
        "A suppression does not count",
        "warning",
        "Repair what it hides, or write code, day and reason anew.",
        (),
    ),
    DeclarationCode(
        "MSC-2011",
        "A resource could not be examined",
        "warning",
        "Correct the field; `kubectl apply --dry-run=server` names it.",
        ("KIA0001",),
    ),
    DeclarationCode(
        "MSC-2101",
        "An access rule matches no request",
        "warning",
        "Correct the conditions that exclude each other, or remove the rule.",
        (),
    ),
    DeclarationCode(
        "MSC-2102",
        "An access rule is covered by others",
        "warning",
        "Remove the rule, or find out which of the others is too wide.",
        (),
    ),
    DeclarationCode(
        "MSC-2103",
        "All that an ALLOW rule allows is refused by DENY rules",
        "warning",
        "Narrow the DENY rules, or remove the ALLOW rule.",
        (),
    ),
    DeclarationCode(
        "MSC-2105",
        "ALLOW rules about HTTP close a TCP port",
        "warning",
        "Write a rule for the port without conditions about HTTP, or declare the port's protocol.",
        (),
    ),
    DeclarationCode(
        "MSC-2106",
        "A DENY rule refuses more on a TCP port than it says",
        "warning",
        "Name the ports that the rule is about, or declare the port's protocol.",
        (),
    ),
    DeclarationCode(
        "MSC-2107",
        "An identity is asked for that no connection bears",
        "warning",
        "Let the workloads accept mutual TLS and their clients speak it, or ask for less.",
        ("KIA0105",),
    ),
    DeclarationCode(
        "MSC-2108",
        "An ALLOW rule that excludes identities lets plaintext through",
        "warning",
        "Name who may instead of who may not, or set mutual TLS to STRICT.",
        (),
    ),
    DeclarationCode(
        "MSC-2109",
        "Who is denied by identity gets through by plaintext",
        "warning",
        "Set mutual TLS to STRICT, or allow by identity instead of denying.",
        (),
    ),
    DeclarationCode(
        "MSC-2110",
        "Another form of a host escapes an access rule",
        "warning",
        "Add the forms (`HOST:*`), or name the hosts that are allowed.",
        (),
    ),
    DeclarationCode(
        "MSC-2111",
        "Another form of a path escapes an access rule",
        "warning",
        "Set `pathNormalization` to DECODE_AND_MERGE_SLASHES, or name the paths that are allowed.",
        (),
    ),
    DeclarationCode(
        "MSC-2112",
        "ALLOW rules close a port that none of them is about",
        "warning",
        "Write a rule for the port if somebody shall reach it.",
        (),
    ),
    DeclarationCode(
        "MSC-2113",
        "An access policy is only tried out",
        "info",
        "Remove the annotation `istio.io/dry-run` once its effects are known.",
        (),
    ),
    DeclarationCode(
        "MSC-2114",
        "Tokens are validated and nothing requires one",
        "warning",
        "Write an AuthorizationPolicy that asks for a request principal.",
        (),
    ),
    DeclarationCode(
        "MSC-2115",
        "A token is demanded that nobody validates",
        "warning",
        "Write a RequestAuthentication for the issuer and the workloads of the rule.",
        (),
    ),
    DeclarationCode(
        "MSC-2116",
        "An access rule names an identity that does not exist",
        "warning",
        "Correct the namespace or the service account.",
        ("IST0101", "KIA0101", "KIA0106"),
    ),
    DeclarationCode(
        "MSC-2117",
        "An access rule names a method that nobody sends",
        "warning",
        "Write methods in capitals, and those of gRPC as paths.",
        ("KIA0102",),
    ),
    DeclarationCode(
        "MSC-2118",
        "An external authorizer is not known",
        "error",
        "Declare the provider in the mesh configuration.",
        (),
    ),
    DeclarationCode(
        "MSC-2201",
        "Clients speak what the servers refuse",
        "error",
        "Leave `tls` out of the DestinationRule, or change the PeerAuthentication.",
        ("IST0113", "KIA0207", "KIA0208", "KIA0501", "KIA0505", "KIA0506"),
    ),
    DeclarationCode(
        "MSC-2202",
        "A mode of mutual TLS is set for a port of the service",
        "warning",
        "Write the port of the workload, which is the service's `targetPort`.",
        (),
    ),
    DeclarationCode(
        "MSC-2203",
        "Modes of single ports have no effect",
        "warning",
        "Give the PeerAuthentication a selector.",
        (),
    ),
    DeclarationCode(
        "MSC-2204",
        "The certificate of a server is hardly checked",
        "warning",
        "Set caCertificates, or a credential beside a workload selector.",
        ("IST0128", "IST0129"),
    ),
    DeclarationCode(
        "MSC-2301",
        "A route is never reached",
        "warning",
        "Put it before the routes that take its requests, narrow these, or remove it.",
        ("IST0130", "IST0131"),
    ),
    DeclarationCode(
        "MSC-2302",
        "A match of a route changes nothing",
        "info",
        "Remove the match, or correct the one that takes its requests.",
        ("IST0131",),
    ),
    DeclarationCode(
        "MSC-2303",
        "A route leads to a host that nothing declares",
        "error",
        "Correct the host, or declare the service.",
        ("IST0101", "KIA1101"),
    ),
    DeclarationCode(
        "MSC-2304",
        "A route leads to a subset that is not defined",
        "error",
        "Define the subset in the DestinationRule that the clients apply, or correct its name.",
        ("IST0101", "KIA1107"),
    ),
    DeclarationCode(
        "MSC-2305",
        "A route leads to a port that does not exist",
        "error",
        "Correct the port of the destination.",
        ("IST0101",),
    ),
    DeclarationCode(
        "MSC-2306",
        "Two VirtualServices have the same host",
        "warning",
        "Put the routes into one of them, or let it delegate to the other.",
        ("IST0109", "KIA1106"),
    ),
    DeclarationCode(
        "MSC-2307",
        "Weights are not what they seem",
        "warning",
        "Write weights that add up to 100.",
        ("KIA1104", "KIA1105"),
    ),
    DeclarationCode(
        "MSC-2308",
        "Routes for a service of the mesh are bound to gateways alone",
        "info",
        "Add `mesh` to the gateways if clients inside shall follow the routes.",
        (),
    ),
    DeclarationCode(
        "MSC-2309",
        "A gateway does not exist",
        "warning",
        "Correct the name, as NAMESPACE/NAME.",
        ("IST0101", "IST0132", "KIA1102"),
    ),
    DeclarationCode(
        "MSC-2310",
        "A gateway does not serve a host",
        "warning",
        "Add the host to a server of the Gateway.",
        ("IST0132",),
    ),
    DeclarationCode(
        "MSC-2311",
        "A delegate has no effect",
        "warning",
        "Correct the reference, or the conditions of the delegate.",
        (),
    ),
    DeclarationCode(
        "MSC-2312",
        "A timeout leaves no time for retries",
        "info",
        "Raise `timeout`, or lower `attempts` or `perTryTimeout`.",
        (),
    ),
    DeclarationCode(
        "MSC-2313",
        "A regular expression is not valid",
        "error",
        "Correct the pattern; the syntax is that of RE2.",
        ("IST0122",),
    ),
    DeclarationCode(
        "MSC-2314",
        "Requests are routed by tokens that nobody validates",
        "warning",
        "Write a RequestAuthentication for the workloads of the gateway.",
        ("IST0149",),
    ),
    DeclarationCode(
        "MSC-2315",
        "A destination does not say which port",
        "warning",
        "Name the port.",
        ("IST0112",),
    ),
    DeclarationCode(
        "MSC-2316",
        "The hosts of two VirtualServices overlap",
        "info",
        "Make sure that the more specific one says all that shall hold.",
        ("IST0109",),
    ),
    DeclarationCode(
        "MSC-2317",
        "A VirtualService has no routes",
        "warning",
        "Write the routes, or remove it.",
        ("KIA1103",),
    ),
    DeclarationCode(
        "MSC-2401",
        "A DestinationRule is for a host that nothing declares",
        "warning",
        "Correct the host, or declare the service.",
        ("IST0174", "KIA0202"),
    ),
    DeclarationCode(
        "MSC-2402",
        "A DestinationRule is hidden by another",
        "warning",
        "Put both into one DestinationRule.",
        ("KIA0201",),
    ),
    DeclarationCode(
        "MSC-2403",
        "Nothing is in a subset",
        "warning",
        "Correct the labels, or remove the subset.",
        ("IST0173", "KIA0203"),
    ),
    DeclarationCode(
        "MSC-2404",
        "A subset has no labels",
        "info",
        "Give it labels, or leave it out.",
        ("KIA0209",),
    ),
    DeclarationCode(
        "MSC-2501",
        "A selector selects no workload",
        "warning",
        "Correct the labels, or the namespace of the resource.",
        ("IST0101", "IST0127", "KIA0004", "KIA0302"),
    ),
    DeclarationCode(
        "MSC-2502",
        "Several resources claim the same workloads",
        "warning",
        "Put them into one, or give them selectors that exclude each other.",
        ("IST0110", "IST0111", "IST0159", "IST0160", "KIA0002", "KIA0003"),
    ),
    DeclarationCode(
        "MSC-2503",
        "A resource has no effect where it is",
        "warning",
        "Move it, or give it another scope.",
        ("IST0167",),
    ),
    DeclarationCode(
        "MSC-2504",
        "A Sidecar imports nothing by a host",
        "warning",
        "Correct the host, or declare the service.",
        ("KIA1004",),
    ),
    DeclarationCode(
        "MSC-2505",
        "A Sidecar leaves out a service that is used",
        "warning",
        "Add the service to the hosts of its egress.",
        (),
    ),
    DeclarationCode(
        "MSC-2506",
        "A resource is exported to a namespace that does not exist",
        "warning",
        "Correct the name of the namespace.",
        ("KIA0005",),
    ),
    DeclarationCode(
        "MSC-2601",
        "A TCP port of a ServiceEntry has no address",
        "warning",
        "Give it addresses, or a protocol that names the host.",
        ("IST0134",),
    ),
    DeclarationCode(
        "MSC-2602",
        "Services declare the same host or port differently",
        "warning",
        "Make them say the same, or export them to different namespaces.",
        (),
    ),
    DeclarationCode(
        "MSC-2603",
        "The protocol of a port is not declared",
        "info",
        "Name the port `PROTOCOL-…`, or set appProtocol.",
        ("IST0118", "IST0150", "KIA0601"),
    ),
    DeclarationCode(
        "MSC-2604",
        "A port of a workload has two protocols",
        "warning",
        "Give the ports of both services the same protocol.",
        ("IST0116", "IST0137"),
    ),
    DeclarationCode(
        "MSC-2701",
        "A namespace does not say whether it wants sidecars",
        "info",
        "Label it `istio-injection=enabled` or `disabled`.",
        ("IST0102",),
    ),
    DeclarationCode(
        "MSC-2702",
        "The labels of a namespace contradict each other",
        "warning",
        "Keep one of the labels.",
        ("IST0123",),
    ),
    DeclarationCode(
        "MSC-2703",
        "Pods run another proxy than would be injected",
        "warning",
        "Restart them.",
        ("IST0158",),
    ),
    DeclarationCode(
        "MSC-2704",
        "An application runs as the user of the proxy",
        "warning",
        "Let it run as another user than 1337.",
        ("IST0144",),
    ),
    DeclarationCode(
        "MSC-2705",
        "Nothing replaces the image `auto`",
        "warning",
        "Label the namespace or the Pod for injection.",
        ("IST0146", "IST0147"),
    ),
    DeclarationCode(
        "MSC-2801",
        "A port of a Gateway is not open",
        "warning",
        "Add the port to the gateway's Service.",
        ("IST0162",),
    ),
    DeclarationCode(
        "MSC-2802",
        "Two Gateways claim the same host",
        "warning",
        "Put the servers into one Gateway, or give them different hosts.",
        ("IST0145", "KIA0301"),
    ),
    DeclarationCode(
        "MSC-2803",
        "A credential of a Gateway does not serve",
        "error",
        "Write a valid certificate and its key into the Secret.",
        ("IST0161",),
    ),
    DeclarationCode(
        "MSC-2804",
        "A credential of a Gateway does not exist",
        "error",
        "Create the Secret where the gateway's workloads run.",
        ("IST0101",),
    ),
    DeclarationCode(
        "MSC-2901",
        "A patch depends on the order of others",
        "warning",
        "Set a priority, or insert first.",
        ("IST0151", "IST0155"),
    ),
    DeclarationCode(
        "MSC-2902",
        "A patch is ignored",
        "warning",
        "Use an operation that the target has.",
        ("IST0152", "IST0153", "IST0154"),
    ),
    DeclarationCode(
        "MSC-2903",
        "A Telemetry resource has no provider",
        "warning",
        "Name a provider that the mesh configuration has.",
        ("IST0157",),
    ),
    DeclarationCode(
        "MSC-2904",
        "A provider of telemetry is being retired",
        "warning",
        "Send traces by OpenTelemetry.",
        ("IST0002",),
    ),
    DeclarationCode(
        "MSC-2905",
        "A webhook of Istio leads nowhere",
        "warning",
        "Correct its clientConfig.",
        ("IST0139", "IST0163"),
    ),
    DeclarationCode(
        "MSC-2906",
        "istiod fetches keys from anywhere",
        "warning",
        "Set BLOCKED_CIDRS_IN_JWKS_URIS to the networks of the cluster.",
        ("IST0175",),
    ),
    DeclarationCode(
        "MSC-2907",
        "A webhook of Istio is at an address",
        "info",
        "Use a name.",
        ("IST0164",),
    ),
)

DECLARATION_CODES: Final[Mapping[str, DeclarationCode]] = {one.code: one for one in _CODES}
"""The closed table of codes."""
