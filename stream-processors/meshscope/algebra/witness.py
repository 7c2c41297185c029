"""From atoms to the simplest request that lies in them."""

from typing import Literal

from meshscope.algebra.addresses import address_at
from meshscope.algebra.dimensions import LIST, SCALAR, Dimension
from meshscope.algebra.request import Claim, Request
from meshscope.algebra.space import Level, Space, Value

_TEXT = {
    Dimension.PATH: "path",
    Dimension.AUTHORITY: "authority",
    Dimension.METHOD: "method",
    Dimension.PRINCIPAL: "principal",
    Dimension.SERVER_NAME: "server_name",
    Dimension.APPLICATION_PROTOCOL: "application_protocol",
}
_ADDRESS = {
    Dimension.PEER_ADDRESS: "peer_address",
    Dimension.CLIENT_ADDRESS: "client_address",
    Dimension.DESTINATION_ADDRESS: "destination_address",
}


def request_at(space: Space, atoms: dict[int, int]) -> Request:
    """The request with these atoms, by level, and with the cheapest ones elsewhere."""
    chosen = {
        number: space.levels[number].examples[atom]
        for number, atom in space.completed(atoms).items()
        if number in atoms or space.levels[number].slot.dimension is not Dimension.OPAQUE
    }
    return _request([(space.levels[number], value) for number, value in chosen.items()])


def _request(values: list[tuple[Level, Value]]) -> Request:
    fields: dict[str, str] = {}
    port = 0
    query: list[tuple[str, str]] = []
    headers: list[tuple[str, str]] = []
    assumes: list[str] = []
    for level, value in values:
        slot = level.slot
        match slot.dimension, value:
            case Dimension.PATH, None:
                fields |= {"path": "", "method": "CONNECT"}
            case Dimension.OPAQUE, int():
                assumes.append(slot.name if value else f"not {slot.name}")
            case Dimension.PORT, int():
                port = value
            case Dimension.HEADER, str():
                headers.append((slot.name, value))
            case Dimension.QUERY, str():
                query.append((slot.name, value))
            case dimension, int() if dimension in _ADDRESS:
                fields[_ADDRESS[dimension]] = address_at(value)
            case dimension, str() if dimension in _TEXT:
                fields.setdefault(_TEXT[dimension], value)
    return Request(
        **fields,
        port=port,
        query=tuple(query),
        headers=tuple(headers),
        transport=_transport(values),
        claims=_claims(values),
        assumes=tuple(assumes),
    )


def _transport(values: list[tuple[Level, Value]]) -> Literal["mtls", "tls", "plaintext"]:
    """As said; where nothing is said, mutual TLS if there is an identity."""
    found = {level.slot.dimension: value for level, value in values}
    match found.get(Dimension.TRANSPORT):
        case "mtls" | "tls" | "plaintext" as said:
            return said
    return "mtls" if found.get(Dimension.PRINCIPAL) else "plaintext"


def _claims(values: list[tuple[Level, Value]]) -> tuple[tuple[str, Claim], ...]:
    shapes: dict[str, Value] = {}
    scalars: dict[str, str] = {}
    elements: dict[str, list[str]] = {}
    for level, value in values:
        match level.slot.dimension, value:
            case Dimension.CLAIM_SHAPE, _:
                shapes[level.slot.name] = value
            case Dimension.CLAIM, str():
                scalars[level.slot.name] = value
            case Dimension.CLAIM_ELEMENT, str():
                elements.setdefault(level.slot.name, []).append(value)
    claims: list[tuple[str, Claim]] = []
    for name, shape in shapes.items():
        if shape == SCALAR:
            claims.append((name, scalars.get(name, "x")))
        elif shape == LIST:
            claims.append((name, tuple(elements.get(name, ()))))
    return tuple(claims)
