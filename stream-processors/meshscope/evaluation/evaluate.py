"""What one sidecar does with one request."""

from collections.abc import Mapping

from meshscope.evaluation.call import Call
from meshscope.evaluation.inbound import evaluate_inbound
from meshscope.evaluation.outbound import evaluate_outbound
from meshscope.evaluation.trace import Trace
from meshscope.policy.key import PolicyKey
from meshscope.policy.policy import Policy


def evaluate(policies: Mapping[PolicyKey, Policy], call: Call) -> Trace:
    """Follow a request through a sidecar.

    Args:
        policies: Of one proxy, declared or held.
        call: The request, and which way it goes. `request.port` is the port of the original
            destination, inbound that of the workload.

    Returns:
        Every decision in order and the outcome. Where something decides that is not modelled, or
        that only chance or another service knows, the outcome is `undecided` and says on what it
        depends.
    """
    match call.direction:
        case "inbound":
            return evaluate_inbound(policies, call)
        case "outbound":
            return evaluate_outbound(policies, call)
