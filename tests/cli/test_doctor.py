"""`ebca doctor`: what it says is so, and nothing of it is private."""

from __future__ import annotations

import getpass
import json
import platform
from pathlib import Path

import torch

from cli import doctor
from lib_ebca.version import __version__
from tests.cli.conftest import Ebca
from tests.house.graph import ROOT


def test_it_names_versions_and_no_path_host_or_user(ebca: Ebca) -> None:
    done = ebca("doctor", "--no-draw")
    assert done.exit_code == 0, done.output
    for expected in (f"ebca: {__version__}", f"torch: {torch.__version__}", "embedded: primer, shapes", "a checkout"):
        assert expected in done.output
    private = {str(ROOT), str(Path.home()), platform.node(), str(ROOT.parent)} - {"", "/"}
    assert not [each for each in private if each in done.output]
    if len(getpass.getuser()) > 4:
        assert getpass.getuser() not in done.output


def test_it_tries_a_picture(ebca: Ebca) -> None:
    done = ebca("doctor", "--json")
    facts = {fact["name"]: fact for fact in json.loads(done.output)}
    assert facts["a picture of the embedded model"]["works"] is True
    assert facts["a picture of the embedded model"]["value"].startswith("128x128 on ")


def test_what_is_too_old_or_missing_will_not_work() -> None:
    assert doctor.library("torch", "2.1").works is True
    old = doctor.library("torch", "99.1")
    assert old.works is False and "99.1 or newer" in old.value
    missing = doctor.library("no-such-library-of-anybody", None)
    assert missing.works is False and missing.value == "not installed"


def test_the_oldest_versions_are_those_that_are_promised() -> None:
    promised = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for name, oldest in doctor.LIBRARIES.items():
        wanted = name if oldest is None else f"{name}>={oldest}"
        assert f'"{wanted}"' in promised


def test_a_webui_around_the_checkout_is_found(tmp_path: Path) -> None:
    checkout = tmp_path / "extensions" / "ebca"
    checkout.mkdir(parents=True)
    assert doctor.webui(checkout).works is None
    (tmp_path / "modules").mkdir()
    assert doctor.webui(checkout).works is True
    (tmp_path / "modules_forge").mkdir()
    forge = doctor.webui(checkout)
    assert forge.works is True and "Forge" in forge.value
