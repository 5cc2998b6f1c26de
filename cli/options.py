"""The options that several sub-commands share.

`--bcu`, `--edit`, `--boost`, `--concept` and `--excite` are the prompt's directives, spelt as options: the
directives' parser reads them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from lib_ebca.studio.errors import UserError
from lib_ebca.studio.values import readable

if TYPE_CHECKING:
    from lib_ebca.language.plan import Plan

ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="MODEL",
        help="Embedded model, folder in diffusers layout, single .safetensors file, or hub id.  [default: primer]",
        show_default=False,
    ),
]
BcuOption = Annotated[
    str | None,
    typer.Option(
        "--bcu",
        metavar="[ATTN:NORM]",
        help="Bayesian context update of the prompt; without a value the published 0.01:0.02.",
    ),
]
EditOption = Annotated[
    list[str] | None,
    typer.Option("--edit", metavar="TEXT:STRENGTH", help="Add what TEXT says, or take it away (negative). Repeatable."),
]
BoostOption = Annotated[
    list[str] | None,
    typer.Option("--boost", metavar="WORD:FACTOR", help="Stronger pull for a word or phrase. Repeatable."),
]
ConceptOption = Annotated[
    list[str] | None,
    typer.Option(
        "--concept",
        metavar="WORD:CONCEPT[=NUMBER]",
        help="Strengthen a concept on a word, or adjust it: rose-colored:Color=2:Plants=-1. Repeatable.",
    ),
]
ExciteOption = Annotated[
    list[str] | None,
    typer.Option(
        "--excite",
        metavar="WORD",
        help="A subject that has to be there (Attend-and-Excite): cat, dog:scale=20:until=0.5:refine=off, "
        "frog:concept=Animals, or *. Repeatable.",
    ),
]
VectorsOption = Annotated[
    Path | None,
    typer.Option(
        "--vectors",
        metavar="FILE",
        help="Head relevance vectors for --concept.  (default: the model's own, or the published ones)",
    ),
]
AllowPickleOption = Annotated[
    bool, typer.Option("--allow-pickle", help="Also load .ckpt, .pt and .bin files, which can run code of their own.")
]
PromptsOption = Annotated[
    Path | None, typer.Option("--prompts", metavar="FILE", help="Also the prompts of a text file, one a line.")
]
TrustOption = Annotated[
    bool,
    typer.Option("--trust-picture", help="With --from: also load paths and hub models that the picture names."),
]
ByDateOption = Annotated[
    bool, typer.Option("--by-date", help="Put the pictures into a folder of the day below --out, such as 2026-01-31.")
]
ShowOption = Annotated[
    bool, typer.Option("--show", help="Also draw each picture in the terminal: kitty, Ghostty, iTerm2, WezTerm, foot.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Machine-readable output on stdout, nothing else there.")]

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+|inf|nan)(?:e[-+]?\d+)?"
# Also what can only be meant as a value and is none, which is then told: 0.01 alone, from=0.5, on.
_BCU_VALUE = re.compile(rf"{_NUMBER}(?:[:,;/]\S*)?|[a-z]+=\S*|on|off|yes|no|true|false", re.IGNORECASE)


def with_bcu_value(arguments: Sequence[str]) -> list[str]:
    """`--bcu` with its value attached to it: the next argument if that looks like numbers or KEY=VALUE, or else none.

    The parser below Typer knows options with a value and options without, not both in one; and a prompt that follows
    a bare `--bcu` must stay a prompt.
    """
    attached: list[str] = []
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if argument == "--":
            return [*attached, argument, *rest]
        if argument == "--bcu":
            argument = "--bcu=" + (rest.pop(0) if rest and _BCU_VALUE.fullmatch(rest[0]) else "")
        attached.append(argument)
    return attached


class PlanCommand(TyperCommand):
    """A command with the option `--bcu`, which may stand alone."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, with_bcu_value(args))


def plan_from_options(
    bcu: str | None,
    edits: Iterable[str] | None,
    boosts: Iterable[str] | None,
    concepts: Iterable[str] | None = None,
    excites: Iterable[str] | None = None,
) -> Plan:
    """The plan that the options ask for. Raises UserError, naming the option and quoting what was written."""
    from lib_ebca.language.plan import Plan

    return Plan(
        update=None if bcu is None else _directive("bcu", bcu).update,
        edits=tuple(_directive("edit", edit).edits[0] for edit in edits or ()),
        boosts=tuple(_directive("boost", boost).boosts[0] for boost in boosts or ()),
        concepts=tuple(_directive("concept", concept).concepts[0] for concept in concepts or ()),
        excite=tuple(_directive("excite", excite).excite[0] for excite in excites or ()),
    )


def _directive(name: str, value: str) -> Plan:
    from lib_ebca.language.directives import DirectiveError, parse

    readable(f"--{name}", value)
    # Only <bcu> stands alone; of the others an empty value is one whose text is missing.
    written = f"<{name}:{value}>" if value or name != "bcu" else "<bcu>"
    # Strengths have to add up to a sound denominator over all options together, which Plan sees to afterwards:
    # read alone, each option is put beside an edit that no strength outweighs.
    beside = " <edit:x:1e300>" if name == "edit" else ""
    try:
        parsed = parse(written + beside)
    except DirectiveError as error:
        raise UserError(f"--{name} {value!r}: {error.expected}") from None
    if parsed.text:
        raise UserError(f"--{name} {value!r} ends at a bracket: write \\< and \\> for < and > inside the text")
    return parsed.plan
