"""What the sandbox writes and reads on the machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from meshscope.sandbox import declarations, preflight
from meshscope.sandbox.bootstrap import bootstrap
from meshscope.sandbox.certificates import Authority
from meshscope.sandbox.envoy import MAX_LOG_BYTES, EnvoyProcess, tail
from meshscope.sandbox.errors import CannotStart
from meshscope.sandbox.model import Address, load_index
from meshscope.sandbox.paths import ProxyPaths, SandboxPaths, default_directory
from meshscope.sandbox.recording import Recording


def test_the_default_directory_follows_the_environment(tmp_path: Path) -> None:
    assert default_directory({"MESHSCOPE_HOME": str(tmp_path)}) == tmp_path / "sandbox"
    assert default_directory({}) == Path.home() / ".meshscope" / "sandbox"


def test_publishing_makes_the_directory_hold_exactly_the_files(tmp_path: Path) -> None:
    declarations.publish(tmp_path, {"a.yaml": "1", "b.yaml": "1"})
    untouched = (tmp_path / "a.yaml").stat()
    declarations.publish(tmp_path, {"a.yaml": "1", "c.yaml": "2"})
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "a.yaml": "1",
        "c.yaml": "2",
    }
    now = (tmp_path / "a.yaml").stat()
    assert (now.st_ino, now.st_mtime_ns) == (untouched.st_ino, untouched.st_mtime_ns)


def test_the_bootstrap_has_sockets_and_the_statistics_of_a_sidecar() -> None:
    recorded = Recording(load_index()).bootstrap("cart-1.shop")
    document = bootstrap(recorded)
    text = str(document)
    assert "@" not in text.replace("@type", "")
    assert ProxyPaths.XDS_SOCKET in text
    assert ProxyPaths.SDS_SOCKET in text
    patterns = document["stats_config"]["stats_matcher"]["inclusion_list"]["patterns"]
    assert {"prefix": "cluster.xds-grpc"} in patterns
    assert {"suffix": "rbac.denied"} in patterns
    assert "stats_config" not in recorded


def test_leaves_are_what_istiod_issues() -> None:
    certificate = Authority("cluster.local").issue("spiffe://cluster.local/ns/a/sa/b")
    leaf, root = x509.load_pem_x509_certificates(certificate.chain)
    assert root == x509.load_pem_x509_certificate(certificate.root)
    leaf.verify_directly_issued_by(root)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert names.critical
    assert names.value.get_values_for_type(x509.UniformResourceIdentifier) == [
        "spiffe://cluster.local/ns/a/sa/b"
    ]
    assert leaf.subject == x509.Name([])
    key = leaf.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert isinstance(key.curve, ec.SECP256R1)


def test_logs_are_emptied_when_they_grew_too_large(tmp_path: Path) -> None:
    paths = ProxyPaths(tmp_path)
    paths.log.write_bytes(b"x" * (MAX_LOG_BYTES + 1))
    paths.access_log.write_bytes(b"x")
    envoy = EnvoyProcess("a.b", paths, Recording(load_index()).bootstrap("cart-1.shop"))
    envoy.limit_logs()
    assert paths.log.stat().st_size == 0
    assert paths.access_log.stat().st_size == 1


def test_the_tail_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert "no log" in tail(log)
    log.write_text("")
    assert tail(log) == "(its log is empty)"
    log.write_text("1\n2\n3\n4\n")
    assert tail(log) == "2\n3\n4"


def test_a_foreign_directory_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("important")
    with pytest.raises(CannotStart, match=r"not a sandbox's: give an empty directory with --dir"):
        preflight.prepare_directory(SandboxPaths(tmp_path))
    assert (tmp_path / "thesis.txt").read_text() == "important"


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotStart, match=r"cannot use .*file"):
        preflight.prepare_directory(SandboxPaths(tmp_path / "file"))


def test_a_sandbox_directory_is_private_and_cleared(tmp_path: Path) -> None:
    paths = SandboxPaths(tmp_path / "s")
    preflight.prepare_directory(paths)
    paths.control_socket.write_text("left behind")
    (paths.proxies / "old").mkdir()
    preflight.prepare_directory(paths)
    assert not paths.control_socket.exists()
    assert list(paths.proxies.iterdir()) == []
    assert paths.directory.stat().st_mode & 0o777 == 0o700


def test_a_forgotten_process_is_ended_only_if_it_works_there(tmp_path: Path) -> None:
    paths = SandboxPaths(tmp_path)
    sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
    directories = [paths.proxy(name).directory for name in ("ours", "others")]
    for directory in directories:
        directory.mkdir(parents=True)
    with (
        subprocess.Popen(sleep, cwd=directories[0]) as ours,
        subprocess.Popen(sleep, cwd=tmp_path) as other,
    ):
        try:
            paths.proxy("ours").pid.write_text(f"{ours.pid}\n")
            paths.proxy("others").pid.write_text(f"{other.pid}\n")
            paths.proxy("others").directory.joinpath("envoy.pid").touch()
            assert preflight.end_forgotten(paths) == [ours.pid]
            assert ours.wait(5) < 0
            assert other.poll() is None
        finally:
            ours.kill()
            other.kill()


def test_an_address_in_use_is_named_with_its_process() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = Address(f"127.0.0.1:{server.getsockname()[1]}")
        with pytest.raises(CannotStart, match=rf"{address} is already in use.*{os.getpid()}"):
            preflight.check_addresses([address])
    preflight.check_addresses([address])


def test_listeners_are_found_in_the_kernels_table() -> None:
    table = (
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"
        "   0: 0B00147F:3A98 00000000:0000 0A 00000000:00000000 00:00000000 0 0 0 4711 1\n"
        "   1: 0B00147F:3A98 0100007F:9999 01 00000000:00000000 00:00000000 0 0 0 4712 1\n"
        "   2: 0C00147F:3A98 00000000:0000 0A 00000000:00000000 00:00000000 0 0 0 4713 1\n"
    )
    found = preflight.listening_inodes(table, Address("127.20.0.11:15000"))
    assert list(found) == (["4711"] if sys.byteorder == "little" else [])


def test_other_platforms_are_refused() -> None:
    with pytest.raises(CannotStart, match="needs Linux, this is darwin"):
        preflight.check_platform("darwin")
