"""Who the proxy is: the node in its bootstrap."""

from collections.abc import Mapping
from typing import Any, Final, Literal

from meshscope.events.proxy import ProxyInputs
from meshscope.inference.reader import Message

UNKNOWN: Final = ProxyInputs(proxy="", cluster="", namespace="")
"""Of a dump without a bootstrap section."""

_MODES: Final[dict[str, Literal["REDIRECT", "TPROXY", "NONE"]]] = {
    "REDIRECT": "REDIRECT",
    "TPROXY": "TPROXY",
    "NONE": "NONE",
}


def read_node(node: Message, state: dict[str, str]) -> ProxyInputs:
    """The inputs of a projection that the node names.

    Args:
        node: The `Node` of the bootstrap; its id is `type~address~pod.namespace~domain`.
        state: What Envoy says of itself is added here.
    """
    kind, address, proxy, domain = (*node.string("id").split("~", 3), "", "", "")[:4]
    metadata: Mapping[str, Any] = node.json("metadata") or {}
    locality = node.message("locality")
    state["node type"] = kind
    state["user_agent_name"] = node.string("user_agent_name")
    version = node.json("user_agent_build_version")
    if version is not None:
        state["user_agent_build_version"] = str(version)
    text = _Texts(metadata)
    addresses = tuple(part for part in text("INSTANCE_IPS").split(",") if part)
    return ProxyInputs(
        proxy=proxy,
        cluster=text("CLUSTER_ID"),
        namespace=text("NAMESPACE") or proxy.rpartition(".")[2],
        labels=_map(metadata.get("LABELS")),
        annotations=_map(metadata.get("ANNOTATIONS")),
        service_account=text("SERVICE_ACCOUNT"),
        addresses=addresses or ((address,) if address else ()),
        node_name=text("NODE_NAME"),
        region="" if locality is None else locality.string("region"),
        zone="" if locality is None else locality.string("zone"),
        sub_zone="" if locality is None else locality.string("sub_zone"),
        network=text("NETWORK"),
        dns_domain=domain,
        istio_version=text("ISTIO_VERSION"),
        revision=_map(metadata.get("LABELS")).get("istio.io/rev") or "default",
        interception=_MODES.get(text("INTERCEPTION_MODE"), "REDIRECT"),
        metadata=metadata,
    )


class _Texts:
    def __init__(self, metadata: Mapping[str, Any]) -> None:
        self._metadata = metadata

    def __call__(self, name: str) -> str:
        value = self._metadata.get(name)
        return value if isinstance(value, str) else ""


def _map(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        return {}
    return {key: item for key, item in value.items() if isinstance(item, str)}
