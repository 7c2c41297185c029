"""An outcome in words."""

from typing import Final

from meshscope.evaluation.trace import Outcome, Reason

REASONS: Final[dict[Reason, str]] = {
    "": "",
    "no_listener": "nothing listens there",
    "no_filter_chain": "no filter chain takes the connection",
    "tls_error": "the TLS handshake fails",
    "mtls_error": "the handshake of mutual TLS fails",
    "protocol_error": "the bytes are not of the protocol that is expected",
    "path_rejected": "the path is refused",
    "token_rejected": "the token is refused",
    "access_denied": "access is denied",
    "no_virtual_host": "no virtual host takes the request",
    "no_route": "no rule takes the request",
    "no_cluster": "the destination does not exist",
    "no_endpoints": "the destination has no endpoints",
    "tls_redirect": "only HTTPS is served",
    "fault": "a fault is injected",
    "preflight": "a preflight request of CORS is answered",
}
"""Every reason in words."""


def outcome_words(outcome: Outcome) -> str:
    """What happens in the end: `answered with 403: access is denied`."""
    reason = REASONS[outcome.reason] or outcome.detail
    match outcome.result:
        case "forwarded":
            to = ", ".join(
                str(share.target) + (f" ({share.share:.4g})" if share.share < 1 else "")
                for share in outcome.destinations
            )
            limit = f" within {outcome.timeout_ms} ms" if outcome.timeout_ms else ""
            return f"forwarded to {to}{limit}"
        case "answered":
            status = f"answered with {outcome.status}"
            if outcome.grpc_status is not None:
                status += f" (gRPC {outcome.grpc_status})"
            if outcome.location:
                status += f", sent to {outcome.location}"
            return f"{status}: {reason}" if reason else status
        case "closed":
            return f"connection closed: {reason}"
    return f"undecided: {reason}"
