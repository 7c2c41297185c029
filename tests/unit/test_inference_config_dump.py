"""Reading config dumps: what is accepted, what is refused and how it is said."""

import gzip
import json
import re

import pytest
from dumps import camel_case, capture_dump

from meshscope.inference.config_dump import UnreadableConfigDump, read_config_dump
from meshscope.inference.infer import infer
from meshscope.policy.kinds import Kind

_ADMIN = "type.googleapis.com/envoy.admin.v3."
_LISTENERS = {"@type": f"{_ADMIN}ListenersConfigDump"}
DUMP = {"configs": [_LISTENERS]}
TEXT = json.dumps(DUMP).encode()


@pytest.mark.parametrize(
    "data",
    [
        TEXT,
        gzip.compress(TEXT),
        b"\xef\xbb\xbf" + TEXT,
        json.dumps(DUMP, indent=1).encode(),
        b"\n " + TEXT + b"\n",
    ],
    ids=["plain", "gzip", "byte order mark", "indented", "white space"],
)
def test_reads_a_dump_however_it_is_written(data: bytes) -> None:
    assert read_config_dump(data, "x.json") == DUMP


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (TEXT[:-3], f"at byte {len(TEXT) - 3}; the dump is truncated"),
        (TEXT[:-3] + b"!!!", r"byte \d+"),
        (TEXT + b"{}", "trailing characters"),
        (gzip.compress(TEXT)[:-12], "gzip ends too early, at byte"),
        (b"\x1f\x8b" + b"no gzip at all", "gzip is damaged"),
        (b"<html><body>502 Bad Gateway", "begins with '<html><body>502 Bad Gateway'"),
        (b"upstream connect error", "is not JSON but begins with 'upstream connect error'"),
        (b"[]", "is not JSON but begins with"),
        (b'{"error": "no"}', 'no list "configs"'),
        (b'{"configs": {}}', 'no list "configs"'),
        (b'{"configs": [1]}', r"configs\[0\] is no JSON object"),
        (b'{"configs": []}', "none of its parts is a section"),
        (b'{"configs": [{"@type": "x/envoy.config.listener.v3.Listener"}]}', "without a mask"),
        (json.dumps({"configs": [_LISTENERS, _LISTENERS]}).encode(), "ListenersConfigDump twice"),
        (b'{"configs": ' + b"[" * 100_000, "nested too deeply|truncated"),
        (b'{"a": "\xff"}', "not UTF-8"),
    ],
)
def test_says_what_is_wrong_with_bytes_that_are_no_dump(data: bytes, reason: str) -> None:
    with pytest.raises(UnreadableConfigDump) as caught:
        read_config_dump(data, "cart.json")

    assert caught.value.origin == "cart.json"
    assert str(caught.value).startswith("cart.json: ")
    assert re.search(reason, caught.value.reason)


def test_every_cut_of_a_dump_is_noticed() -> None:
    text = json.dumps(capture_dump("bookshop", "000-base", "queue-0.orders")).encode()
    for length in range(1, len(text), 4_999):
        with pytest.raises(UnreadableConfigDump, match=r"truncated|too early"):
            read_config_dump(text[:length], "cut")


def test_what_istiod_prints_in_camel_case_is_the_same_dump() -> None:
    dump = capture_dump("bookshop", "000-base", "api-v1-pz5sh.storefront")

    read = read_config_dump(json.dumps(camel_case(dump)).encode(), "istiod")

    assert read == dump


def test_a_missing_section_is_said_with_what_cannot_be_verified_without_it() -> None:
    inference = infer(read_config_dump(TEXT, "x"))

    missing = {found.section: found for found in inference.incomplete}
    assert missing.keys() == {
        "BootstrapConfigDump",
        "ClustersConfigDump",
        "EndpointsConfigDump",
        "RoutesConfigDump",
    }
    assert missing["EndpointsConfigDump"].kinds == (Kind.ENDPOINTS,)
    assert "include_eds" in missing["EndpointsConfigDump"].reason
    assert not any(key.kind is Kind.ENDPOINTS for key in inference.policies)
