"""Kind `filter_order`: which filters Istio installs on a class of chains, in order."""

from meshscope.policy.authorization import Authorization
from meshscope.policy.filter_order import FilterOrder


def inbound_http(
    access: Authorization, *, exchange: bool, tokens: bool, grpc_web: bool, stats: bool
) -> FilterOrder:
    """Order of the filters of inbound HTTP chains.

    Args:
        access: Access rules on these chains.
        exchange: Peers exchange metadata.
        tokens: Tokens are looked at.
        grpc_web: The port is declared gRPC-Web.
        stats: Metrics are reported.
    """
    return FilterOrder(
        _present(
            ("metadata_exchange", exchange),
            ("custom", bool(access.custom)),
            ("jwt", tokens),
            *_local(access),
            ("grpc_web", grpc_web),
            ("grpc_stats", True),
            ("fault", True),
            ("cors", True),
            ("stats", stats),
            ("router", True),
        )
    )


def inbound_tcp(
    access: Authorization, *, exchange: bool, stats: bool, counted: str = ""
) -> FilterOrder:
    """Order of the filters of inbound TCP chains; arguments as for HTTP.

    Args:
        counted: Protocol of the port if its operations are counted; empty: they are not.
    """
    return FilterOrder(
        _present(
            ("metadata_exchange", exchange),
            ("custom", bool(access.custom)),
            *_local(access),
            ("stats", stats),
            (counted, bool(counted)),
            ("tcp_proxy", True),
        )
    )


def outbound_http(*, exchange: bool, alpn: bool, stats: bool) -> FilterOrder:
    """Order of the filters of outbound HTTP chains; `alpn`: Istio's ALPN filter is in use."""
    return FilterOrder(
        _present(
            ("metadata_exchange", exchange),
            ("grpc_stats", True),
            ("alpn", alpn),
            ("fault", True),
            ("cors", True),
            ("stats", stats),
            ("router", True),
        )
    )


def outbound_tcp(*, stats: bool) -> FilterOrder:
    """Order of the filters of outbound TCP chains."""
    return FilterOrder(_present(("stats", stats), ("tcp_proxy", True)))


def _local(access: Authorization) -> tuple[tuple[str, bool], ...]:
    return (
        ("audit", access.audit is not None),
        ("deny", access.deny is not None or access.dry_run_deny is not None),
        ("allow", access.allow is not None or access.dry_run_allow is not None),
    )


def _present(*roles: tuple[str, bool]) -> tuple[str, ...]:
    return tuple(role for role, present in roles if present)
