"""Our place among the scripts: after those that expand prompts (dynamic prompts, wildcards)."""

from __future__ import annotations

import configparser
import itertools
import re
from typing import Any

import pytest
import torch

from tests.webui.host import ROOT


def requirements(field: str) -> list[str]:
    """What the host reads from our metadata: of the script's own section and of that of all scripts."""
    config = configparser.ConfigParser()
    config.read(ROOT / "metadata.ini")
    sections = ("scripts/ebca.py", "scripts")
    listed = ", ".join(config.get(section, field, fallback="") for section in sections).lower()
    return [each for each in re.split(r"[,\s]+", listed) if each]


def order(extensions: dict[str, list[str]]) -> list[str]:
    """The host's order: extensions and their scripts as given, a script after all of those that it names."""
    after: dict[str, list[str]] = {f"{name}/{file}": [] for name, files in extensions.items() for file in files}
    for name in requirements("After"):
        after["ebca/ebca.py"] += [f"{name}/{file}" for file in extensions.get(name, [])]
    result: list[str] = []

    def visit(script: str) -> None:
        if script not in result:
            for earlier in after[script]:
                visit(earlier)
            result.append(script)

    for script in after:
        visit(script)
    return result


EXPANDING = {"sd-dynamic-prompts": ["dynamic_prompting.py"], "stable-diffusion-webui-wildcards": ["wildcards.py"]}


def test_metadata_puts_us_after_those_that_expand_prompts() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "metadata.ini")
    assert config.get("Extension", "Name") == "ebca"
    everybody = {"adetailer": ["!adetailer.py"], "ebca": ["ebca.py"], **EXPANDING}
    for names in itertools.permutations(everybody):
        scripts = order({name: everybody[name] for name in names})
        place = scripts.index("ebca/ebca.py")
        assert all(scripts.index(f"{name}/{file}") < place for name, (file,) in EXPANDING.items())
    assert order({"ebca": ["ebca.py"]}) == ["ebca/ebca.py"]


def expanding(host: Any) -> Any:
    """Dynamic prompts: another choice of each {a|b} for each picture, when the job's prompts are known."""

    class Dynamic(host.scripts.Script):
        def title(self) -> str:
            return "Dynamic Prompts"

        def ui(self, is_img2img: bool) -> list[Any]:
            return []

        def process(self, p: Any) -> None:
            for number, prompt in enumerate(p.all_prompts):
                parts = re.split(r"\{([^{}]*)\}", prompt)
                parts[1::2] = [choices.split("|")[number % 2] for choices in parts[1::2]]
                p.all_prompts[number] = "".join(parts)

    return Dynamic()


@pytest.mark.parametrize("before", [True, False], ids=["in the order of the metadata", "the other way round"])
def test_dynamic_prompts_expand_directives_before_we_read_them(host: Any, before: bool) -> None:
    asked: dict[str, Any] = {"batch_size": 2, "n_iter": 2}
    written = ["a cat <edit:dog:0.5> <boost:cat:2>", "a cat <edit:castle:0.5> <boost:cat:2>"] * 2
    alone = host.make(prompt=written, **asked)
    host.runner.alwayson_scripts.insert(0 if before else 1, expanding(host))
    job = host.job(prompt="a cat <edit:{dog|castle}:0.5> <boost:cat:2>", **asked)
    result = host.processing.process_images(job)
    assert torch.equal(torch.stack([image for image in result.images if isinstance(image, torch.Tensor)]), alone)
    assert [text["Prompt"] for text in result.infotexts] == written
    assert [text["EBCA"].split("<boost")[0].split("<edit:")[1] for text in result.infotexts] == [
        "dog:0.5> ",
        "castle:0.5> ",
    ] * 2


def test_a_directive_that_expansion_spoils_stops_the_job(host: Any) -> None:
    host.runner.alwayson_scripts.insert(0, expanding(host))
    with pytest.raises(ValueError, match="<edit:dog:much>"):
        host.make(prompt="a cat <edit:dog:{0.5|much}>", batch_size=2)
