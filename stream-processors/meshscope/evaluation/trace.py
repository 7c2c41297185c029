"""What an evaluation says."""

from dataclasses import dataclass
from typing import Literal

from meshscope.evaluation.call import Call
from meshscope.evaluation.headers import SentHeaders
from meshscope.policy.key import PolicyKey
from meshscope.policy.target import Target

Stage = Literal[
    "listener",
    "filter_chain",
    "tls",
    "normalization",
    "jwt",
    "authorization",
    "virtual_host",
    "route",
    "fault",
    "cors",
    "rewrite",
    "retry",
    "mirror",
    "destination",
    "endpoints",
    "connection",
]

Reason = Literal[
    "",
    "no_listener",
    "no_filter_chain",
    "tls_error",
    "mtls_error",
    "protocol_error",
    "path_rejected",
    "token_rejected",
    "access_denied",
    "no_virtual_host",
    "no_route",
    "no_cluster",
    "no_endpoints",
    "tls_redirect",
    "fault",
    "preflight",
]
"""Why a request does not reach a destination; the first five close the connection."""


@dataclass(frozen=True, slots=True)
class Step:
    """One decision on the way.

    Attributes:
        stage: Which kind of decision.
        says: What was decided, for readers.
        policy: The policy that decided; None: there is none, and that decides.
        rule: Which of its rules: position, or `namespace/name` and position; empty: none.
        among: Where no rule decides: `namespace/name` of the policies whose rules were looked at.
    """

    stage: Stage
    says: str
    policy: PolicyKey | None = None
    rule: str = ""
    among: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Share:
    """A destination of several.

    Attributes:
        target: Where.
        share: Its share of the requests, more than 0 and at most 1.
        authority: Host as sent there; empty for TCP, and where it is the endpoint's name.
        headers: As sent there; empty for TCP.
    """

    target: Target
    share: float
    authority: str = ""
    headers: SentHeaders = SentHeaders()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What happens to the request in the end.

    Attributes:
        result: `forwarded`; `answered` by the proxy with `status`; `closed`: the connection is;
            `undecided`: it depends on what is not modelled, `detail` says on what.
        reason: Why it is not forwarded; empty also for answers that a route asks for.
        status: Of HTTP; 0: none. gRPC clients get the `grpc-status` that matches it.
        grpc_status: Where a rule gives one; None: none does.
        location: Of a redirect.
        destinations: Where it may be sent; by chance if there are several. A set.
        target: Path with query as sent on; empty where not forwarded.
        timeout_ms: For the whole answer; 0: no limit.
        detail: In words.
    """

    result: Literal["forwarded", "answered", "closed", "undecided"]
    reason: Reason = ""
    status: int = 0
    grpc_status: int | None = None
    location: str = ""
    destinations: tuple[Share, ...] = ()
    target: str = ""
    timeout_ms: int = 0
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Trace:
    """A call, every decision about it in order, and the outcome; the last step decides."""

    call: Call
    steps: tuple[Step, ...]
    outcome: Outcome
