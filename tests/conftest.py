"""Shared by all tests: what hypothesis draws for the plain types of the facts."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st

# Real processes for whoever needs one: `broker`, `store`; and what tests on a whole mesh share.
pytest_plugins = ["embedded", "mesh_fixtures"]

# Avro's long has 64 bits, and NaN equals nothing, not even itself.
st.register_type_strategy(int, st.integers(-(2**63), 2**63 - 1))
st.register_type_strategy(float, st.floats(allow_nan=False))

# Two shared cores are slow now and then; a deadline per example would only flicker.
settings.register_profile("meshscope", deadline=None)
settings.load_profile("meshscope")


def pytest_addoption(parser: pytest.Parser) -> None:
    """How much of what is tried at random is tried."""
    parser.addoption(
        "--mutants",
        type=int,
        default=0,
        help="number of changed dumps of all recorded meshes to verify (test_mutations.py)",
    )
    parser.addoption("--mutants-seed", type=int, default=20_261, help="chooses them")
    parser.addoption(
        "--all-captures",
        action="store_true",
        help="evaluate the witness of every difference of all recorded meshes (test_witnesses.py)",
    )
    parser.addoption(
        "--lists",
        type=int,
        default=0,
        help="number of random rule lists to compare with counting (test_algebra_counted.py), and "
        "to rewrite (test_algebra_rewrites.py)",
    )
    parser.addoption("--lists-seed", type=int, default=20_261, help="chooses them")
    parser.addoption(
        "--envoy-requests",
        type=int,
        default=0,
        help="number of requests to real Envoys with recorded configurations "
        "(test_evaluation_envoy.py)",
    )
    parser.addoption("--envoy-seed", type=int, default=20_262, help="chooses them")
