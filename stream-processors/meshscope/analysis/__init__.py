"""From what was found to what somebody should look at: anomalies and their life cycle.

`delivery` finds what stands between a declaration and a proxy (its codes are `delivery_codes`, the
declared side is `mesh`), `explanation` which drifts that explains; `anomaly` says which anomaly a
drift or finding is evidence of; `lifecycle` folds both into anomalies that open, change and
resolve.
"""
