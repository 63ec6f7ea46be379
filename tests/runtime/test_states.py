"""Buffers that a model changes, over several runs, against PyTorch."""

import copy
from pathlib import Path

import pytest
import stateful_model
import torch
from torch.utils import _pytree as pytree

from mojoaccel.runtime.session import load

pytestmark = pytest.mark.mojo
MODEL = Path(__file__).parent / "stateful_model.py"
INPUTS = {
    "exchange": lambda step: (torch.full((2, 3), float(step)),),
    "window": lambda step: (torch.arange(4.0) * step,),
    "cache": lambda step: (torch.full((1, 8), step / 8), torch.tensor([step % 6])),
}


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
