"""Faults: requests of unmodified programs broken on purpose, by rules of one line (docs/faults.md).

May live here: the language of rules, and what a rule does to a request. It reaches requests by the hook points
(ops/hooks.py) alone; without a rule nothing here is called.
"""
