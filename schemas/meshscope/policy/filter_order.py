"""Kind `filter_order`: in which order the filters that decide run."""

from dataclasses import dataclass

from meshscope.policy.canonical import replace_fields


@dataclass(frozen=True, slots=True)
class FilterOrder:
    """The filters of the chains of one class.

    Attributes:
        filters: Roles in order, equal neighbours once: `custom`, `jwt`, `audit`, `deny`, `allow`,
            `fault`, `cors`, `alpn`, `grpc_stats`, `grpc_web`, `metadata_exchange`, `stats`,
            `router`, `tcp_proxy`, `extension:<name>` … Of inbound chains also `mongo` and `mysql`;
            for outbound ones see `OutboundChain`.
    """

    filters: tuple[str, ...]

    def __post_init__(self) -> None:
        kept: list[str] = []
        for role in self.filters:
            if not kept or kept[-1] != role:
                kept.append(role)
        replace_fields(self, filters=tuple(kept))

    def without_names(self) -> "FilterOrder":
        """Itself: nothing in it is only a name."""
        return self
