"""Laws of reading manifests."""

import json
from typing import Any

import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from meshscope.watcher.manifests import read_manifests
from meshscope.watcher.yaml_text import documents

# What YAML forbids even in quotes, and Kubernetes refuses as well.
TEXT = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), max_size=8
)
NAMES = st.text("abcxyz-", min_size=1, max_size=5)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**53), 2**53),
    st.floats(-1e9, 1e9),
    TEXT,
)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
    max_leaves=10,
)
RESOURCES = st.fixed_dictionaries(
    {
        "apiVersion": st.sampled_from(["v1", "networking.istio.io/v1", "example.com/v1"]),
        "kind": st.sampled_from(["Service", "VirtualService", "Thing"]),
        "metadata": st.fixed_dictionaries({"name": NAMES, "namespace": NAMES}),
        "spec": st.dictionaries(TEXT, TREES, max_size=3),
    }
)
YAML_LIKE = st.text("ab:-*&<{}[]\n \t\"'|>!#%?,.0~", max_size=60)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=80), YAML_LIKE.map(str.encode)))
@example(b"? [a]\n: b\n")
@example(b"<<: *a\n")
@example(b"\r$")
@example(b"a: &a\n  <<: [*a]\n")
def test_no_bytes_make_it_fail(data: bytes) -> None:
    manifests = read_manifests([("f.yaml", data)])
    for problem in manifests.problems:
        assert problem.path == "f.yaml"
        # Lines end as YAML has it, with a carriage return, too.
        assert 0 <= problem.line <= len(data.decode(errors="replace").splitlines()) + 1
        assert problem.message


@settings(max_examples=200, deadline=None)
@given(st.lists(RESOURCES, max_size=3))
@example(
    [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "a", "namespace": "a"},
            "spec": {"<<": None},
        }
    ]
)
def test_json_and_yaml_say_the_same_as_what_was_written(resources: list[dict[str, Any]]) -> None:
    unique = {
        (r["apiVersion"], r["kind"], r["metadata"]["namespace"], r["metadata"]["name"]): r
        for r in resources
    }
    listing = {"apiVersion": "v1", "kind": "List", "items": list(unique.values())}
    written = (
        json.dumps(listing),
        json.dumps(listing, indent="\t", ensure_ascii=False),
        # Quoted: PyYAML takes `y` and `1e3` for text and leaves them bare.
        yaml.safe_dump_all(unique.values(), allow_unicode=True, default_style='"'),
    )
    expected = [(r["kind"], r["metadata"]["name"], r["spec"]) for r in unique.values()]
    for text in written:
        read = read_manifests([("f", text.encode("utf-8"))])
        assert [(r.kind, r.name, r.spec) for r in read.resources] == expected


@settings(max_examples=100, deadline=None)
@given(st.lists(TREES, min_size=1, max_size=4), st.data())
def test_a_broken_document_leaves_the_others_as_they_are(
    trees: list[Any], data: st.DataObject
) -> None:
    texts = [f"---\n{json.dumps({'value': tree})}\n" for tree in trees]
    position = data.draw(st.integers(0, len(texts)))
    broken = data.draw(
        st.sampled_from(["---\na: b: c\n", "---\na: [\n", '---\na: "\n', "--- *x\n"])
    )
    read = list(documents("".join([*texts[:position], broken, *texts[position:]])))
    assert [document.value for document in read if not document.error] == [
        {"value": tree} for tree in trees
    ]
    (error,) = [document for document in read if document.error]
    assert error.index == position + 1
