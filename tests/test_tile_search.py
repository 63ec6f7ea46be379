"""Level 3: tile parameters by measuring."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

import mojoaccel
from mojoaccel.errors import MojoaccelError
from mojoaccel.ir.plan import FusionGroup, KernelCall, MemoryPlan, Plan
from mojoaccel.ops.tiles import TileTable
from mojoaccel.tile_search import Trial, fastest, read_answers


def trial(answers: dict[str, int], *rows: list[int]) -> Trial:
    """A trial of a plan with two groups that ask `q` and one that asks `r`."""
    groups = tuple(
        FusionGroup(f"g{i}", (KernelCall("m", "f", (), (), question=q),), (), ())
        for i, q in enumerate(["q", "r", "q"])
    )
    plan = Plan("p", (), (), (), {}, (), groups, MemoryPlan((), 0, 0), (), (), 3)
    return Trial(plan, answers, list(rows))


def test_the_fastest_candidate_wins_by_the_groups_that_asked():
    trials = [
        trial({"q": 48, "r": 48}, [10, 50, 10], [10, 50, 10], [90, 50, 90]),
        trial({"q": 64, "r": 64}, [9, 90, 9], [8, 90, 9]),
        trial({"q": 32, "r": 32}, [9, 20, 10]),
    ]
    assert fastest("q", (48, 64, 32), trials) == 64
    assert fastest("r", (48, 64, 32), trials) == 32
    assert fastest("r", (48, 64), trials) == 48, "a candidate it does not have"


def test_a_gain_within_noise_keeps_the_kernels_own_choice():
    trials = [trial({"q": 48}, [500, 1, 500]), trial({"q": 64}, [495, 1, 495])]
    assert fastest("q", (48, 64), trials) == 48


def test_damaged_answers_are_measured_again(tmp_path: Path):
    for number, text in enumerate(['{"q": 4', "[1]", '{"q": "x"}', ""]):
        place = tmp_path / f"{number}.json"
        place.write_text(text)
        assert read_answers(place) == {}
    assert read_answers(tmp_path / "missing.json") == {}


def test_a_table_remembers_what_was_asked():
    table = TileTable({"a": 64})
    assert (table.choose("a", (48, 64)), table.choose("b", (16, 32))) == (64, 16)
    assert (table.asked, table.changed) == ({"a": (48, 64), "b": (16, 32)}, 1)


@pytest.mark.mojo
@pytest.mark.slow
def test_level_3_measures_once_and_is_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setenv("MOJOACCEL_CACHE_DIR", str(cache))
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(96, 192), nn.ReLU(), nn.Linear(192, 96))
    kept = []
    for number in range(2):
        place = tmp_path / f"{number}.maccel"
        with mojoaccel.compile(
            module, (torch.randn(5, 96),), optimization="O3", threads=1, output=place
        ) as session:
            passes = dict(session.manifest.passes)
            assert session.manifest.verification["status"] == "passed"
            assert session.profile() == [], "only trials keep times"
        assert "search_tiles" in passes
        (answers,) = (cache / "tiles").glob("*.json")
        kept.append(answers.stat().st_mtime_ns)
        questions = json.loads(answers.read_text())
        assert set(questions) == {
            "linear f32 n=192 k=96 rows=5",
            "linear f32 n=96 k=192 rows=5",
        }
        for entry in cache.glob("optimize-*"):
            entry.rename(tmp_path / f"forgotten-{number}")
    assert kept[0] == kept[1], "answers are used again"


@pytest.mark.mojo
@pytest.mark.slow
def test_tiles_of_another_machine_are_not_measured(tmp_path: Path) -> None:
    place = tmp_path / "arm.maccel"
    with pytest.warns(UserWarning, match="MA303"), pytest.raises(MojoaccelError) as caught:
        mojoaccel.compile(
            nn.Linear(8, 4),
            (torch.randn(2, 8),),
            optimization="O3",
            target="cpu:aarch64-linux-gnu",
            output=place,
        )
    assert caught.value.code == "MA705", "it cannot be loaded here"
    passes = dict(json.loads((place / "manifest.json").read_text())["passes"])
    assert passes["search_tiles"] == 0
