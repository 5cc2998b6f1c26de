from __future__ import annotations

import pickle
import random
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lib_ebca import Boost, ContextUpdate, DirectiveError, Edit, Plan
from lib_ebca.language.checks import shortened
from lib_ebca.language.directives import Parsed, parse, write
from tests.language.test_plan import plans


def refused(prompt: str) -> DirectiveError:
    with pytest.raises(DirectiveError) as caught:
        parse(prompt)
    error = caught.value
    assert shortened(error.directive) in str(error)
    assert error.expected in str(error) and error.expected != ""
    assert 0 <= error.start < error.end <= len(prompt)
    return error


def test_the_example_of_the_syntax() -> None:
    parsed = parse("a cat on a sofa <bcu:0.01:0.02> <edit:dog:0.75:from=0.5> <edit:cat:-0.65:from=0.5> <boost:sofa:2>")
    assert parsed.text == "a cat on a sofa"
    assert parsed.plan == Plan(
        ContextUpdate(0.01, 0.02),
        (Edit("dog", 0.75, start=0.5), Edit("cat", -0.65, start=0.5)),
        (Boost("sofa", 2),),
    )


@pytest.mark.parametrize("between", ["", " ", "a", "<"])
def test_directives_side_by_side_are_all_read(between: str) -> None:
    parsed = parse(f"<edit:dog:0.5>{between}<edit:cat:0.25>{between}<boost:x:2><boost:y:3>x")
    assert parsed.plan == Plan(edits=(Edit("dog", 0.5), Edit("cat", 0.25)), boosts=(Boost("x", 2), Boost("y", 3)))
    assert parsed.text == f"{between}{between}x".strip()


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("<edit:(red:1.3) scarf:0.6>", Edit("(red:1.3) scarf", 0.6)),
        ("<edit:scarf (red:1.3):0.6>", Edit("scarf (red:1.3)", 0.6)),
        ("<edit:[a:b:0.5]:0.6>", Edit("[a:b:0.5]", 0.6)),
        ("<EDIT: dog : +.5 >", Edit("dog", 0.5)),
        ("<edit:dog:-1e-1:until=.5:attn=6e-4:norm=5e-4>", Edit("dog", -0.1, 0, 0.5, 6e-4, 5e-4)),
        ("<edit:dog:from=0.5:0.75>", Edit("dog", 0.75, 0.5)),
        ("<edit:a <lora:x:0.8> dog:0.5>", Edit("a <lora:x:0.8> dog", 0.5)),
        ("<edit:<lora:x:0.8>:0.5>", Edit("<lora:x:0.8>", 0.5)),
        ("<edit:5:0.5>", Edit("5", 0.5)),
        ("<edit:from=1:0.5>", Edit("from=1", 0.5)),
        (r"<edit:16\:9:0.5>", Edit("16:9", 0.5)),
        (r"<edit:a \< b \> c \\:0.5>", Edit("a < b > c \\", 0.5)),
        (r"<edit:\(dog\):0.5>", Edit(r"\(dog\)", 0.5)),
        (r"<edit:\<bcu\>:0.5>", Edit("<bcu>", 0.5)),
        ("<edit:two\nlines:0.5>", Edit("two\nlines", 0.5)),
        ("<bcu>", ContextUpdate()),
        ("<BCU:0.025:-0.01>", ContextUpdate(0.025, -0.01)),
        ("<bcu:from=0.2>", ContextUpdate(start=0.2)),
        (
            "<bcu:1:2:from=.1:until=.9:schedule=EXP:ratio=0.9:prior=paper>",
            ContextUpdate(1, 2, 0.1, 0.9, "exp", 0.9, "paper"),
        ),
        ("<boost:a red sofa:2>", Boost("a red sofa", 2)),
        ("<boost:shirt#2:2.5>", Boost("shirt", 2.5, 2)),
        ("<boost:*:2>", Boost("*", 2)),
        (r"<boost:\:-):2>", Boost(":-)", 2)),
    ],
)
def test_each_form(text: str, part: ContextUpdate | Edit | Boost) -> None:
    plan = parse(text).plan
    assert parse(text).text == ""
    assert part in (plan.update, *plan.edits, *plan.boosts)
    assert len(plan.edits) + len(plan.boosts) + (plan.stated_update is not None) == 1


@pytest.mark.parametrize(
    ("prompt", "left"),
    [
        ("a cat <bcu>", "a cat"),
        ("<bcu> a cat", "a cat"),
        ("  <bcu>  a cat", "a cat"),
        ("  a cat  <bcu> on", "  a cat  on"),
        ("a <bcu> cat", "a cat"),
        ("a<bcu> cat", "a cat"),
        ("a <bcu>cat", "a cat"),
        ("a<bcu>cat", "acat"),
        ("a \n<bcu> cat", "a \ncat"),
        ("a <bcu>\ncat", "a\ncat"),
        ("a\n<bcu>\ncat", "a\ncat"),
        ("a <bcu> <edit:b:1> <edit:c:1> cat", "a cat"),
        ("a, <edit:b:1>, cat", "a, , cat"),
        ("(a <edit:b:1>:1.2) [c:d:0.5]", "(a :1.2) [c:d:0.5]"),
        (" <bcu> ", ""),
    ],
)
def test_what_is_left_of_the_prompt(prompt: str, left: str) -> None:
    assert parse(prompt).text == left


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        "  two  spaces and a tab\t ",
        "(red:1.3) [blue] [a:b:0.5] [a|b] BREAK AND <lora:x:0.8> \\(literal\\)",
        "<editor> <bcuda> <bcu > <edit> <boost> < edit:dog:1> <boo:1> <editx:1> <bcu.1>",
        "<edi\u0131:dog:1> <boo\u017ft:dog:2>",
        "a < b > c :: <<>>",
    ],
)
def test_what_is_no_directive_passes_untouched(prompt: str) -> None:
    assert parse(prompt) == Parsed(prompt, Plan())


@pytest.mark.parametrize(
    ("prompt", "directive", "expected"),
    [
        ("a <edit:dog:0.5", "<edit:dog:0.5", "no closing >"),
        ("<edit:a < b:0.5>", "<edit:a < b:0.5>", "no closing >"),
        ("x <edit:dog> y", "<edit:dog>", "lacks STRENGTH"),
        ("<edit:dog:0,5>", "<edit:dog:0,5>", "lacks STRENGTH"),
        ("<edit:dog:from=0.5>", "<edit:dog:from=0.5>", "lacks STRENGTH"),
        ("<edit:0.5>", "<edit:0.5>", "lacks STRENGTH"),
        ("<edit::0.5>", "<edit::0.5>", "text is ''"),
        ("<edit: :0.5>", "<edit: :0.5>", "text is ' '"),
        ("<edit:dog:nan>", "<edit:dog:nan>", "STRENGTH is nan: it should be a finite number"),
        ("<edit:dog:-Infinity>", "<edit:dog:-Infinity>", "STRENGTH is -inf"),
        ("<edit:dog:1e999>", "<edit:dog:1e999>", "STRENGTH is inf"),
        ("<edit:dog:1:attn=nan>", "<edit:dog:1:attn=nan>", "attn is 'nan'"),
        ("<edit:dog:1:attn=>", "<edit:dog:1:attn=>", "attn is ''"),
        ("<edit:dog:16:9>", "<edit:dog:16:9>", "2 numbers; a colon that belongs to the text is written \\:"),
        ("<edit:dog:1:start=0.5>", "<edit:dog:1:start=0.5>", "'start': it knows from, until, attn, norm"),
        ("<edit:dog:1:from=0.5:FROM=0.6>", "<edit:dog:1:from=0.5:FROM=0.6>", "from should be given once"),
        ("<edit:dog:1:from=2>", "<edit:dog:1:from=2>", "from is 2.0: it should be a fraction"),
        ("<edit:dog:1:from=0.9:until=0.1>", "<edit:dog:1:from=0.9:until=0.1>", "at most until, which is 0.1"),
        ("<edit:<edit:a:1>:1>", "<edit:<edit:a:1>:1>", "no other directive"),
        ("<boost:<bcu>:1>", "<boost:<bcu>:1>", "no other directive"),
        ("<bcu:>", "<bcu:>", "neither a number nor key=value"),
        ("<bcu:a:1>", "<bcu:a:1>", "'a' is neither"),
        ("<bcu:1>", "<bcu:1>", "lacks NORM"),
        ("<bcu:1:2:3>", "<bcu:1:2:3>", "has 3 numbers"),
        ("<bcu:schedule=cosine>", "<bcu:schedule=cosine>", "one of constant, step"),
        ("<bcu:schedule=exp>", "<bcu:schedule=exp>", "which the schedule exp needs"),
        ("<bcu:ratio=1>", "<bcu:ratio=1>", "left out, for the schedule constant"),
        ("<bcu:prior=mine>", "<bcu:prior=mine>", "published, paper"),
        ("<bcu> a <bcu:1:2>", "<bcu:1:2>", "a prompt takes one <bcu>"),
        ("<boost:dog>", "<boost:dog>", "lacks FACTOR"),
        ("<boost::2>", "<boost::2>", "word is ''"),
        ("<boost:dog:-2>", "<boost:dog:-2>", "at least 0"),
        ("<boost:dog#0:2>", "<boost:dog#0:2>", "occurrence is 0"),
        ("<boost:dog:from=0.5:2>", "<boost:dog:from=0.5:2>", "it takes none"),
        ("<ed<bcu>it:dog:1>", "<bcu>", "should not stand inside a word"),
        ("<bc<edit:a:1>u><edit:b:1>", "<edit:a:1>", "should not stand inside a word"),
        ("<edit:x:-.1:until=.2> <edit:a:-.6> x <edit:b:-.6:from=.2>", "<edit:a:-.6> <edit:b:-.6:from=.2>", "0.2 to 1"),
        ("<edit:x:1> <bcu:0:1> <boost:a:2>", "<bcu:0:1> <boost:a:2>", "other than 0"),
    ],
)
def test_what_cannot_be_read_is_quoted(prompt: str, directive: str, expected: str) -> None:
    error = refused(prompt)
    assert error.directive == directive
    assert expected in error.expected
    assert "\n" not in str(error)
    first = directive.split("> <")[0]
    assert prompt[error.start :].startswith(first)
    assert prompt[: error.end].endswith(directive[-5:])


def test_a_long_directive_is_quoted_in_short() -> None:
    error = refused("x <edit:" + "very " * 500 + "long>")
    assert len(str(error)) < 400
    assert error.directive.endswith("very long>") and error.start == 2
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.start, copy.end) == (str(error), error.start, error.end)


@given(plans())
@example(Plan(edits=(Edit("a:0.5", 1), Edit("\\", 1), Edit("<edit:a:1>", 1), Edit(">", 1), Edit("from=1:from=2", 1))))
@example(Plan(boosts=(Boost("a#2", 1, 3), Boost("#2", 1), Boost("\\:", 0), Boost("<bcu>", 1, 1))))
def test_a_written_plan_reads_back_equal(plan: Plan) -> None:
    parsed = parse(write(plan))
    assert parsed.plan == plan
    assert parsed.text == ""


def test_writing_is_short_and_readable() -> None:
    plan = Plan(
        ContextUpdate(0.01, 1, schedule="exp", ratio=0.9),
        (Edit("(red:1.3) <lora:x:0.8> scarf", 0.75, 0.5), Edit("16:9", 1)),
        (Boost("shirt", 2.5, 2),),
    )
    assert write(plan) == (
        "<bcu:0.01:1:schedule=exp:ratio=0.9> <edit:(red:1.3) <lora:x:0.8> scarf:0.75:from=0.5> "
        r"<edit:16\:9:1> <boost:shirt#2:2.5>"
    )
    assert write(Plan()) == ""
    assert write(Plan(boosts=(Boost("shirt", 2),))) == "<boost:shirt:2>"


def opening_free(text: str) -> bool:
    lowered = text.lower()
    return not any(name in lowered for name in ("<edit", "<bcu", "<boost"))


@given(st.text() | st.text("<>:edit bcu\\\n"), st.text() | st.text("<>:edit bcu\\\n"), plans())
def test_a_directive_leaves_the_text_around_it(left: str, right: str, plan: Plan) -> None:
    one = Plan(edits=plan.edits[:1]) if plan.edits else Plan(plan.update)
    if not opening_free(left + right) or one == Plan():
        return
    parsed = parse(left + write(one) + right)
    assert parsed.plan == one
    assert "".join(parsed.text.split()) == "".join((left + right).split())
    if left.strip() and right.strip():
        spaced = left[-1].isspace() and right[0].isspace()
        assert parsed.text in ({left[:-1] + right, left + right[1:]} if spaced else {left + right})
    else:
        assert parsed.text in {left.rstrip(), right.lstrip()}


@given(st.text() | st.text("<>:edit bcu\\\n"))
def test_text_without_directives_is_returned_as_it_is(text: str) -> None:
    if opening_free(text):
        assert parse(text) == Parsed(text, Plan())


FRAGMENTS = (
    *"<>:\\#=*()[] \n,.0159eé🙂'\"",
    *("<edit:", "<EDIT:", "<bcu:", "<bcu>", "<boost:", "<lora:x:0.8>", "<edit:dog:0.75>", "<boost:sofa#2:2>"),
    *("dog", "a cat", "(red:1.3)", "[a:b:0.5]", "BREAK", "AND", "nan", "inf", "1e999", "-0.65", "0.5", "1e-4"),
    *(":from=0.5", ":until=0.9", ":attn=6e-4", ":norm=1", ":schedule=exp", ":ratio=0.9", ":prior=paper", ":from=x"),
    *("\\:", "\\<", "\\\\", "\u2028", "\x00", "\ud800", "<bcu:0.01:0.02>", "<edit:cat:-0.65:from=0.5>", "#2", ":1>"),
)


def fuzzed(rng: random.Random) -> str:
    prompt = "".join(rng.choices(FRAGMENTS, k=rng.randint(1, 14)))
    for _ in range(rng.randint(0, 3)):
        at = rng.randint(0, len(prompt))
        kind = rng.randrange(3)
        if kind == 0:
            prompt = prompt[:at] + rng.choice(FRAGMENTS) + prompt[at:]
        elif kind == 1:
            prompt = prompt[:at] + prompt[at + rng.randint(1, 4) :]
        else:
            prompt = prompt[:at] + prompt[at : at + 5] * 2 + prompt[at + 5 :]
    return prompt


def test_a_hundred_thousand_mutated_prompts() -> None:
    rng = random.Random(20230616)
    read = refusals = planned = 0
    for _ in range(100_000):
        prompt = fuzzed(rng)
        try:
            parsed = parse(prompt)
        except DirectiveError as error:
            refusals += 1
            assert shortened(error.directive) in str(error)
            assert error.directive[:5] in prompt and prompt[error.start] == "<"
            continue
        read += 1
        planned += parsed.plan != Plan()
        assert isinstance(parsed, Parsed)
        # Nothing of a directive reaches the text encoder.
        assert parse(parsed.text) == Parsed(parsed.text, Plan())
    assert read + refusals == 100_000
    assert min(refusals, planned) > 10_000


@pytest.mark.parametrize(
    "prompt",
    [
        "<edit:" * 16_000,
        "<edit:a:1>" * 10_000,
        "<edit:a:1> " * 9_000,
        "<edit:" + "<" * 100_000,
        "<edit:" + "\\" * 100_001,
        "<edit:a" + ":1" * 50_000 + ">",
        "<edit:a" + ":b=1" * 25_000 + ":1>",
        "<edit:a:" + "9" * 100_000 + "x>",
        "<edit:a:" + " " * 100_000 + "x>",
        "<edit:" + "<edit:a:1>" * 10_000 + ":1>",
        "<bcu>" * 20_000,
        " " * 100_000 + "<bcu>",
        "".join(f"<edit:a:1:from={i / 4000}:until={(i + 1) / 4000}>" for i in range(3000)),
    ],
    ids=lambda prompt: f"{prompt[:12]}-{len(prompt)}",
)
def test_a_hundred_kilobytes_are_no_trouble(prompt: str) -> None:
    started = time.process_time()
    try:
        parse(prompt)
    except DirectiveError as error:
        assert len(str(error)) < 2000
    assert time.process_time() - started < 5.0
