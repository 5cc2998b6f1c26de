"""What a release is called is the same wherever it stands."""

from __future__ import annotations

import re

import yaml

from lib_ebca.version import __version__
from tests.house.graph import ROOT


def test_the_version_is_the_same_everywhere() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", __version__)
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["version"] == __version__
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[0] == "Unreleased" or headings[0].startswith(__version__)
    assert any(heading.startswith(__version__) for heading in headings)


def test_the_public_workflow_and_the_hooks_name_what_is_there() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    commands = [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]
    commands += [hook["entry"] for repository in hooks["repos"] for hook in repository["hooks"]]
    named = [word for command in commands for word in command.split() if word.startswith("tests/")]
    assert named and not [name for name in named if not (ROOT / name).exists()]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    made = [command.partition(" TORCH=")[0] for command in commands if command.startswith("make ")]
    for target in (word for command in made for word in command.split()[1:]):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for place in ("setup-dev", "lint", "site", "test"):
        assert place in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
