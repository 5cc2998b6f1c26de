"""YAML as people mean it: the core of YAML 1.2, in which `no` is a word and 1e-4 a number.

The 1.1 that PyYAML reads by itself also makes numbers of 1:30 and 1_000, dates of 2024-01-01 and truth values of yes,
no, on and off. None of that is what somebody writes into a list of colours or words.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

import yaml

_CORE = "tag:yaml.org,2002:"
TEXT, MERGE = f"{_CORE}str", f"{_CORE}merge"
_NULL = re.compile(r"~|null|Null|NULL|")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]{1,40}|0o[0-7]{1,40}|0x[0-9a-fA-F]{1,40}")
_FLOAT = re.compile(
    r"[-+]?(?:\.[0-9]{1,400}|[0-9]{1,400}(?:\.[0-9]{0,400})?)(?:[eE][-+]?[0-9]{1,4})?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)


class Spelt(float):
    """A number that knows how it was written: in a text, 1e3 stays 1e3."""

    text: str

    def __new__(cls, text: str) -> Spelt:
        number = super().__new__(cls, re.sub(r"^([-+]?)\.(?=inf|nan)", r"\1", str(text), flags=re.IGNORECASE))
        number.text = text
        return number


class Loader(yaml.SafeLoader):
    """Reads mappings, lists, text, numbers, truth values and null, and no other tag."""

    allows_anchors = True
    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}  # type: ignore[misc]  # types-PyYAML declares another type
    yaml_constructors: ClassVar[dict[Any, Any]] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """A part; of an anchor that is used it raises where none is allowed."""
        if not self.allows_anchors and self.check_event(yaml.AliasEvent):
            event = self.get_event()
            raise yaml.composer.ComposerError(None, None, "anchors are not for this file", event.start_mark)
        node: yaml.Node | None = super().compose_node(parent, index)
        return node

    def construct_null(self, node: yaml.Node) -> None:
        """No value."""
        self._written(node, _NULL, "no null")

    def construct_bool(self, node: yaml.Node) -> bool:
        """True or false."""
        return self._written(node, _BOOL, "neither true nor false").lower() == "true"

    def construct_int(self, node: yaml.Node) -> int:
        """A whole number, also 0o17 and 0x0f; leading zeros mean nothing."""
        text = self._written(node, _INT, "no whole number of at most 40 digits")
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))

    def construct_float(self, node: yaml.Node) -> float:
        """A number."""
        return Spelt(self._written(node, _FLOAT, "no number"))

    def _written(self, node: yaml.Node, pattern: re.Pattern[str], problem: str) -> str:
        text = self.construct_scalar(node) if isinstance(node, yaml.ScalarNode) else None
        if not isinstance(text, str) or not pattern.fullmatch(text):
            raise yaml.constructor.ConstructorError(None, None, f"this is {problem}", node.start_mark)
        return text


for _name, _pattern, _starts in (
    ("null", _NULL, [*"~nN", ""]),
    ("bool", _BOOL, [*"tTfF"]),
    ("int", _INT, [*"-+0123456789"]),
    ("float", _FLOAT, [*"-+.0123456789"]),
    ("merge", re.compile("<<"), ["<"]),
):
    Loader.add_implicit_resolver(_CORE + _name, re.compile(rf"(?:{_pattern.pattern})$"), _starts)
Loader.yaml_constructors |= {
    _CORE + "null": Loader.construct_null,
    _CORE + "bool": Loader.construct_bool,
    _CORE + "int": Loader.construct_int,
    _CORE + "float": Loader.construct_float,
    TEXT: Loader.construct_yaml_str,
    _CORE + "seq": Loader.construct_yaml_seq,
    _CORE + "map": Loader.construct_yaml_map,
    None: Loader.construct_undefined,
}


class _WithoutAnchors(Loader):
    allows_anchors = False


def load(text: str) -> Any:
    """What a text says that needs no anchors: a few bytes of them can stand for gigabytes.

    Raises:
        yaml.YAMLError: it is no YAML, has anchors, or is nested too deep.
    """
    loader = _WithoutAnchors(text)
    try:
        return loader.get_single_data()
    except RecursionError:
        raise yaml.YAMLError("it is nested too deep") from None
    finally:
        loader.dispose()
