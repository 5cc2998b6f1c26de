"""The editing benchmark's rows as tables of text, for the terminal and for the page."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from lib_ebca.studio.recipe import EMBEDDED_DEFAULT
from world.statistics import Estimate

from ..alignment.tables import Table, change, markdown, probability
from .bench import ALL, KEPT, Question, Row, best
from .shapes_edits import ShapesGround

BLOCK, DETAILS = "editing", "editing-details"
CLIP_ACCURACY = "CLIP accuracy"


def main_table(rows: Sequence[Row], question: Question) -> Table:
    """A line for each method: success and dB kept for each kind of edit, and what an edit costs."""
    kinds = list(dict.fromkeys(row.kind for row in rows))
    lines = []
    for name in _methods(rows):
        own = {row.kind: row for row in rows if row.method == name}
        cells = [f"{_share(own[kind].success)}, {own[kind].kept.value:.1f} dB" for kind in kinds]
        closer = [_share(found) for found in (own[ALL].closer,) if found is not None]
        lines.append((name, *cells, *closer, _share(own[ALL].clean), str(own[ALL].evaluations)))
    scenes = f"each edited in {len(kinds) - 1} ways" if question.ground.shared else "of each kind of edit"
    title = (
        f"Edits that succeed, % [95 % interval], and PSNR outside the object: {question.scenes} unseen scenes, "
        f"{scenes}, {question.steps} steps"
    )
    scored = [CLIP_ACCURACY] * question.ground.scored
    heading = ("method", *kinds, *scored, f"done, rest at {KEPT:g} dB or more", "evaluations")
    return Table(title, heading, tuple(lines))


def comparisons(rows: Sequence[Row]) -> Table:
    """The first method against each of the others, edit by edit."""
    first, *others = _methods(rows)
    kinds = list(dict.fromkeys(row.kind for row in rows))
    lines = []
    for name in others:
        own = {row.kind: row.against for row in rows if row.method == name}
        cells = [change(found) for kind in kinds if (found := own[kind]) is not None]
        overall = own[ALL]
        assert overall is not None
        lines.append((name, *cells, f"{overall.wins} : {overall.losses}", probability(overall.p)))
    return Table(
        f"Success of {first} minus that of another method, points", ("against", *kinds, "won : lost", "p"), tuple(lines)
    )


def settings_table(rows: Sequence[Row]) -> Table:
    """Every method's settings."""
    found = {row.method: (row.settings, _interval(row.kept)) for row in rows if row.kind == ALL}
    lines = tuple((name, *values) for name, values in found.items())
    return Table("Settings, and PSNR outside the object over all edits, dB", ("method", "settings", "PSNR"), lines)


def tuning_table(rows: Sequence[Row], question: Question) -> Table:
    """Every candidate over all edits; a star marks the best of its method."""
    chosen = best(rows)
    lines = [
        (
            row.method,
            row.settings + (" *" if row in chosen else ""),
            _share(row.success),
            f"{row.kept.value:.1f} dB",
            _share(row.clean),
        )
        for row in rows
        if row.kind == ALL
    ]
    heading = ("method", "settings", "success, %", "PSNR outside", f"done, rest at {KEPT:g} dB or more, %")
    return Table(f"Candidates on {question.scenes} scenes of their own, * the best", heading, tuple(lines))


def judged(model: Path) -> str:
    """How often the judge itself is right on pictures that went through the model's VAE; empty if nobody measured."""
    path = model / "judge.json"
    if not path.is_file():
        return ""
    rates = json.loads(path.read_text(encoding="utf-8"))["after a VAE round trip"]
    one, two = (100 * (rates.get(f"{count}: exact") or rates[count])["rate"] for count in ("one", "two"))
    return (
        "The judge itself reads every object as what it is and in its colour, and nothing else, in "
        f"{one:.1f} % of drawings of one object and {two:.1f} % of two, after a round trip through the VAE."
    )


def verdict(rows: Sequence[Row]) -> str:
    """What the comparison over all edits comes to, in a sentence for each other method."""
    first, *others = _methods(rows)
    total = {row.method: row for row in rows if row.kind == ALL}
    said = []
    for name in others:
        found = total[name].against
        assert found is not None
        low, high = found.difference.low, found.difference.high
        word = (
            "more often than" if low > 0 else "less often than" if high < 0 else "not clearly more or less often than"
        )
        decibels = total[first].kept.value - total[name].kept.value
        said.append(
            f"{word} {name} ({change(found)} points), with {abs(decibels):.1f} dB "
            f"{'more' if decibels > 0 else 'less'} kept"
        )
    return f"Over all edits, {first} succeeds {'; '.join(said)}."


def block_names(question: Question) -> tuple[str, str]:
    """Of the table and of its details; those of another ground than shapes bear its name besides."""
    own = "" if question.ground.name == ShapesGround.name else f"-{question.ground.name}"
    return BLOCK + own, DETAILS + own


def blocks(rows: Sequence[Row], question: Question, model: Path, about: Mapping[str, str]) -> dict[str, str]:
    """Markdown by the name of the block that it stands in; `about` says what the results were made with."""
    main_block, details_block = block_names(question)
    model_option = "" if about["model"] == EMBEDDED_DEFAULT else f"--model {about['model']} "
    options = f"{model_option}--scenes {question.scenes} --steps {question.steps} --batch-size {question.batch}"
    made = f"Made by `ebca bench editing {options}` with {described(about)}."
    main = [markdown(main_table(rows, question)), verdict(rows), judged(model), made]
    details = [markdown(comparisons(rows)), markdown(settings_table(rows))]
    return {main_block: "\n".join(part + "\n" for part in main if part), details_block: "\n".join(details)}


def described(about: Mapping[str, str]) -> str:
    """Model, device and precision in words."""
    return f"the model {about['model']} ({about['model_hash']}), {about['dtype']}, on {about['device']}"


def _methods(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row.method for row in rows))


def _share(estimate: Estimate) -> str:
    return f"{100 * estimate.value:.0f} [{100 * estimate.low:.0f}, {100 * estimate.high:.0f}]"


def _interval(estimate: Estimate) -> str:
    if not math.isfinite(estimate.low):
        return f"{estimate.value:.1f}"
    return f"{estimate.value:.1f} [{estimate.low:.1f}, {estimate.high:.1f}]"
