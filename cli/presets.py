"""`ebca presets`: the published settings by name."""

from __future__ import annotations

import shlex

from .options import JsonOption
from .terminal import say, say_json


def presets(as_json: JsonOption = False) -> None:
    """List the presets: what each does, as directives, where its numbers are from, and a command that uses it."""
    from lib_ebca.language.directives import write
    from lib_ebca.language.presets import PRESETS, Preset

    def command(preset: Preset) -> str:
        files = {"txt2img": [], "edit": ["PHOTO"], "inpaint": ["PICTURE", "MASK"]}[preset.task]
        prompt = ["--caption", preset.prompt] if preset.task == "edit" else [preset.prompt]
        return shlex.join(["ebca", preset.task, *files, *prompt, "--preset", preset.name])

    if as_json:
        data = [
            {
                "name": preset.name,
                "task": preset.task,
                "plan": preset.plan.to_dict(),
                "directives": write(preset.plan),
                "drift": preset.drift,
                "prompt": preset.prompt,
                "command": command(preset),
                "source": preset.source,
            }
            for preset in PRESETS.values()
        ]
        say_json(data)
        return
    for preset in PRESETS.values():
        say(f"{preset.name}\n  {write(preset.plan)}{' --drift' if preset.drift else ''}")
        say(f"  {command(preset)}\n  {preset.source}\n")
