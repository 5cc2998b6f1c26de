"""What the site is made of: the gallery's page, pages of notebooks, links that lead out of docs, and a strict build."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from mkdocs.exceptions import PluginError

from website import gallery, hooks
from website.notebook_pages import pages

ROOT = Path(__file__).parents[2]


def _page(markdown: str) -> str:
    return hooks.on_page_markdown(markdown, SimpleNamespace(file=SimpleNamespace(src_uri="x.md")))


def test_the_gallery_is_what_its_command_writes() -> None:
    assert gallery.PAGE.read_text(encoding="utf-8") == gallery.page()
    for each in gallery.EXHIBITS:
        assert (gallery.DOCS / each.file).read_bytes().startswith(b"\x89PNG")


def test_a_notebook_becomes_a_page(tmp_path: Path) -> None:
    picture = b"\x89PNG of a kind"
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "words"]},
        {
            "cell_type": "code",
            "source": ["print(1)\n", "draw()"],
            "outputs": [
                {"output_type": "stream", "name": "stdout", "text": ["1\n"]},
                {"output_type": "display_data", "data": {"image/png": base64.b64encode(picture).decode()}},
            ],
        },
    ]
    path = tmp_path / "one.ipynb"
    path.write_text(json.dumps({"cells": cells}), encoding="utf-8")
    made = pages(path)
    assert made["one-1.png"] == picture
    assert made["one.md"] == (
        "# Title\nwords\n\n```python\nprint(1)\ndraw()\n```\n\n```text\n1\n```\n\n![what the cell shows](one-1.png)\n"
    )


def test_links_out_of_docs_become_their_text_and_have_to_be_there() -> None:
    assert _page("see [the energy](../lib_ebca/attention/energy.py), [a page](syntax.md)") == (
        "see the energy, [a page](syntax.md)"
    )
    fenced = "```\n[x](../nowhere)\n```"
    assert _page(fenced) == fenced
    with pytest.raises(PluginError, match=r"nowhere\.py"):
        _page("[gone](../nowhere.py)")


def test_a_dead_link_fails_the_build(tmp_path: Path) -> None:
    """The site's own settings for links, on two pages and without its plugins."""
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    validation = re.search(r"^strict: true$", text, re.MULTILINE) and re.search(
        r"^validation:\n(?:  .*\n)+", text, re.MULTILINE
    )
    assert validation
    (tmp_path / "docs").mkdir()
    (tmp_path / "mkdocs.yml").write_text(f"site_name: x\nstrict: true\n{validation[0]}", encoding="utf-8")
    for target, code in (("other.md", 0), ("other.md#no-such-heading", 1), ("gone.md", 1)):
        (tmp_path / "docs" / "index.md").write_text(f"# A\n\n[link]({target})\n", encoding="utf-8")
        (tmp_path / "docs" / "other.md").write_text("# B\n", encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-m", "mkdocs", "build"],
            cwd=tmp_path,
            env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, (target, done.stderr)
