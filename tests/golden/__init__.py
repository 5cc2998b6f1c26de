"""The reference vectors of the published implementation, run against this one: ``python -m tests.golden [DIR]``."""
