"""Exact sets of requests.

`conditions.py` says which set a condition of a policy denotes, along one of the dimensions of
`dimensions.py`; `decision_list.py` answers what lists of rules made of them mean. Below them:
`strings.py` and `regex.py` (regular languages), `partition.py` (atoms), `space.py` and
`diagrams.py` (decision diagrams over atoms), `witness.py` (the simplest request of a set).

Answers are exact or `Undecided`; an answer that hangs on something unmodelled carries it in the
request's `assumes`.
"""
