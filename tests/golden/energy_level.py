"""Energy level: the energies as the published code logs them."""

from __future__ import annotations

import torch
from torch import Tensor

from lib_ebca.attention.energy import conditional_energy, likelihood_energy, prior_energy
from tests.golden.case import Case


def run(case: Case, dtype: torch.dtype) -> dict[str, Tensor]:
    """``E_q_given_c``, ``E_c_given_q`` with its summary, and ``E_c`` of an energy case."""
    query, key, scores = (case.given(f"in.{name}", dtype) for name in ("q", "k", "scores"))
    # The scores were recorded in float32, so that they are not the product of q and k to the last digit of float64.
    # Unit vectors as queries and the scores as keys have exactly these scores.
    units, score_keys = torch.eye(scores.shape[1], dtype=dtype).expand(len(scores), -1, -1), scores.transpose(1, 2)
    head = case.meta["head_index"]
    conditional = conditional_energy(units, score_keys, 1.0)
    # The published hook takes the scores of one head and the norms of the queries of the last.
    norms = 0.5 * (query[-1].square().sum(-1) - units[head].square().sum(-1))
    return {
        "E_c_given_q": conditional,
        "E_c_given_q_scalar": conditional.mean(0).sum(-1, keepdim=True),
        "E_c": prior_energy(key[-1:]),
        "E_q_given_c": likelihood_energy(units[head], score_keys[head], 1.0) + norms,
    }
