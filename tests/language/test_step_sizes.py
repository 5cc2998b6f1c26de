"""Which step size is blamed for a picture that is not finite."""

from __future__ import annotations

import pytest

from lib_ebca.language.directives import parse
from lib_ebca.language.step_sizes import not_finite


@pytest.mark.parametrize(
    ("prompt", "named"),
    [
        ("<bcu:50:0.02>", "attn is 50 (published: 0.01). "),
        ("<bcu:0.01:-7>", "norm is -7 (published: 0.02). "),
        ("cat <bcu:0.01:0.02> <boost:cat:1e6>", "attn times the boost of 'cat' is 10000 (published: 0.01). "),
        ("<edit:dog:0.5:norm=3>", "norm of the edit 'dog' is 3 (published: 0.001). "),
        ("cat <excite:cat:scale=1e9>", "scale of the subject 'cat' is 1e+09 (published: 20). "),
        ("<bcu:5:100>", "norm is 100 (published: 0.02); attn is 5 (published: 0.01). "),
    ],
)
def test_the_worst_is_named_first_beside_the_published_one(prompt: str, named: str) -> None:
    told = not_finite([parse(prompt).plan])
    assert told.startswith(f"The picture is not finite: a step was too large for this model. {named}Take")


def test_a_plan_of_published_sizes_is_not_blamed() -> None:
    told = not_finite([parse("a cat <bcu:0.01:0.02> <edit:dog:0.5:attn=1e-3> <excite:cat>").plan])
    assert "no step size of its plan is above the published one" in told


def test_of_several_pictures_each_size_is_told_once() -> None:
    plans = [parse(prompt).plan for prompt in ("<bcu:50:0.02>", "<bcu:50:0.02>", "<bcu:0.01:3>")]
    assert not_finite(plans).count("published:") == 2
