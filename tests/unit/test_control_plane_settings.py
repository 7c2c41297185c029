"""Resources → settings of the control plane."""

from textwrap import dedent, indent

from meshscope.events.resource import Resource
from meshscope.policy.source import ResourceRef
from meshscope.watcher.control_plane import SettingsFile, control_plane, revisions
from meshscope.watcher.manifests import read_manifests
from meshscope.watcher.problem import ProblemCode


def resources(*texts: str) -> tuple[Resource, ...]:
    manifests = read_manifests(
        (f"f{number}.yaml", dedent(text).encode()) for number, text in enumerate(texts, start=1)
    )
    assert not manifests.problems
    return manifests.resources


def config_map(mesh: str, name: str = "istio", namespace: str = "istio-system") -> str:
    return (
        f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: {namespace}}}\n"
        f"data:\n  mesh: |\n{indent(dedent(mesh), '    ')}\n  meshNetworks: 'networks: {{}}'\n"
    )


DEPLOYMENT = """\
    apiVersion: apps/v1
    kind: Deployment
    metadata: {name: istiod, namespace: istio-system, labels: {app: istiod, istio.io/rev: default}}
    spec:
      template:
        spec:
          containers:
          - name: proxy
          - name: discovery
            image: docker.io/istio/pilot:1.29.6-distroless
            env:
            - {name: PILOT_ENABLE_ALPN_FILTER, value: "false"}
            - {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
"""


def test_settings_come_from_config_map_and_deployment() -> None:
    declared = control_plane(resources(config_map("trustDomain: td\n"), DEPLOYMENT))
    assert not declared.problems
    plane = declared.control_plane
    assert plane.mesh_config == {"trustDomain": "td"}
    assert plane.mesh_networks == {"networks": {}}
    assert plane.environment == {"PILOT_ENABLE_ALPN_FILTER": "false"}
    assert plane.version == "1.29.6"
    assert plane.assumed == ()


def test_what_is_not_found_is_assumed() -> None:
    declared = control_plane(())
    assert not declared.problems
    assert declared.control_plane.assumed == (
        "mesh_config",
        "mesh_networks",
        "environment",
        "version",
    )


def test_what_is_given_wins() -> None:
    declared = control_plane(
        resources(config_map("trustDomain: td\n"), DEPLOYMENT),
        version="1.31.0",
        environment={"PILOT_ENABLE_ALPN_FILTER": "true", "X": "1"},
        mesh_config=SettingsFile("mesh.yaml", "trustDomain: other\n"),
    )
    plane = declared.control_plane
    assert plane.mesh_config == {"trustDomain": "other"}
    assert plane.environment == {"PILOT_ENABLE_ALPN_FILTER": "true", "X": "1"}
    assert plane.version == "1.31.0"


def test_a_revision_has_its_own_config_map() -> None:
    found = resources(
        config_map("trustDomain: a\n"), config_map("trustDomain: b\n", "istio-canary")
    )
    assert control_plane(found, revision="canary").control_plane.mesh_config == {"trustDomain": "b"}
    assert control_plane(found).control_plane.mesh_config == {"trustDomain": "a"}


def test_another_root_namespace_counts_where_it_is_the_only_one() -> None:
    elsewhere = config_map("trustDomain: x\n", namespace="mesh")
    assert control_plane(resources(elsewhere)).control_plane.mesh_config == {"trustDomain": "x"}
    both = resources(elsewhere, config_map("trustDomain: a\n"))
    assert control_plane(both).control_plane.mesh_config == {"trustDomain": "a"}


def test_two_candidates_are_no_guess() -> None:
    declared = control_plane(
        resources(
            config_map("trustDomain: x\n", namespace="a"),
            config_map("trustDomain: y\n", namespace="b"),
        )
    )
    assert "mesh_config" in declared.control_plane.assumed
    (problem,) = declared.problems
    assert "any of ConfigMap a/istio, ConfigMap b/istio" in problem.message


def test_bad_yaml_in_the_config_map_is_reported() -> None:
    declared = control_plane(resources(config_map("trustDomain: td\naccessLogFile: [\n")))
    assert "mesh_config" in declared.control_plane.assumed
    (problem,) = declared.problems
    assert problem.code is ProblemCode.MESH_CONFIG
    assert problem.resource == ResourceRef("ConfigMap", "istio-system", "istio")
    assert (problem.path, problem.line) == ("f1.yaml", 1)
    assert "ConfigMap istio-system/istio: line 2 of data.mesh: not valid YAML" in problem.message


def test_settings_that_are_no_mapping_or_stand_twice() -> None:
    (problem,) = control_plane(resources(config_map("- a\n"))).problems
    assert "must be a mapping" in problem.message
    declared = control_plane(resources(config_map("trustDomain: a\ntrustDomain: b\n")))
    assert declared.control_plane.mesh_config == {"trustDomain": "b"}
    assert "'trustDomain' was set in line 1 already" in declared.problems[0].message


def test_a_mesh_config_file_may_be_the_config_map() -> None:
    declared = control_plane(
        (), mesh_config=SettingsFile("m.yaml", config_map("trustDomain: td\n"))
    )
    assert declared.control_plane.mesh_config == {"trustDomain": "td"}
    (problem,) = control_plane((), mesh_config=SettingsFile("m.yaml", "a: [\n")).problems
    assert (problem.path, problem.line) == ("m.yaml", 1)
    (problem,) = control_plane((), mesh_config=SettingsFile("m", "kind: ConfigMap\n")).problems
    assert "no text under data.mesh" in problem.message


def test_revisions_are_those_with_settings() -> None:
    assert revisions(()) == ("default",)
    assert revisions(resources(config_map("a: 1", "istio-canary"))) == ("canary",)
    canary = DEPLOYMENT.replace("rev: default", "rev: canary")
    assert revisions(resources(config_map("a: 1"), canary)) == ("canary", "default")
    other = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio-ca-root-cert}\ndata: {a: b}\n"
    assert revisions(resources(other)) == ("default",)


def test_settings_that_are_empty_or_of_the_wrong_shape() -> None:
    assert control_plane(resources(config_map(""))).control_plane.mesh_config == {}
    for data, message in (("{mesh: 5}", "data.mesh must be text"), ("[]", "")):
        text = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: istio}}\ndata: {data}\n"
        declared = control_plane(resources(text))
        assert "mesh_config" in declared.control_plane.assumed
        assert message in "".join(problem.message for problem in declared.problems)
    (problem,) = control_plane((), mesh_config=SettingsFile("m", "a: 1\n---\nb: 1\n")).problems
    assert (problem.line, "second one" in problem.message) == (3, True)
