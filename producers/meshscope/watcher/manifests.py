"""Text of manifests → resources, and what is wrong with the text."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from meshscope.events.resource import Resource
from meshscope.policy.source import ResourceRef
from meshscope.watcher.known_fields import unknown_fields
from meshscope.watcher.problem import Problem, ProblemCode, Severity
from meshscope.watcher.yaml_text import Document, documents

MAX_FILE_BYTES = 128 * 1024 * 1024
"""Larger files are not read: all Pods of a cluster of 10,000 take about half of this."""

_OWNER: Final = ("generateName", "ownerReferences")
DEFAULT_NAMESPACE = "default"

CLUSTER_SCOPED = frozenset(
    {
        ("", "Namespace"),
        ("", "Node"),
        ("", "PersistentVolume"),
        ("admissionregistration.k8s.io", "MutatingAdmissionPolicy"),
        ("admissionregistration.k8s.io", "MutatingAdmissionPolicyBinding"),
        ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"),
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"),
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding"),
        ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"),
        ("apiextensions.k8s.io", "CustomResourceDefinition"),
        ("apiregistration.k8s.io", "APIService"),
        ("certificates.k8s.io", "CertificateSigningRequest"),
        ("certificates.k8s.io", "ClusterTrustBundle"),
        ("gateway.networking.k8s.io", "GatewayClass"),
        ("networking.k8s.io", "IngressClass"),
        ("networking.k8s.io", "IPAddress"),
        ("networking.k8s.io", "ServiceCIDR"),
        ("node.k8s.io", "RuntimeClass"),
        ("rbac.authorization.k8s.io", "ClusterRole"),
        ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
        ("scheduling.k8s.io", "PriorityClass"),
        ("storage.k8s.io", "CSIDriver"),
        ("storage.k8s.io", "CSINode"),
        ("storage.k8s.io", "StorageClass"),
        ("storage.k8s.io", "VolumeAttachment"),
    }
)
"""Group and kind of resources that belong to no namespace; others without one get `default`."""

_RENDERED_BY = {"kustomize.config.k8s.io": "kustomize build"}
"""Documents that another program turns into resources, by API group."""


@dataclass(frozen=True, slots=True)
class Manifests:
    """What a set of files declares.

    Attributes:
        resources: One per group, kind, namespace and name, in the order of the text.
        problems: What is wrong, in the order of the text.
    """

    resources: tuple[Resource, ...] = ()
    problems: tuple[Problem, ...] = ()


def read_manifests(files: Iterable[tuple[str, bytes]]) -> Manifests:
    """Read files, given as path and content, as one `kubectl apply` of all of them would.

    Of two resources of one name the later counts, as it would after `kubectl apply`, and that there
    are two is reported. Files count in the order in which they are given.
    """
    resources: list[Resource] = []
    problems: list[Problem] = []
    for path, data in files:
        read = read_file(path, data)
        resources += read.resources
        problems += read.problems
    unique, duplicates = without_duplicates(resources)
    return Manifests(unique, (*problems, *duplicates))


def read_file(path: str, data: bytes) -> Manifests:
    """Read one file; resources of one name are all given, in order."""
    if len(data) > MAX_FILE_BYTES:
        limit = MAX_FILE_BYTES // (1024 * 1024)
        return Manifests(problems=(_unreadable(path, 0, f"larger than {limit} MiB: split it"),))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        return Manifests(
            problems=(_unreadable(path, line, "not UTF-8 text: convert it, or leave it out"),)
        )
    resources: list[Resource] = []
    problems: list[Problem] = []
    for document in documents(text):
        if document.error:
            problems.append(
                _unreadable(path, document.line, f"document {document.index}: {document.error}")
            )
            continue
        reader = _Reader(path, document)
        resources += reader.resources(document.value)
        problems += reader.problems
    return Manifests(tuple(resources), tuple(problems))


def without_duplicates(
    resources: Iterable[Resource],
) -> tuple[tuple[Resource, ...], tuple[Problem, ...]]:
    """Keep the last resource of each name, and report the others."""
    last: dict[tuple[str, str, str, str], Resource] = {}
    problems: list[Problem] = []
    for resource in resources:
        identity = (resource.group, resource.kind, resource.namespace, resource.name)
        earlier = last.pop(identity, None)
        last[identity] = resource
        if earlier is not None:
            path, place = _place(earlier)
            problems.append(
                Problem(
                    path,
                    earlier.line,
                    f"{earlier.ref} is declared again at {_place(resource)[1]}: the later one "
                    f"counts, as `kubectl apply` would have it, and this one at {place} has no "
                    "effect; remove one of them",
                    "warning",
                    ProblemCode.DUPLICATE_RESOURCE,
                    earlier.ref,
                )
            )
    return tuple(last.values()), tuple(problems)


def _place(resource: Resource) -> tuple[str, str]:
    path = resource.origin.rpartition("#")[0] or resource.origin
    return path, f"{path}:{resource.line}"


def _unreadable(path: str, line: int, message: str) -> Problem:
    return Problem(path, line, message, "error", ProblemCode.UNREADABLE)


class _Reader:
    """Reads the resources of one document and collects its problems."""

    def __init__(self, path: str, document: Document) -> None:
        self.problems: list[Problem] = []
        self._path = path
        self._document = document

    def resources(self, value: Any) -> Iterator[Resource]:
        """The resources of the document, those inside a list among them."""
        for duplicate in self._document.duplicates:
            self._report(
                duplicate.line,
                f"the key {duplicate.key!r} stands here for the second time, after line "
                f"{duplicate.first_line}: the later value is taken, but `kubectl apply` refuses "
                "this; remove one of them",
                ProblemCode.REFUSED_BY_KUBERNETES,
            )
        if value is not None:
            yield from self._resources(value, {})

    def _resources(self, value: Any, inherited: Mapping[str, str]) -> Iterator[Resource]:
        if not isinstance(value, dict):
            self._report(
                self._document.line,
                f"document {self._document.index} is {_noun(value)}, not a resource: a resource "
                "is a mapping with apiVersion, kind and metadata",
                ProblemCode.NOT_A_RESOURCE,
            )
            return
        line = self._document.line_of(value)
        api_version = value.get("apiVersion") or inherited.get("apiVersion")
        kind = value.get("kind") or inherited.get("kind")
        if not (isinstance(api_version, str) and isinstance(kind, str)):
            missing = " and ".join(
                name
                for name, found in (("apiVersion", api_version), ("kind", kind))
                if not isinstance(found, str)
            )
            what = f"no {missing}"
            if isinstance(value.get("configs"), list):
                what = "this is a configuration dump of a proxy"
            self._report(line, f"not a resource: {what}", ProblemCode.NOT_A_RESOURCE)
        elif kind.endswith("List") and isinstance(value.get("items"), list | None):
            # Items of a typed list, such as a PodList, need not repeat what the list says.
            known = kind.removesuffix("List")
            typed = {"apiVersion": api_version, "kind": known} if known else {}
            for item in value.get("items") or ():
                yield from self._resources(item, typed)
        else:
            resource = self._resource(value, api_version, kind, line)
            if resource is not None:
                yield resource

    def _resource(
        self, value: dict[str, Any], api_version: str, kind: str, line: int
    ) -> Resource | None:
        group, _, version = api_version.rpartition("/")
        if group in _RENDERED_BY:
            self._report(
                line,
                f"{kind} is not sent to Kubernetes: MeshScope reads the resources that it stands "
                f"for, so give it the output of `{_RENDERED_BY[group]}`",
                ProblemCode.NOT_RENDERED,
                "warning",
            )
            return None
        metadata = value.get("metadata")
        name = metadata.get("name") if isinstance(metadata, dict) else None
        if not isinstance(metadata, dict) or not isinstance(name, str) or not name:
            self._report(
                line,
                f"{kind} without a name: metadata.name must be text"
                + (f", but is {_noun(name)}" if name is not None else ""),
                ProblemCode.NOT_A_RESOURCE,
            )
            return None
        namespace = metadata.get("namespace") or DEFAULT_NAMESPACE
        if (group, kind) in CLUSTER_SCOPED:
            namespace = ""
        elif not isinstance(namespace, str):
            self._report(
                self._document.line_of(metadata, "namespace"),
                f"{kind} {name}: metadata.namespace must be text, but is {_noun(namespace)}",
                ProblemCode.NOT_A_RESOURCE,
            )
            return None
        ref = ResourceRef(kind, namespace, name)
        resource = Resource(
            group=group,
            version=version,
            kind=kind,
            namespace=namespace,
            name=name,
            labels=self._texts(metadata, "labels", ref),
            annotations=self._texts(metadata, "annotations", ref),
            created_at=_text_or_none(metadata.get("creationTimestamp")),
            body=_body(value, metadata),
            uid=_text_or_none(metadata.get("uid")) or "",
            resource_version=_text_or_none(metadata.get("resourceVersion")) or "",
            origin=f"{self._path}#{self._document.index}",
            line=line,
        )
        return self._checked(resource, group, value, ref)

    def _checked(
        self, resource: Resource, group: str, value: dict[str, Any], ref: ResourceRef
    ) -> Resource:
        """Report what the API server would refuse or drop."""
        for field in unknown_fields(group, resource.kind, value):
            hint = f" (did you mean {field.suggestion!r}?)" if field.suggestion else ""
            self._report(
                self._document.line_of(field.holder, field.name),
                f"{ref}: there is no field {field.path}{hint}; Kubernetes drops it, or refuses the "
                "resource under strict validation",
                ProblemCode.UNKNOWN_FIELD,
                resource=ref,
            )
        spec = resource.body.get("spec")
        if spec is not None and not isinstance(spec, dict):
            self._report(
                self._document.line_of(value, "spec"),
                f"{ref}: spec must be a mapping, but is {_noun(spec)}: it is taken for empty",
                ProblemCode.REFUSED_BY_KUBERNETES,
                resource=ref,
            )
            return replace(resource, body={**resource.body, "spec": {}})
        return resource

    def _texts(self, metadata: dict[str, Any], field: str, ref: ResourceRef) -> Mapping[str, str]:
        """Labels or annotations; values that are no text are taken as they are written."""
        given = metadata.get(field)
        if given is None:
            return {}
        if not isinstance(given, dict):
            self._report(
                self._document.line_of(metadata, field),
                f"{ref}: metadata.{field} must be a mapping, but is {_noun(given)}: it is taken "
                "for empty",
                ProblemCode.REFUSED_BY_KUBERNETES,
                resource=ref,
            )
            return {}
        texts: dict[str, str] = {}
        for key, value in given.items():
            if isinstance(value, str):
                texts[key] = value
                continue
            # Kubernetes takes null for the empty string.
            composite = value is None or isinstance(value, dict | list)
            written = "" if composite else self._document.text_of(given, key)
            texts[key] = written
            if value is None:
                continue
            quote = f': write {key}: "{written}"' if written else ""
            self._report(
                self._document.line_of(given, key),
                f"{ref}: metadata.{field}.{key} must be text, but is {_noun(value)}{quote}",
                ProblemCode.REFUSED_BY_KUBERNETES,
                resource=ref,
            )
        return texts

    def _report(
        self,
        line: int,
        message: str,
        code: ProblemCode,
        severity: Severity = "error",
        resource: ResourceRef | None = None,
    ) -> None:
        self.problems.append(Problem(self._path, line, message, severity, code, resource))


def _body(value: dict[str, Any], metadata: dict[str, Any]) -> dict[str, Any]:
    """The manifest without the metadata that a `Resource` has fields for."""
    found = {
        key: field for key, field in value.items() if key not in ("apiVersion", "kind", "metadata")
    }
    if value.get("kind") == "Pod" and (owner := {k: metadata[k] for k in _OWNER if k in metadata}):
        found["metadata"] = owner
    return found


def _text_or_none(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _noun(value: Any) -> str:
    """What a value is, for a message."""
    match value:
        case None:
            return "empty"
        case bool():
            return f"the boolean {'true' if value else 'false'}"
        case int() | float():
            return f"the number {value}"
        case str():
            return f"the text {value[:40]!r}"
        case list():
            return "a list"
        case _:
            return "a mapping"
