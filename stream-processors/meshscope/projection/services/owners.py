"""Which workload a Pod belongs to, as its owner and labels say.

Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/owners-dependents/.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from meshscope.events.resource import Resource

_HASHES: Final = ("pod-template-hash", "rollouts-pod-template-hash")
"""Labels with what Deployments and Argo's Rollouts append to the names of their ReplicaSets."""

_DEPLOYMENT_CONFIG: Final = "deploymentconfig"
_SCHEDULED: Final = re.compile(r"(.+)-\d{8,10}")
"""Name of a Job that a CronJob made."""


def workload_name(pod: Resource) -> str:
    """Name of the workload; that of the Pod where it has no owner.

    Without anything about owners, as in Pods that were written down before it was kept, the name
    of the Pod tells its Deployment.
    """
    metadata: Mapping[str, Any] | None = pod.body.get("metadata")
    if metadata is None:
        revision = pod.labels.get(_HASHES[0], "")
        before, found, _ = pod.name.rpartition(f"-{revision}-")
        return before if revision and found else pod.name
    references: Iterable[Mapping[str, Any]] = metadata.get("ownerReferences") or ()
    owner = next((one for one in references if one.get("controller")), None)
    if not metadata.get("generateName") or owner is None:
        return pod.name
    return _workload(str(owner.get("kind")), str(owner.get("name")), pod.labels) or pod.name


def _workload(kind: str, name: str, labels: Mapping[str, str]) -> str:
    """What stands behind the controller of a Pod."""
    match kind:
        case "ReplicaSet":
            for label in _HASHES:
                revision = labels.get(label)
                if revision and name.endswith(revision):
                    return name.removesuffix(f"-{revision}")
        case "ReplicationController":
            return labels.get(_DEPLOYMENT_CONFIG) or name
        case "Job":
            scheduled = _SCHEDULED.fullmatch(name)
            return name if scheduled is None else scheduled[1]
    return name
