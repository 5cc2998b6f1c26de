"""What following costs, counted: one small product a layer, and for words put in one attention of one row."""

from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

from benchmarks.architectures import TOKENS, build, inputs
from benchmarks.counting import count
from benchmarks.following import WAYS, way
from cli.main import app
from lib_ebca.hosts.unet import cross_attention_layers, self_attention_layers

SIZE = (16, 16)
QUARTER = 4 * 4


@pytest.fixture(scope="module")
def arithmetic() -> dict[str, int]:
    unet = build("tiny", torch.device("cpu"), torch.float32)
    given = inputs(unet, 2, SIZE)
    counted = {}
    for name in WAYS:
        with way(name, unet, given) as evaluate:
            evaluate()
            evaluate()
            counted[name] = count(evaluate).flops
    return counted


@pytest.fixture(scope="module")
def layers() -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Pixels and width of the cross-attention layers, and of the self-attention layers."""
    unet = build("tiny", torch.device("cpu"), torch.float32)
    given = inputs(unet, 2, SIZE)
    found: tuple[list[tuple[int, int]], list[tuple[int, int]]] = ([], [])
    watched = [layer for _, layer in cross_attention_layers(unet)], self_attention_layers(unet)
    for kind, modules in zip(found, watched, strict=True):
        for module in modules:

            def see(module: nn.Module, args: tuple[Tensor, ...], kind: list[tuple[int, int]] = kind) -> None:
                kind.append((args[0].shape[1], args[0].shape[2]))

            module.register_forward_pre_hook(see)
    with torch.no_grad():
        unet(given.sample, 500, given.context)
    return found


def keys_values_kept(layers: list[tuple[int, int]]) -> int:
    """What the stock layers make of the four rows' contexts at each evaluation, and ours once: 24 numbers a token."""
    return sum(2 * 4 * TOKENS * 24 * width * 2 for _, width in layers)


def test_swapped_words_cost_one_product_of_tokens_and_the_pixels_less_than_nothing(
    arithmetic: dict[str, int], layers: tuple[list[tuple[int, int]], list[tuple[int, int]]]
) -> None:
    cross, own = layers
    assert (len(cross), len(own)) == (7, 7)
    routed = sum(2 * TOKENS * TOKENS * width for _, width in cross)
    # The follower's queries and keys are nobody's.
    spared = sum(2 * 2 * pixels * width * width for pixels, width in own if pixels <= QUARTER)
    assert arithmetic["replace"] - arithmetic["stock"] == routed - spared - keys_values_kept(cross)


def test_words_put_in_cost_one_attention_of_one_row(
    arithmetic: dict[str, int], layers: tuple[list[tuple[int, int]], list[tuple[int, int]]]
) -> None:
    second = sum(2 * 2 * pixels * TOKENS * width for pixels, width in layers[0])
    assert arithmetic["refine"] - arithmetic["replace"] == second


def test_concepts_add_nothing_to_that(arithmetic: dict[str, int]) -> None:
    assert arithmetic["concept"] == arithmetic["refine"]
    assert arithmetic["written out"] > arithmetic["stock"]


def test_the_command_measures() -> None:
    result = CliRunner().invoke(
        app, ["bench", "p2p", "--arch", "tiny", "--size", "8x8", "--repeats", "2", "--json", "-"]
    )
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert [each["name"] for each in report["results"]] == list(WAYS)
    assert all(each["ratio"]["median"] > 0 for each in report["results"])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--size", "8"), "--size '8': it should be height and width"),
        (("--arch", "sd9"), "--arch is 'sd9': it should be one of sd15"),
        (("--dtype", "int"), "--dtype is 'int'"),
        (("--repeats", "-1"), "--repeats is -1"),
    ],
)
def test_bad_input_is_one_sentence(arguments: tuple[str, ...], sentence: str) -> None:
    result = CliRunner().invoke(app, ["bench", "p2p", *arguments])
    assert result.exit_code != 0
    assert sentence in result.stderr
