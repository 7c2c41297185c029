"""Reading a config dump from bytes.

Envoy's `/config_dump?include_eds` (https://www.envoyproxy.io/docs/envoy/latest/operations/admin),
what `istioctl proxy-config all -o json` prints, and istiod's `/debug/config_dump` have one shape:
`{"configs": [{"@type": "…BootstrapConfigDump", …}, …]}`. Field names are `snake_case` or
`camelCase`; the result has Envoy's `snake_case`.
"""

import gzip
import io
import zlib
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from meshscope.inference.camel_case import looks_camel_case, snake_case

MAX_BYTES: Final = 1 << 30
"""Largest dump that is read, unpacked; a mesh of thousands of services stays well below."""

_GZIP_MAGIC: Final = b"\x1f\x8b"
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_SHOWN: Final = 80

SECTIONS: Final = {
    "envoy.admin.v3.BootstrapConfigDump": "bootstrap",
    "envoy.admin.v3.ClustersConfigDump": "clusters",
    "envoy.admin.v3.EndpointsConfigDump": "endpoints",
    "envoy.admin.v3.ListenersConfigDump": "listeners",
    "envoy.admin.v3.RoutesConfigDump": "routes",
    "envoy.admin.v3.ScopedRoutesConfigDump": "scoped_routes",
    "envoy.admin.v3.SecretsConfigDump": "secrets",
    "envoy.admin.v3.EcdsConfigDump": "extensions",
}
"""Sections of a dump by message name, and how they are called here."""


class UnreadableConfigDump(ValueError):
    """Bytes that are no config dump.

    Attributes:
        origin: Where they came from.
        reason: What is wrong with them.
    """

    def __init__(self, origin: str, reason: str) -> None:
        super().__init__(f"{origin}: {reason}")
        self.origin = origin
        self.reason = reason


class NoSidecarDump(UnreadableConfigDump):
    """Bytes that are the dump of a proxy which is no Envoy."""


def read_config_dump(data: bytes, origin: str) -> Mapping[str, Any]:
    """Read a config dump.

    Args:
        data: JSON, plain or gzip.
        origin: File name or address, for messages.

    Returns:
        The parsed dump, `snake_case`. Sections may be missing; `infer` says which and what cannot
        be verified without them.

    Raises:
        NoSidecarDump: It is of ztunnel.
        UnreadableConfigDump: The bytes are truncated, or no config dump at all.
    """
    text = _unpack(data, origin).removeprefix(_BYTE_ORDER_MARK)
    if not text.strip():
        raise UnreadableConfigDump(origin, "is empty")
    if text.lstrip()[:1] != b"{":
        raise UnreadableConfigDump(
            origin, f"is not JSON but begins with {_beginning(text)}; a config dump is expected"
        )
    try:
        dump = msgspec.json.decode(text)
    except RecursionError:
        raise UnreadableConfigDump(origin, "is nested too deeply for a config dump") from None
    except UnicodeDecodeError as error:
        raise UnreadableConfigDump(origin, f"holds text that is not UTF-8: {error}") from None
    except msgspec.DecodeError as error:
        reason = str(error)
        if "truncated" in reason:
            reason = f"JSON ends too early, at byte {len(text)}; the dump is truncated"
        raise UnreadableConfigDump(origin, reason) from None
    return _normalised(dump, origin)


def section_name(config: Mapping[str, Any]) -> str:
    """Message name of a section, without the address of its type."""
    url = config.get("@type")
    return url.rpartition("/")[2] if isinstance(url, str) else ""


def _unpack(data: bytes, origin: str) -> bytes:
    if len(data) > MAX_BYTES:
        raise UnreadableConfigDump(origin, f"has {len(data)} bytes; at most {MAX_BYTES} are read")
    if not data.startswith(_GZIP_MAGIC):
        return data
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as packed:
            text = packed.read(MAX_BYTES + 1)
    except EOFError:
        raise UnreadableConfigDump(
            origin, f"gzip ends too early, at byte {len(data)}; the file is truncated"
        ) from None
    except (OSError, zlib.error) as error:
        raise UnreadableConfigDump(origin, f"gzip is damaged: {error}") from None
    if len(text) > MAX_BYTES:
        raise UnreadableConfigDump(origin, f"unpacks to more than {MAX_BYTES} bytes")
    return text


def _normalised(dump: Any, origin: str) -> Mapping[str, Any]:
    configs = dump.get("configs") if isinstance(dump, dict) else None
    if not isinstance(configs, list):
        if isinstance(dump, dict) and {"services", "workloads"} <= dump.keys():
            raise NoSidecarDump(origin, "is of ztunnel, which is no sidecar")
        if isinstance(dump, dict) and {"apiVersion", "kind"} <= dump.keys():
            reason = f"is a Kubernetes resource of kind {dump['kind']}, and no config dump"
            raise UnreadableConfigDump(origin, reason)
        raise UnreadableConfigDump(origin, 'is JSON, but no config dump: it has no list "configs"')
    names: set[str] = set()
    for index, config in enumerate(configs):
        if not isinstance(config, dict):
            raise UnreadableConfigDump(origin, f"configs[{index}] is no JSON object")
        name = section_name(config)
        if name in names and name in SECTIONS:
            raise UnreadableConfigDump(origin, f"holds {name} twice; give one dump per file")
        names.add(name)
    if not names & SECTIONS.keys():
        raise UnreadableConfigDump(
            origin,
            "is JSON, but no config dump: none of its parts is a section such as "
            "envoy.admin.v3.ListenersConfigDump; dump without a mask or a resource filter",
        )
    if any(looks_camel_case(config) for config in configs):
        return {"configs": [snake_case(config) for config in configs]}
    return {"configs": configs}


def _beginning(text: bytes) -> str:
    return repr(text[:_SHOWN].decode("utf-8", "replace").strip())
