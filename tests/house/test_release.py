"""What a release is called is the same wherever it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from lib_ebca.version import __version__
from tests.house.graph import ROOT
from website.release import faults, main, tags_here

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def test_the_version_is_the_same_everywhere() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", __version__)
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["version"] == __version__
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[0] == "Unreleased" or headings[0].startswith(__version__)
    assert any(heading.startswith(__version__) for heading in headings)


def test_the_public_workflow_and_the_hooks_name_what_is_there() -> None:
    workflows = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in WORKFLOWS]
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    jobs = [job for workflow in workflows for job in workflow["jobs"].values()]
    commands = [step["run"] for job in jobs for step in job["steps"] if "run" in step]
    commands += [hook["entry"] for repository in hooks["repos"] for hook in repository["hooks"]]
    named = [word for command in commands for word in command.split() if word.startswith("tests/")]
    assert named and not [name for name in named if not (ROOT / name).exists()]
    modules = [found for command in commands for found in re.findall(r"-m ((?:website|tests)\.\w+)", command)]
    assert modules and not [name for name in modules if not (ROOT / f"{name.replace('.', '/')}.py").exists()]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    made = [re.split(r" [A-Z_]+=", command)[0] for command in commands if command.startswith("make ")]
    for target in (word for command in made for word in command.split()[1:]):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for place in ("setup-dev", "lint", "site", "test"):
        assert place in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def a_checkout(folder: Path, version: str = "1.2.3", cited: str = "1.2.3", heading: str = "1.2.3, 2026-01-31") -> Path:
    """What a release is checked by, and nothing else."""
    (folder / "lib_ebca").mkdir()
    (folder / "lib_ebca" / "version.py").write_text(f'"""Doc."""\n\n__version__ = "{version}"\n', encoding="utf-8")
    (folder / "CITATION.cff").write_text(f"version: {cited}\n", encoding="utf-8")
    (folder / "CHANGELOG.md").write_text(f"# Changelog\n\n## {heading}\n\n- New.\n\n## 1.2.2\n", encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("tag", "version", "cited", "heading", "named"),
    [
        ("v1.2.3", "1.2.3", "1.2.3", "1.2.3, 2026-01-31", []),
        ("1.2.3", "1.2.3", "1.2.3", "1.2.3, 2026-01-31", ["The tag is 1.2.3"]),
        ("v1.2.4", "1.2.3", "1.2.3", "1.2.3, 2026-01-31", ["the tag of that is v1.2.3"]),
        ("v1.2.3", "1.2.3", "1.2.2", "1.2.3, 2026-01-31", ["CITATION.cff says 1.2.2"]),
        ("v1.2.3", "1.2.3", "1.2.3", "Unreleased", ['"Unreleased"']),
        ("v1.2.3", "1.2.3", "1.2.3", "1.2.3", ["YEAR-MONTH-DAY"]),
        ("v1.2.3", "1.2.3", "1.2.3", "1x2x3, 2026-01-31", ["CHANGELOG.md"]),
        ("v1.2.3", "1.2.3.dev1", "1.2.3", "1.2.3, 2026-01-31", ["no line like"]),
        ("v2.0.0", "1.2.3", "1.2.2", "Unreleased", ["v1.2.3", "CITATION.cff", "CHANGELOG.md"]),
    ],
)
def test_a_tag_is_held_against_the_files(
    tmp_path: Path, tag: str, version: str, cited: str, heading: str, named: list[str]
) -> None:
    told = faults(a_checkout(tmp_path, version, cited, heading), tag)
    assert len(told) == len(named)
    assert all(name in sentence for name, sentence in zip(named, told, strict=True))


def test_a_tag_of_this_commit_may_be_released() -> None:
    assert [fault for tag in tags_here(ROOT) for fault in faults(ROOT, tag)] == []


def test_the_command_says_what_is_wrong_and_ends_with_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["v999.0.0"]) == 1
    assert f"the tag of that is v{__version__}" in capsys.readouterr().err


def test_outside_of_a_repository_there_are_no_tags(tmp_path: Path) -> None:
    assert tags_here(tmp_path) == []
