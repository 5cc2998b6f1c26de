"""One command for each help page that works as it stands, where the files it names are there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from typer.core import TyperGroup

from .help_width import NarrowContext

EXAMPLES: Mapping[str, str] = {
    "": 'ebca txt2img "a cat and a red car <bcu>" --cfg 3',
    "txt2img": 'ebca txt2img "a cat and a dog <bcu:0.01:0.02>" --cfg 3',
    "edit": 'ebca edit cat.jpg -c "a cat" --edit dog:0.75:from=0.5 --edit cat:-0.65:from=0.5',
    "img2img": 'ebca img2img sketch.png "a castle next to a river" --strength 0.6',
    "inpaint": 'ebca inpaint sky.png mask.png "a teddy bear" --preset inpaint',
    "p2p": 'ebca p2p "a cat and a red car" "a dog and a red car" --cfg 3',
    "presets": "ebca presets",
    "tokens": 'ebca tokens "a cat wearing a shirt <boost:shirt:2.5>"',
    "info": "ebca info picture.png",
    "models": "ebca models",
    "demo": "ebca demo --out demo",
    "doctor": "ebca doctor --no-draw",
    "batch": "ebca batch jobs.yaml --out pictures",
    "grid": "ebca grid jobs.yaml --out pictures",
    "bench": "ebca bench overhead --arch tiny --repeats 3",
    "bench overhead": "ebca bench overhead --arch tiny --repeats 3",
    "bench picture": "ebca bench picture --steps 20 --repeats 3",
    "bench p2p": "ebca bench p2p --arch tiny --repeats 3",
    "bench excite": "ebca bench excite --arch tiny --repeats 2",
    "bench similarity": "ebca bench similarity pictures --scorers clip",
    "bench alignment": "ebca bench alignment --quick --out alignment",
    "bench editing": "ebca bench editing --scenes 4 --out editing",
    "bench inversions": "ebca bench inversions --scenes 4 --no-photographs --out inversions",
    "heads": "ebca heads show sd1 --concept Color",
    "heads measure": "ebca heads measure --concepts concepts.yaml --prompts prompts.txt --out vectors.json",
    "heads merge": "ebca heads merge a.json b.json --out all.json",
    "heads show": "ebca heads show sd1 --out plots",
    "heads weaken": "ebca heads weaken Colours --score colours --model shapes",
}


def epilog(path: str) -> str | None:
    """What stands at the end of a command's help page; its lines are not wrapped, so that they can be copied."""
    example = EXAMPLES.get(path)
    return None if example is None else f"\b\nExample:\n  {example}"


class ExampleGroup(TyperGroup):
    """A group whose commands show their example, on pages as narrow as the terminal."""

    context_class = NarrowContext

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        command = super().get_command(ctx, cmd_name)
        if command is not None:
            names = [cmd_name]
            while ctx.parent is not None:
                names.insert(0, ctx.info_name)
                ctx = ctx.parent
            command.context_class = NarrowContext
            command.epilog = epilog(" ".join(names))
        return command
