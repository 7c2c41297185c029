"""From what was found to what somebody should look at: anomalies and their life cycle.

`anomaly` says which anomaly a drift is evidence of; `lifecycle` folds drifts into anomalies that
open, change and resolve.
"""
