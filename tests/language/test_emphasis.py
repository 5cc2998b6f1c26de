from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib_ebca.language.emphasis import BREAK, parse

MORE, LESS = 1.1, 1 / 1.1


@pytest.mark.parametrize(
    ("prompt", "runs"),
    [
        ("", [("", 1.0)]),
        ("a red: cat", [("a red: cat", 1.0)]),
        ("an (important) word", [("an ", 1.0), ("important", MORE), (" word", 1.0)]),
        ("[less] of it", [("less", LESS), (" of it", 1.0)]),
        ("((a)) [[b]]", [("a", MORE * MORE), (" ", 1.0), ("b", LESS * LESS)]),
        ("(a:1.3)(b: +.5 )(c:-2)", [("a", 1.3), ("b", 0.5), ("c", -2.0)]),
        ("(unbalanced", [("unbalanced", MORE)]),
        ("[un(balanced", [("un", LESS), ("balanced", MORE * LESS)]),
        ("a) b] c:1.2)", [("a) b] c:1.2)", 1.0)]),
        (r"\(literal\] \\ \x", [(r"(literal] \ x", 1.0)]),
        ("(unnecessary)(parens)", [("unnecessaryparens", MORE)]),
        ("(a:1.2.3)", [("a:1.2.3", MORE)]),
        ("(a:x)", [("a:x", MORE)]),
        ("([a])", [("a", LESS * MORE)]),
        ("[a:b:0.5]", [("a:b:0.5", LESS)]),
        (
            "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).",
            [
                ("a ", 1.0),
                ("house", 1.3 * MORE * MORE),
                (" ", MORE),
                ("on", LESS * MORE),
                (" a ", MORE),
                ("hill", 0.5 * MORE),
                (", sun, ", MORE),
                ("sky", MORE * MORE * MORE * MORE),
                (".", MORE),
            ],
        ),
    ],
)
def test_runs_and_weights(prompt: str, runs: list[tuple[str, float]]) -> None:
    got = parse(prompt)
    assert [text for text, _ in got] == [text for text, _ in runs]
    assert [weight for _, weight in got] == pytest.approx([weight for _, weight in runs], rel=1e-12)


def test_equal_weights_merge() -> None:
    assert parse("(a)b(c:1)") == [("a", 1.1), ("bc", 1.0)]


@pytest.mark.parametrize(
    ("prompt", "runs"),
    [
        ("a BREAK b", [("a", 1.0), BREAK, ("b", 1.0)]),
        ("a\nBREAK\n\nb", [("a", 1.0), BREAK, ("b", 1.0)]),
        ("BREAK", [("", 1.0), BREAK, ("", 1.0)]),
        ("a BREAK BREAK b", [("a", 1.0), BREAK, ("", 1.0), BREAK, ("b", 1.0)]),
        ("a BREAK(b)", [("a", 1.0), BREAK, ("", 1.0), ("b", 1.1)]),
        ("BREAKFAST break aBREAK", [("BREAKFAST break aBREAK", 1.0)]),
        ("(a BREAK b:2)", [("a", 2.0), ("BREAK", -2.0), ("b", 2.0)]),
    ],
)
def test_break(prompt: str, runs: list[tuple[str, float]]) -> None:
    assert parse(prompt) == runs


@given(st.text(st.characters(exclude_characters="()[]\\:")).filter(lambda text: "BREAK" not in text))
def test_plain_text_is_one_run(text: str) -> None:
    assert parse(text) == [(text, 1.0)]


@given(st.text() | st.text("()[]\\:1. BREAK"))
def test_neighbouring_runs_differ_in_weight(text: str) -> None:
    assert all(before[1] != after[1] for before, after in pairwise(parse(text)))


@pytest.mark.parametrize(
    "prompt", [" " * 100_000, "(a:" + "1" * 100_000, ":" * 100_000, "BREAK " * 16_000, "\\" * 100_000]
)
def test_long_prompts_are_no_trouble(prompt: str) -> None:
    started = time.process_time()
    parse(prompt)
    assert time.process_time() - started < 5.0


@pytest.mark.parametrize("unit", ["a(", "(a", "a[", "[(a", "a:", ": ", "\\", ":1", "(BREAK ", "(a:1.1)("])
def test_reading_is_linear_however_deep(unit: str) -> None:
    prompt = unit * (200_000 // len(unit))
    started = time.process_time()
    parse(prompt)
    assert time.process_time() - started < 10  # a quadratic reader takes minutes


@given(st.lists(st.sampled_from(["(", ")", "[", "]", ":1.3)", ":0.5)", "a", "b ", "\\(", ":"]), max_size=20))
def test_every_bracket_weighs_what_stands_between_its_ends(pieces: list[str]) -> None:
    prompt = "".join(pieces)
    weights: list[float] = []
    opened: dict[str, list[int]] = {"(": [], "[": []}
    position = 0
    while position < len(prompt):
        rest = prompt[position:]
        weight = next((w for w in (":1.3)", ":0.5)") if rest.startswith(w)), None)
        if rest.startswith("\\("):
            weights.append(1.0)
            position += 2
            continue
        if rest[0] in opened:
            opened[rest[0]].append(len(weights))
        elif opened["("] and (weight or rest[0] == ")"):
            start = opened["("].pop()
            weights[start:] = [w * (float(weight[1:-1]) if weight else MORE) for w in weights[start:]]
        elif rest[0] == "]" and opened["["]:
            start = opened["["].pop()
            weights[start:] = [w * LESS for w in weights[start:]]
        else:
            weights += [1.0] * (len(weight) if weight else 1)
        position += len(weight) if weight else 1
    for starts, factor in ((opened["("], MORE), (opened["["], LESS)):
        for start in starts:
            weights[start:] = [w * factor for w in weights[start:]]
    assert [weight for text, weight in parse(prompt) for _ in text] == pytest.approx(weights)
