"""PC, the policy comparator: what differs between expected and observed, and what it means."""
