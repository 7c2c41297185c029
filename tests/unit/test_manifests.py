"""Text of manifests → resources and problems."""

import json
from textwrap import dedent

import pytest

from meshscope.events.resource import Resource
from meshscope.policy.source import ResourceRef
from meshscope.watcher.manifests import Manifests, read_manifests
from meshscope.watcher.problem import Problem, ProblemCode


def read(*texts: str) -> Manifests:
    return read_manifests(
        (f"f{number}.yaml", dedent(text).encode()) for number, text in enumerate(texts, start=1)
    )


def only_resource(text: str) -> Resource:
    manifests = read(text)
    assert not manifests.problems
    (resource,) = manifests.resources
    return resource


def only_problem(text: str) -> Problem:
    (problem,) = read(text).problems
    return problem


VIRTUAL_SERVICE = """\
    # A comment.
    apiVersion: networking.istio.io/v1
    kind: VirtualService
    metadata:
      name: cart
      namespace: shop
      labels: {app: cart}
      creationTimestamp: 2026-03-01T08:03:03Z
      uid: u-1
      resourceVersion: "17"
    spec:
      hosts: [cart]
    status: {}
"""


def test_a_resource_is_read_with_its_place() -> None:
    resource = only_resource(VIRTUAL_SERVICE)
    assert resource == Resource(
        group="networking.istio.io",
        version="v1",
        kind="VirtualService",
        namespace="shop",
        name="cart",
        labels={"app": "cart"},
        created_at="2026-03-01T08:03:03Z",
        body={"spec": {"hosts": ["cart"]}, "status": {}},
        uid="u-1",
        resource_version="17",
        origin="f1.yaml#1",
        line=2,
    )


def test_documents_lists_and_typed_lists() -> None:
    manifests = read(
        """\
        ---
        # Nothing but a comment: no document.
        ---
        apiVersion: v1
        kind: List
        items:
        - apiVersion: v1
          kind: Namespace
          metadata: {name: shop}
        - apiVersion: v1
          kind: ServiceAccount
          metadata: {name: cart, namespace: shop}
        ...
        --- {apiVersion: v1, kind: PodList, items: [{metadata: {name: cart-1}}]}
        """
    )
    assert not manifests.problems
    assert [(r.ref, r.origin, r.line) for r in manifests.resources] == [
        (ResourceRef("Namespace", "", "shop"), "f1.yaml#1", 7),
        (ResourceRef("ServiceAccount", "shop", "cart"), "f1.yaml#1", 10),
        (ResourceRef("Pod", "default", "cart-1"), "f1.yaml#2", 14),
    ]


def test_json_with_tabs_is_read() -> None:
    text = json.dumps(
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"a": "x\ty"}},
        indent="\t",
    )
    resource = only_resource(text)
    assert resource.spec == {"a": "x\ty"}
    assert resource.line == 2


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1.10", 1.1),
        ("0x10", 16),
        ("010", 8),
        ("1_000", 1000),
        ("-5", -5),
        ("1e3", 1000.0),
        ("1:30", "1:30"),
        ("2026-01-01", "2026-01-01"),
        ("yes", True),
        ("no", False),
        ("n", "n"),
        ("~", None),
        ('"5"', "5"),
        ("!!str 5", "5"),
        ("v1", "v1"),
        ("127.20.0.1", "127.20.0.1"),
        ("1" * 100, float("1" * 100)),
    ],
)
def test_scalars_mean_what_they_mean_to_kubernetes(written: str, value: object) -> None:
    resource = only_resource(
        f"apiVersion: v1\nkind: Thing\nmetadata: {{name: x}}\nspec: {{value: {written}}}\n"
    )
    assert resource.spec == {"value": value}
    assert type(resource.spec["value"]) is type(value)


def test_keys_are_text() -> None:
    resource = only_resource(
        """\
        apiVersion: security.istio.io/v1
        kind: PeerAuthentication
        metadata: {name: x}
        spec: {portLevelMtls: {8080: {mode: STRICT}}}
        """
    )
    assert resource.spec == {"portLevelMtls": {"8080": {"mode": "STRICT"}}}


def test_merge_keys_and_aliases() -> None:
    resource = only_resource(
        """\
        apiVersion: v1
        kind: Thing
        metadata: {name: x}
        spec:
          base: &base {a: 1, b: 2}
          more: {<<: *base, b: 3}
          same: *base
        """
    )
    assert resource.spec["more"] == {"a": 1, "b": 3}
    assert resource.spec["same"] == {"a": 1, "b": 2}


def test_a_broken_document_does_not_stop_the_others() -> None:
    manifests = read(
        """\
        apiVersion: v1
        kind: Pod
        metadata: {name: a}
        ---
        apiVersion: v1
        kind: "Pod
        metadata: {name: b}
        ---
        apiVersion: v1
        kind: Pod
        metadata: {name: c}
        """
    )
    assert [r.name for r in manifests.resources] == ["a", "c"]
    (problem,) = manifests.problems
    assert problem.code is ProblemCode.UNREADABLE
    assert str(problem) == (
        "f1.yaml:7: document 2: not valid YAML: found unexpected end of stream while scanning a "
        "quoted scalar that begins in line 6"
    )


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a: b: c\n", 1, "mapping values are not allowed"),
        ("a:\n\tb: 1\n", 2, "cannot start any token"),
        ("a: 1\nb: \x00\n", 2, "control characters are not allowed"),
        ("a: *x\n", 1, "alias *x has no anchor"),
        ("a: &x [*x]\n", 1, "alias *x has no anchor"),
        ("a: !python/object:os.system x\n", 1, "the tag !python/object:os.system means nothing"),
        ("a: 1\nb: !x {}\n", 2, "the tag !x means nothing"),
        ("a: .inf\n", 1, "no number .inf"),
        ("a: 1e999\n", 1, "no number 1e999"),
        ("a: {{ .Values.a }}\n", 1, "if this is a template, render it first"),
        ("{{- if .Values.a }}\na: 1\n", 1, "if this is a template"),
        ('a: "\n{{ if }}\n', 2, "render it first, for example with `helm template`"),
        ("[" * 100_000, 1, "nested deeper than 100 levels"),
        ("- " * 100_000, 1, "nested deeper than 100 levels"),
        ("<<: 5\n", 1, "`<<` takes a mapping"),
    ],
)
def test_unreadable_documents(text: str, line: int, message: str) -> None:
    problem = only_problem(text)
    assert problem.code is ProblemCode.UNREADABLE
    assert problem.severity == "error"
    assert problem.line == line
    assert message in problem.message


def test_aliases_do_not_explode() -> None:
    levels = "\n".join(f"l{n}: &l{n} [{','.join([f'*l{n - 1}'] * 20)}]" for n in range(1, 30))
    problem = only_problem(f"l0: &l0 x\n{levels}\n")
    assert problem.code is ProblemCode.UNREADABLE
    assert "aliases stand for more values" in problem.message


def test_bytes_that_are_no_text() -> None:
    (problem,) = read_manifests([("x.yaml", b"a: 1\nb: \xff\n")]).problems
    assert (problem.line, problem.code) == (2, ProblemCode.UNREADABLE)
    assert "UTF-8" in problem.message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- 1\n", "document 1 is a list, not a resource"),
        ("just text\n", "document 1 is the text 'just text', not a resource"),
        ("image: {tag: x}\n", "no apiVersion and kind"),
        ("apiVersion: v1\nmetadata: {name: x}\n", "no kind"),
        ("apiVersion: v1\nkind: Pod\n", "Pod without a name"),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: 5}\n", "but is the number 5"),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: 5}\n", "metadata.namespace"),
    ],
)
def test_documents_that_are_no_resources(text: str, message: str) -> None:
    problem = only_problem(text)
    assert problem.code is ProblemCode.NOT_A_RESOURCE
    assert message in problem.message


def test_a_kustomization_must_be_rendered() -> None:
    problem = only_problem("apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n")
    assert problem.code is ProblemCode.NOT_RENDERED
    assert problem.severity == "warning"
    assert "kustomize build" in problem.message


def test_labels_that_are_no_text_are_reported_and_kept_as_written() -> None:
    manifests = read(
        """\
        apiVersion: v1
        kind: Pod
        metadata:
          name: p
          labels:
            version: 1.10
            on: "yes"
            canary: true
            empty:
            odd: [1]
        """
    )
    (resource,) = manifests.resources
    assert resource.labels == {
        "version": "1.10",
        "true": "yes",
        "canary": "true",
        "empty": "",
        "odd": "",
    }
    assert [(p.line, p.code) for p in manifests.problems] == [
        (6, ProblemCode.REFUSED_BY_KUBERNETES),
        (8, ProblemCode.REFUSED_BY_KUBERNETES),
        (10, ProblemCode.REFUSED_BY_KUBERNETES),
    ]
    assert 'write version: "1.10"' in manifests.problems[0].message
    assert manifests.problems[0].resource == ResourceRef("Pod", "default", "p")


def test_unknown_fields_are_reported_where_they_stand() -> None:
    manifests = read(
        """\
        apiVersion: networking.istio.io/v1
        kind: VirtualService
        metadata: {name: cart}
        spec:
          hosts: [cart]
          http:
          - name: a
            mathc:
            - uri: {prefix: /}
            route:
            - destination: {host: cart, subnet: v1}
          - match:
            - headers:
                x-user: {exakt: a}
        stauts: {}
        """
    )
    assert len(manifests.resources) == 1
    assert [(p.line, p.severity, p.code) for p in manifests.problems] == [
        (15, "error", ProblemCode.UNKNOWN_FIELD),
        (8, "error", ProblemCode.UNKNOWN_FIELD),
        (11, "error", ProblemCode.UNKNOWN_FIELD),
        (14, "error", ProblemCode.UNKNOWN_FIELD),
    ]
    messages = [p.message for p in manifests.problems]
    assert "no field stauts (did you mean 'status'?)" in messages[0]
    assert "no field spec.http[0].mathc (did you mean 'match'?)" in messages[1]
    assert "spec.http[0].route[0].destination.subnet (did you mean 'subset'?)" in messages[2]
    assert "spec.http[1].match[0].headers[x-user].exakt (did you mean 'exact'?)" in messages[3]


def test_free_keys_and_other_kinds_have_no_unknown_fields() -> None:
    assert not read(
        """\
        apiVersion: networking.istio.io/v1
        kind: DestinationRule
        metadata: {name: cart}
        spec: {host: cart, subsets: [{name: v1, labels: {anything: goes}}]}
        ---
        apiVersion: example.com/v1
        kind: VirtualService
        metadata: {name: cart}
        spec: {anything: goes}
        """
    ).problems


def test_a_spec_that_is_no_mapping() -> None:
    manifests = read(
        "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: x}\nspec: []\n"
    )
    assert manifests.resources[0].spec == {}
    assert manifests.problems[0].code is ProblemCode.REFUSED_BY_KUBERNETES
    assert manifests.problems[0].line == 4


def test_keys_that_stand_twice() -> None:
    manifests = read(
        "apiVersion: v1\nkind: Thing\nmetadata: {name: x}\nspec: {a: 1}\nspec: {a: 2}\n"
    )
    assert manifests.resources[0].spec == {"a": 2}
    (problem,) = manifests.problems
    assert (problem.line, problem.code) == (5, ProblemCode.REFUSED_BY_KUBERNETES)
    assert "after line 4" in problem.message


def test_of_two_resources_of_one_name_the_later_counts_and_it_is_said() -> None:
    manifests = read(VIRTUAL_SERVICE, VIRTUAL_SERVICE.replace("[cart]", "[other]"))
    (resource,) = manifests.resources
    assert resource.spec == {"hosts": ["other"]}
    (problem,) = manifests.problems
    assert (problem.path, problem.line) == ("f1.yaml", 2)
    assert problem.code is ProblemCode.DUPLICATE_RESOURCE
    assert problem.severity == "warning"
    assert "declared again at f2.yaml:2" in problem.message


def test_one_name_in_two_versions_of_an_api_is_one_resource() -> None:
    manifests = read(VIRTUAL_SERVICE, VIRTUAL_SERVICE.replace("io/v1", "io/v1beta1"))
    assert [r.version for r in manifests.resources] == ["v1beta1"]
    assert len(manifests.problems) == 1


def test_labels_that_are_no_mapping() -> None:
    manifests = read("apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\n  labels: [a]\n")
    assert manifests.resources[0].labels == {}
    (problem,) = manifests.problems
    assert (problem.line, problem.code) == (5, ProblemCode.REFUSED_BY_KUBERNETES)
    assert "must be a mapping, but is a list" in problem.message


def test_a_file_that_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meshscope.watcher.manifests.MAX_FILE_BYTES", 1024 * 1024)
    (problem,) = read_manifests([("x.yaml", b" " * (1024 * 1024 + 1))]).problems
    assert (problem.code, problem.line) == (ProblemCode.UNREADABLE, 0)
    assert str(problem) == "x.yaml: larger than 1 MiB: split it"
