"""The Faust app that joins both planes continuously; the only place that imports faust.

The pure core: `decoding` (records → values), `broadcast` and `policy_store` (what every worker
knows), `expectation` and `observation` (both sides of the comparison), `verification` (the decision
on one proxy), `agenda` (which proxies are due), `join` (all of it), `ledger` (anomalies). The
shell: `app`, `broadcast_reader`, `passed_over`, `outlet`, `tables`, `faust_guard`, `failure`,
`settings`.
"""
