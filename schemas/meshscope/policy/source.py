"""Which resource something came from."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class ResourceRef:
    """A resource of the control plane by name.

    Attributes:
        kind: Kind as in its manifest, such as `VirtualService`.
        namespace: Its namespace; empty for cluster-scoped resources.
        name: Its name.
    """

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return (
            f"{self.kind} {self.namespace}/{self.name}"
            if self.namespace
            else f"{self.kind} {self.name}"
        )
