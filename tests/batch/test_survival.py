"""The benchmark that kills batches and times them, on a few pictures; and the jobs it is meant for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.batches import check, listed, survive, throughput
from cli.batch.manifest import NAME
from cli.batch.store import digest_of
from lib_ebca.studio.locate import embedded
from lib_ebca.studio.pictures import png
from tests.batch.conftest import Write, asked, carry_out

THOUSAND = Path(__file__).parents[2] / "examples" / "thousand.yaml"


@pytest.mark.slow
def test_a_batch_survives(write: Write, tmp_path: Path) -> None:
    file = write({"prompt": "a cat <bcu:1:1>", "count": 8}, steps=60)
    survived = survive(file, tmp_path / "out", kills=1, batch_size=2, seed=0)
    assert (survived.pictures, [attempt.killed for attempt in survived.attempts]) == (8, [True, False])
    assert 0 < survived.attempts[0].pictures < survived.attempts[1].pictures == 8


@pytest.mark.slow
def test_a_batch_is_timed(write: Write) -> None:
    file = write({"prompt": "a cat <bcu:1:1>", "count": 2, "boost": "cat:2", "negative": "x", "sampler": "Euler"})
    timed = throughput(listed(file), batch_size=2, rounds=1)
    assert len(timed.ways) == 3
    assert all(way.clock > way.drawing > 0 and way.cpu > 0 for (way,) in timed.ways.values())
    assert timed.difference <= 1


def test_the_check_finds_what_is_wrong(write: Write, tmp_path: Path) -> None:
    file, out = write({"prompt": "a cat", "count": 2}), tmp_path / "out"
    carry_out(file, out)
    items = listed(file)
    check(items, out)
    picture, manifest = out / items[0]["name"], out / NAME
    whole, said = picture.read_bytes(), manifest.read_text()

    picture.unlink()
    with pytest.raises(AssertionError, match="not those that were asked for"):
        check(items, out)
    picture.write_bytes(whole[:-20])
    with pytest.raises(AssertionError, match="not as written"):
        check(items, out)
    picture.write_bytes(whole)
    manifest.write_text(said + said.splitlines()[-1] + "\n")
    with pytest.raises(AssertionError, match="not a line for each picture"):
        check(items, out)
    bare = png(Image.open(picture))
    picture.write_bytes(bare)
    line = json.loads(said.splitlines()[1])
    told = said.replace(line["sha256"], digest_of(bare)).replace(
        f'"bytes": {line["bytes"]}', f'"bytes": {len(bare)}', 1
    )
    manifest.write_text(told)
    with pytest.raises(AssertionError, match="has no recipe"):
        check(items, out)


@pytest.mark.skipif("shapes" not in embedded(), reason="the embedded model is not there")
def test_the_thousand_are_a_thousand() -> None:
    found = asked(THOUSAND)
    assert (len(found.items), found.doubles) == (1000, 0)
