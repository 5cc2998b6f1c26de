"""Tags in angle brackets: only the first prompt of a batch has a say."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

registry: dict[str, Any] = {}
unknown: list[str] = []
_TAG = re.compile(r"<(\w+):([^>]+)>")


class ExtraNetwork:
    def __init__(self, name: str) -> None:
        self.name = name


def register_extra_network(network: ExtraNetwork) -> None:
    registry[network.name] = network


def parse_prompt(prompt: str) -> tuple[str, dict[str, list[str]]]:
    found: defaultdict[str, list[str]] = defaultdict(list)
    for name, arguments in _TAG.findall(prompt):
        found[name].append(arguments)
    return _TAG.sub("", prompt), found


def parse_prompts(prompts: list[str]) -> tuple[list[str], dict[str, list[str]]]:
    parsed = [parse_prompt(prompt) for prompt in prompts]
    return [text for text, _ in parsed], parsed[0][1]


def activate(p: Any, data: dict[str, list[str]]) -> None:
    unknown.extend(name for name in data if name not in registry)
    for name, network in registry.items():
        network.activate(p, data.get(name, []))
