"""What a sidecar does with one request, step by step.

`evaluate` in `evaluate.py` is the function; `call.py` holds what it takes, `trace.py` what it
returns. `inbound.py` and `outbound.py` are the two ways through a sidecar.
"""

from meshscope.evaluation.call import Call, Token, split_target
from meshscope.evaluation.evaluate import evaluate
from meshscope.evaluation.trace import Outcome, Share, Step, Trace

__all__ = ["Call", "Outcome", "Share", "Step", "Token", "Trace", "evaluate", "split_target"]
