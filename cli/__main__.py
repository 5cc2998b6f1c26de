"""`python -m cli`: the command `ebca` from a checkout that is not installed."""

from __future__ import annotations

from .main import main

main()
