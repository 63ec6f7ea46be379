"""Buffers that a model changes, over several runs, against PyTorch."""

import copy
import pickle
from pathlib import Path

import pytest
import stateful_model
import torch
from torch.utils import _pytree as pytree

from mojoaccel.errors import MojoaccelError
from mojoaccel.runtime.session import load

pytestmark = pytest.mark.mojo
MODEL = Path(__file__).parent / "stateful_model.py"
INPUTS = {
    "exchange": lambda step: (torch.full((2, 3), float(step)),),
    "window": lambda step: (torch.arange(4.0) * step,),
    "cache": lambda step: (torch.full((1, 8), step / 8), torch.tensor([step % 6])),
}


def test_a_snapshot_brings_the_states_back_in_any_session(compile_to, tmp_path):
    made = compile_to(tmp_path / "m.maccel", f"{MODEL}:cache", "-O2")
    run = INPUTS["cache"]
    with load(made) as first, load(made) as second:
        first(*run(1))
        saved = pickle.loads(pickle.dumps(first.snapshot()))
        expected = pytree.tree_leaves(first(*run(2)))
        first(*run(3))
        for session in (first, second):
            session.restore(saved)
            for got, want in zip(pytree.tree_leaves(session(*run(2))), expected, strict=True):
                assert torch.equal(got, want)


def test_a_snapshot_of_another_model_is_refused(compile_to, tmp_path):
    made = [
        compile_to(tmp_path / f"{n}.maccel", f"{MODEL}:{n}", "-O2") for n in ("cache", "window")
    ]
    with load(made[0]) as first, load(made[1]) as second:
        before = second.snapshot()
        with pytest.raises(MojoaccelError) as caught:
            second.restore(first.snapshot())
        assert caught.value.code == "MA706"
        assert second.snapshot() == before


CASES = [*((name, "-O2") for name in INPUTS), ("exchange", "-O0")]


@pytest.mark.parametrize(("name", "level"), CASES)
def test_states_follow_pytorch_step_by_step(compile_to, tmp_path, name, level):
    made = compile_to(tmp_path / "m.maccel", f"{MODEL}:{name}", level)
    fresh = getattr(stateful_model, name)().module
    with load(made, threads=2) as session, torch.no_grad():
        for _ in range(2):
            module = copy.deepcopy(fresh)
            session.reset()
            for step in range(5):
                inputs = INPUTS[name](step)
                mine = pytree.tree_leaves(session(*inputs))
                truth = pytree.tree_leaves(module(*inputs))
                for got, want in zip(mine, truth, strict=True):
                    torch.testing.assert_close(got, want)
