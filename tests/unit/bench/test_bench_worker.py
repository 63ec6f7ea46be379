"""What a benchmark's processes are asked for, asked here."""

from dataclasses import asdict

import numpy as np
import torch

from mojoaccel.bench.accuracy import Reference, judge
from mojoaccel.bench.worker import Worker
from mojoaccel.bench.workloads import ModelSource, example_inputs, load_arrays

MODEL = """
import torch
from mojoaccel import Example

class Both(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.line = torch.nn.Linear(5, 3)

    def forward(self, x):
        return self.line(x), (x > 0).to(torch.uint16)

def factory():
    return Example(Both(), (torch.linspace(-1, 1, 10).reshape(2, 5),))
"""


def test_bfloat16_is_told_from_integers_whose_bits_it_travels_in(tmp_path):
    path = tmp_path / "both.py"
    path.write_text(MODEL)
    source = ModelSource(f"{path}:factory", dtype="bf16")
    example_inputs(source.load()).save(tmp_path)
    task = {"model": asdict(source), "threads": torch.get_num_threads(), "place": str(tmp_path)}
    found = Worker(tmp_path).referee({"runner": "eager", **task})
    assert found == {"dtypes": ["bf16", "u16"], "source": "float64"}

    exact, own = (load_arrays(tmp_path / name) for name in ("exact.npz", "own.npz"))
    reference = Reference(found["dtypes"], exact, own, found["source"])
    rounded = judge([own[0] ^ 1, own[1]], reference)  # the last bit of bfloat16
    assert rounded.ok and 0 < rounded.relative < 2e-2 and rounded.wrong == 0
    assert judge([own[0], 1 - own[1].astype(np.int64)], reference).wrong == 10
