"""`ebca bench`: what the method costs, and what it is worth."""

from __future__ import annotations

import typer

from . import bench_alignment, bench_cost, bench_editing, bench_excite, bench_p2p, bench_similarity
from .examples import ExampleGroup

app = typer.Typer(
    cls=ExampleGroup,
    name="bench",
    help="Measure what energy-based cross-attention costs, and what it is worth.",
    no_args_is_help=True,
)
for command in (
    bench_cost.overhead,
    bench_cost.picture,
    bench_p2p.p2p,
    bench_excite.excite,
    bench_alignment.alignment,
    bench_similarity.similarity,
    bench_editing.editing,
    bench_editing.inversions,
):
    app.command()(command)


@app.callback()
def bench() -> None:
    """Measure what energy-based cross-attention costs, and what it is worth."""
