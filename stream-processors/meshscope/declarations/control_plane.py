"""Istio's own installation as far as it is declared: webhooks, and what istiod fetches."""

from collections.abc import Iterator
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from meshscope.declarations.finding import Finding, Said
from meshscope.declarations.reading import mapping, mappings, text
from meshscope.declarations.surroundings import Surroundings
from meshscope.declarations.workloads import workloads
from meshscope.events.resource import Resource

NO_WEBHOOK: Final = "MSC-2905"
JWKS: Final = "MSC-2906"
ADDRESS: Final = "MSC-2907"
NO_SERVICE: Final = "MSC-2908"

_NAMES: Final = ("istio-sidecar-injector", "istio-validator", "istiod-default-validator")
_BLOCKED: Final = "BLOCKED_CIDRS_IN_JWKS_URIS"


def webhooks(configuration: Resource, around: Surroundings) -> Iterator[Said]:
    """Webhooks of Istio that lead nowhere, or to an address instead of a name."""
    if not configuration.name.startswith(_NAMES):
        return
    found = list(mappings(configuration.body, "webhooks"))
    if not found:
        yield Finding(NO_WEBHOOK, configuration, "webhooks", "there is no webhook in it")
    for place, webhook in found:
        client = mapping(webhook, "clientConfig")
        field = f"webhooks[{place}].clientConfig"
        service, url = mapping(client, "service"), text(client, "url")
        if not service and not url:
            yield Finding(
                NO_WEBHOOK,
                configuration,
                field,
                f"webhook {text(webhook, 'name')} has neither a service nor a URL: nothing is "
                "asked",
            )
        elif service:
            namespace, name = text(service, "namespace"), text(service, "name")
            missing = around.named("Service", namespace, name) is None
            if missing and around.lacks_services(namespace) is None:
                yield Finding(
                    NO_SERVICE,
                    configuration,
                    f"{field}.service",
                    f"there is no Service {namespace}/{name} for webhook {text(webhook, 'name')}",
                )
        elif _is_address(urlsplit(url).hostname or ""):
            yield Finding(
                ADDRESS,
                configuration,
                f"{field}.url",
                f"webhook {text(webhook, 'name')} is at an address, {urlsplit(url).hostname}: a "
                "name would outlive it, and certificates are for names",
            )


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def fetched_keys(deployment: Resource, around: Surroundings) -> Iterator[Said]:
    """An istiod that fetches keys from wherever a RequestAuthentication says."""
    if deployment.labels.get("app") != "istiod":
        return
    asking = [
        one
        for one in around.of("RequestAuthentication")
        for _, rule in mappings(one.spec, "jwtRules")
        if text(rule, "jwksUri")
    ]
    blocked = any(
        text(variable, "name") == _BLOCKED and text(variable, "value")
        for workload in workloads((deployment,))
        for container in workload.containers()
        for _, variable in mappings(container, "env")
    )
    if asking and not blocked:
        yield Finding(
            JWKS,
            deployment,
            "spec.template.spec.containers",
            f"istiod fetches the keys that RequestAuthentications name (jwksUri of {asking[0].ref}"
            f"{' and others' if len(asking) > 1 else ''}), and {_BLOCKED} keeps it from no "
            "address: whoever may write these resources can make it ask internal ones",
            related=(asking[0].ref,),
        )
