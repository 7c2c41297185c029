"""Between Envoy's JSON and its protobuf messages.

`json_format` can expand an `Any` only if the module of its type was imported. Envoy has hundreds of
modules; those a document needs are imported when it needs them: messages of package `a.b.v3` live
in the modules `a/b/v3/*_pb2.py`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, TypeVar

from google.protobuf import json_format
from google.protobuf.message import Message

from meshscope.sandbox.errors import SandboxDataError

M = TypeVar("M", bound=Message)


def parse(document: Mapping[str, Any], kind: type[M]) -> M:
    """The message that a JSON object (with or without a top-level `@type`) describes.

    Raises:
        SandboxDataError: the object holds an unknown field or type.
    """
    for type_url in type_urls(document):
        import_type(type_url)
    fields = {key: value for key, value in document.items() if key != "@type"}
    try:
        return json_format.ParseDict(fields, kind())
    except json_format.ParseError as error:
        name = document.get("name") or document.get("cluster_name")
        raise SandboxDataError(f"{kind.DESCRIPTOR.full_name} {name!r}: {error}") from error


def type_urls(document: Any) -> Iterator[str]:
    """Every `@type` in a JSON document, repetitions included."""
    if isinstance(document, Mapping):
        for key, value in document.items():
            if key == "@type":
                yield value
            else:
                yield from type_urls(value)
    elif isinstance(document, list):
        for item in document:
            yield from type_urls(item)


def import_type(type_url: str) -> None:
    """Makes the type of a URL such as `type.googleapis.com/envoy.a.v3.B` known to protobuf."""
    _import_package(type_url.rpartition("/")[2].rpartition(".")[0])


@cache
def _import_package(package: str) -> None:
    try:
        parent = importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise SandboxDataError(
            f"no protobuf messages of package {package}: install xds-protos, or a newer version"
        ) from error
    for module in pkgutil.iter_modules(parent.__path__):
        if module.name.endswith("_pb2"):
            importlib.import_module(f"{package}.{module.name}")
