"""Namespaces and Pods: whether they get a sidecar, and which."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from meshscope.analysis.mesh import UNTOUCHED
from meshscope.declarations.finding import Finding, Said
from meshscope.declarations.reading import Json, mapping, mappings, number, text
from meshscope.declarations.surroundings import Surroundings, words
from meshscope.declarations.workloads import Workload, workloads
from meshscope.events.resource import Resource

NOT_SAID: Final = "MSC-2701"
CONTRADICTS: Final = "MSC-2702"
OTHER_PROXY: Final = "MSC-2703"
PROXY_USER: Final = "MSC-2704"
AUTO_IMAGE: Final = "MSC-2705"

_INJECTION: Final = "istio-injection"
_REVISION: Final = "istio.io/rev"
_AMBIENT: Final = "istio.io/dataplane-mode"
_INJECT: Final = "sidecar.istio.io/inject"
_IMAGE: Final = "sidecar.istio.io/proxyImage"
_SIDECAR: Final = "istio-proxy"
_USER: Final = 1337
"""The user of the proxy, whose traffic is not redirected."""

_VARIANTS: Final = ("-distroless", "-debug")


def injects(namespace: Mapping[str, str]) -> bool:
    """Whether a namespace with these labels asks for sidecars."""
    if namespace.get(_INJECTION):
        return namespace[_INJECTION] == "enabled"
    return bool(namespace.get(_REVISION))


def is_outside(workload: Workload, around: Surroundings) -> bool:
    """Whether a workload is known to have no sidecar."""
    if any(text(one, "name") == _SIDECAR for one in workload.containers()):
        return False
    wish = workload.labels.get(_INJECT) or workload.annotations.get(_INJECT)
    if wish:
        return wish == "false"
    declared = around.named("Namespace", "", workload.namespace)
    return declared is not None and bool(workload.spec) and not injects(declared.labels)


def namespace_labels(namespace: Resource, around: Surroundings) -> Iterator[Said]:
    """Namespaces that do not say whether they want sidecars, or say it twice."""
    own = namespace.labels
    wishes = [
        f"{name}={own[name]}"
        for name, counts in (
            (_INJECTION, own.get(_INJECTION) == "enabled"),
            (_REVISION, bool(own.get(_REVISION))),
            (_AMBIENT, own.get(_AMBIENT) == "ambient"),
        )
        if counts
    ]
    if len(wishes) > 1 and own.get(_INJECTION) != "disabled":
        yield Finding(
            CONTRADICTS,
            namespace,
            "metadata.labels",
            f"{' and '.join(wishes)} contradict each other: {_INJECTION} counts before "
            f"{_REVISION}, and both before ambient mode",
        )
    system = namespace.name in (*UNTOUCHED, around.root)
    if not system and not any(name in own for name in (_INJECTION, _REVISION, _AMBIENT)):
        everywhere = mapping(_injector(around, ""), "sidecarInjectorWebhook")
        follows = (
            "its Pods get a sidecar, since the injector does so where nothing is said"
            if everywhere.get("enableNamespacesByDefault")
            else "its Pods get no sidecar unless they ask for one themselves"
        )
        yield Finding(
            NOT_SAID,
            namespace,
            "metadata.labels",
            f"it has no label {_INJECTION}, {_REVISION} or {_AMBIENT}: {follows}",
        )


def other_proxies(namespace: Resource, around: Surroundings) -> Iterator[Said]:
    """Namespaces whose Pods run another proxy than would be injected today."""
    if not injects(namespace.labels):
        return
    wanted = _injected_image(around, namespace.labels.get(_REVISION, ""))
    if not wanted:
        return
    found: dict[str, str] = {}
    for pod in around.of("Pod"):
        if pod.namespace != namespace.name or _IMAGE in pod.annotations:
            continue
        for name in ("containers", "initContainers"):
            for _, container in mappings(pod.spec, name):
                image = text(container, "image")
                if text(container, "name") == _SIDECAR and _plain(image) != _plain(wanted):
                    found[pod.name] = image
    if found:
        yield Finding(
            OTHER_PROXY,
            namespace,
            "",
            f"{words(found)} run {words(found.values())}, and {wanted} would be injected: restart "
            "them to get it",
        )


def _plain(image: str) -> str:
    for variant in _VARIANTS:
        image = image.removesuffix(variant)
    return image


def _injected_image(around: Surroundings, revision: str) -> str:
    """The image that the injector of a revision would use; empty: not known."""
    given = mapping(_injector(around, revision), "global")
    image = text(mapping(given, "proxy"), "image")
    if "/" in image:
        return image
    hub, tag = given.get("hub"), given.get("tag")
    return f"{hub}/{image}:{tag}" if hub and tag and image else ""


def _injector(around: Surroundings, revision: str) -> Json:
    """The values of the injector of a revision; empty: not known."""
    name = "istio-sidecar-injector" + (f"-{revision}" if revision not in ("", "default") else "")
    for settings in around.of("ConfigMap"):
        if settings.name != name or settings.namespace != around.root:
            continue
        try:
            return mapping(json.loads(text(mapping(settings.body, "data"), "values") or "{}"))
        except ValueError:
            break
    return {}


def proxy_user(resource: Resource, around: Surroundings) -> Iterator[Said]:
    """Applications that run as the user of the proxy."""
    for workload in workloads((resource,)):
        if workload.labels.get(_INJECT) == "false" or not workload.spec:
            continue
        running = [
            text(container, "name")
            for container in workload.containers()
            if text(container, "name") != _SIDECAR and _user(container, workload.spec) == _USER
        ]
        if running:
            yield Finding(
                PROXY_USER,
                resource,
                "spec",
                f"{words(running)} runs as user {_USER}, whose traffic is taken for that of the "
                "proxy: it leaves without any policy of the mesh",
            )


def _user(container: Any, spec: Any) -> int:
    own = number(mapping(container, "securityContext"), "runAsUser")
    return own or number(mapping(spec, "securityContext"), "runAsUser")


def automatic_images(resource: Resource, around: Surroundings) -> Iterator[Said]:
    """Pods with the image `auto`, which only injection replaces, and without injection."""
    for workload in workloads((resource,)):
        used = [c for c in workload.containers() if text(c, "image") == "auto"]
        declared = around.named("Namespace", "", workload.namespace)
        wish = workload.labels.get(_INJECT) or workload.annotations.get(_INJECT)
        if not used or (wish == "true") or (declared is None and not around.complete):
            continue
        if wish != "false" and declared is not None and injects(declared.labels):
            continue
        yield Finding(
            AUTO_IMAGE,
            resource,
            "spec",
            f"container {text(used[0], 'name')} has the image `auto`, which injection would "
            "replace, and nothing is injected here: the Pod cannot start",
        )
