"""Certificates are read as a full reader of X.509 reads them."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pem_files import FROM, IDENTITY, pem

from meshscope.events.x509 import UnreadableCertificate, canonical_serial, read_certificates


@given(
    serial=st.integers(1, 2**159 - 1),
    days=st.integers(1, 365 * 100),
    identity=st.sampled_from(["", IDENTITY, "spiffe://" + "x" * 300]),
)
def test_serial_validity_and_identity(serial: int, days: int, identity: str) -> None:
    ends = FROM + timedelta(days=days)
    (found,) = read_certificates(pem(serial, FROM, ends, identity), "workload")
    assert found.role == "workload"
    assert int(found.serial, 16) == serial
    assert found.serial == canonical_serial(f"{serial:040X}")
    assert found.valid_from == FROM.timestamp() * 1000
    assert found.expires_at == ends.timestamp() * 1000
    assert found.identity == identity


def test_a_bundle_is_read_in_its_order() -> None:
    bundle = b"".join(pem(n, FROM, FROM + timedelta(days=1)) for n in (3, 1, 2))
    assert [each.serial for each in read_certificates(bundle, "root")] == ["3", "1", "2"]
    assert read_certificates(b"nothing of the sort", "root") == ()


@given(st.binary(max_size=60), st.integers(0, 400))
def test_what_is_no_certificate_is_refused(noise: bytes, end: int) -> None:
    lines = pem(7, FROM, FROM + timedelta(days=1)).splitlines(keepends=True)
    body = b"".join(lines[1:-1])
    for broken in (noise, body[:end]):
        text = lines[0] + broken + lines[-1]
        try:
            read_certificates(text, "root")
        except UnreadableCertificate as error:
            assert "no X.509 certificate" in str(error)  # noqa: PT017


@pytest.mark.parametrize("text", ["AQID", "MAA=", "MIIB"])
def test_other_der_is_no_certificate(text: str) -> None:
    broken = f"-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n"
    with pytest.raises(UnreadableCertificate):
        read_certificates(broken.encode(), "root")
