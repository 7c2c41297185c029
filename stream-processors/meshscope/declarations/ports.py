"""The ports that services send to a workload."""

from collections.abc import Iterator
from dataclasses import dataclass

from meshscope.declarations.surroundings import Surroundings
from meshscope.declarations.workloads import Workload
from meshscope.projection.services.registry import Service, ServicePort


@dataclass(frozen=True, slots=True, eq=False)
class ServedPort:
    """A port of a workload behind a port of a service.

    Attributes:
        service, port: Of the service.
        target: Of the workload.
    """

    service: Service
    port: ServicePort
    target: int


def served_ports(workload: Workload, around: Surroundings) -> Iterator[ServedPort]:
    """The ports of a workload that Kubernetes services of its namespace send to."""
    for service in around.mesh.registry.by_namespace.get(workload.namespace, ()):
        selector = service.selector
        if service.from_kubernetes and selector and selector.items() <= workload.labels.items():
            for port in service.ports:
                target = workload.port(port.target)
                if target:
                    yield ServedPort(service, port, target)
