"""Whether a tag may be released: its number is the one that stands everywhere else.

    python -m website.release v0.2.0     # says what is wrong, and ends with 1; without a tag, the one of this commit

The version lies in a file, `lib_ebca/version.py`, and is not made from the tag by the build, because the WebUI reads
`lib_ebca` from a folder that nothing has built. So the tag is held against the file.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
_VERSION = re.compile(r'^__version__ = "(\d+\.\d+\.\d+)"$', re.MULTILINE)
_HEADING = re.compile(r"^## (.+)$", re.MULTILINE)
_DATED = r"{version}, \d{{4}}-\d\d-\d\d"


def faults(root: Path, tag: str) -> list[str]:
    """What hinders a release of the checkout `root` as `tag`, a sentence each; empty if nothing does."""
    source = (root / "lib_ebca" / "version.py").read_text(encoding="utf-8")
    found = _VERSION.search(source)
    if found is None:
        return ['lib_ebca/version.py has no line like __version__ = "1.2.3".']
    version = found.group(1)
    wrong = []
    if tag != f"v{version}":
        wrong.append(f"The tag is {tag}, and lib_ebca/version.py says {version}: the tag of that is v{version}.")
    cited = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))["version"]
    if cited != version:
        wrong.append(f"CITATION.cff says {cited}, and lib_ebca/version.py {version}.")
    first = next(iter(_HEADING.findall((root / "CHANGELOG.md").read_text(encoding="utf-8"))), "nothing")
    if not re.fullmatch(_DATED.format(version=re.escape(version)), first):
        wrong.append(f'The first heading of CHANGELOG.md is "{first}": it has to be "{version}, YEAR-MONTH-DAY".')
    return wrong


def tags_here(root: Path) -> list[str]:
    """The tags of versions (`v` and a digit) at the commit that is checked out; none outside of a repository."""
    command = ["git", "tag", "--points-at", "HEAD", "--list", "v[0-9]*"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, encoding="utf-8", check=False)
    return done.stdout.split() if done.returncode == 0 else []


def main(arguments: Sequence[str]) -> int:
    """Say what hinders the release of the tags named, or of those of this commit; 1 if anything does."""
    tags = list(arguments) or tags_here(ROOT)
    wrong = [fault for tag in tags for fault in faults(ROOT, tag)]
    if not tags:
        wrong = ["This commit has no tag of a version: git tag -a v1.2.3, or name one."]
    for sentence in wrong:
        print(sentence, file=sys.stderr)
    if not wrong:
        print(f"{', '.join(tags)}: the number is the same everywhere.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
