"""Access logs, tracing and metrics."""

from typing import Any, Final

from meshscope.events.proxy import ProxyInputs
from meshscope.inference.reader import Message
from meshscope.policy.canonical import canonical_json
from meshscope.policy.telemetry import AccessLog, Metrics, Tracing

_FILE: Final = "envoy.extensions.access_loggers.file.v3.FileAccessLog"
_HUNDREDTHS: Final = 100


def identity_tags(proxy: ProxyInputs) -> frozenset[str]:
    """Tracing tags that only repeat who the proxy is, as `name=value`."""
    labels = proxy.labels
    values = {
        "canonical_revision": labels.get("service.istio.io/canonical-revision") or "latest",
        "canonical_service": labels.get("service.istio.io/canonical-name") or "unknown",
        "cluster_id": proxy.metadata.get("CLUSTER_ID", ""),
        "mesh_id": proxy.metadata.get("MESH_ID", ""),
        "namespace": proxy.metadata.get("NAMESPACE", ""),
    }
    return frozenset(f"istio.{name}={value}" for name, value in values.items())


def access_logs(parent: Message, place: str, at: str = "connection") -> tuple[AccessLog, ...]:
    """The access logs of a listener, connection manager or TCP proxy.

    Args:
        parent: That.
        place: Key of the `telemetry` policy that what is left belongs to.
        at: See `AccessLog`.
    """
    found = []
    for item in parent.messages("access_log", "AccessLog"):
        item.place = place
        log = _access_log(item, at)
        if log is not None:
            found.append(log)
    return tuple(found)


def _access_log(message: Message, at: str) -> AccessLog | None:
    condition = message.json("filter")
    found = message.configured()
    if found is None:
        return None
    if found[0] != _FILE:
        message.unread()
        return None
    config = found[1]
    return AccessLog(
        sink=f"file:{config.string('path')}",
        format=_format(config),
        filter="" if condition is None else canonical_json(condition),
        at=at,
    )


def _format(config: Message) -> str:
    text = config.message("log_format")
    if text is None:
        return ""
    text.constant("json_format_options", {})
    if (source := text.message("text_format_source")) is not None:
        return source.string("inline_string")
    fields = text.json("json_format")
    return "" if fields is None else canonical_json(fields)


class TracingReader:
    """Reads the tracing of connection managers, which is mostly the same on all of them.

    Args:
        identity: See `identity_tags`.
    """

    def __init__(self, identity: frozenset[str]) -> None:
        self._identity = identity
        self._known: tuple[Any, Tracing] | None = None

    def read(self, manager: Message, place: str) -> Tracing | None:
        """The tracing of a connection manager; None: requests are not traced.

        Args:
            manager: The connection manager.
            place: Key of the `telemetry` policy that what is left belongs to.
        """
        if self._known is not None and manager.constant("tracing", self._known[0]):
            return self._known[1]
        message = manager.message("tracing")
        if message is None:
            return None
        message.place = place
        before = len(manager.reading.opened)
        found = self._tracing(message)
        if not message.rest and not any(m.rest for m in manager.reading.opened[before:]):
            self._known = (message.raw, found)
        return found

    def _tracing(self, message: Message) -> Tracing:
        return Tracing(
            provider=_provider(message),
            client_percent=_sampling(message, "client_sampling"),
            random_percent=_sampling(message, "random_sampling"),
            overall_percent=_sampling(message, "overall_sampling"),
            tags=tuple(
                found
                for item in message.messages("custom_tags")
                if (found := _tag(item, self._identity)) is not None
            ),
            verbose=message.boolean("verbose"),
        )


def _provider(message: Message) -> str:
    provider = message.message("provider")
    if provider is None:
        return ""
    name = provider.string("name")
    if not name:
        provider.remark("tracing.provider", "without a name")
    config = provider.any("typed_config")
    if config is None:
        return name
    service = config[1].message("grpc_service") or config[1].message("http_service")
    grpc = None if service is None else service.message("envoy_grpc")
    cluster = config[1].string("collector_cluster") if grpc is None else grpc.string("cluster_name")
    return f"{name}:{cluster}"


def _sampling(message: Message, name: str) -> int:
    """Hundredths of a percent; Envoy samples everything where nothing is said."""
    share = message.message(name)
    if share is None:
        return 100 * _HUNDREDTHS
    value: Any = share.peek("value")
    if value is None:
        return 0
    hundredths = round(value * _HUNDREDTHS) if isinstance(value, int | float) else -1
    if hundredths < 0 or abs(hundredths - value * _HUNDREDTHS) > 1e-6:
        return 100 * _HUNDREDTHS
    share.json("value")
    return hundredths


def _tag(message: Message, identity: frozenset[str]) -> str | None:
    name = message.string("tag")
    if (literal := message.message("literal")) is not None:
        text = f"{name}={literal.string('value')}"
        return f"{name}=$self.{name.removeprefix('istio.')}" if text in identity else text
    for kind, field in (("environment", "environment"), ("request_header", "header")):
        if (found := message.message(kind)) is not None:
            return f"{name}={field}:{found.string('name')}:{found.string('default_value')}"
    metadata = message.json("metadata")
    if metadata is None:
        message.unread()
        return None
    return f"{name}=metadata:{canonical_json(metadata)}"


def metrics(config: Message) -> Metrics:
    """The settings of Istio's metrics filter; all of it is read."""
    fallback = config.boolean("disable_host_header_fallback")
    others = {name: config.json(name) for name in tuple(config.rest)}
    return Metrics(fallback, canonical_json(others) if others else "")
