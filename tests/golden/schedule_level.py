"""Schedule level: the published tables, number by number."""

from __future__ import annotations

from typing import Any

import numpy as np

from lib_ebca.language.schedule import table


def error(published: dict[str, Any]) -> float:
    """The largest difference between a published table and ours in single precision; infinite if the lengths differ."""
    arguments = published["kwargs"]
    ours = table(
        published["name"],
        arguments["gamma_src"],
        published["num_time_steps"],
        arguments.get("gamma_tau"),
        arguments.get("ratio"),
    )
    if len(ours) != len(published["values"]):
        return float("inf")
    return max(abs(float(np.float32(a)) - b) for a, b in zip(ours, published["values"], strict=True))
