"""Models that keep state begin anew with every request, so sequences are refused."""

from types import SimpleNamespace

import pytest

pytest.importorskip("orjson")
from mojoaccel.serve.codec import InferRequest
from mojoaccel.serve.model import ServedModel
from mojoaccel.serve.refusal import Refusal


def arrange(states, **parameters):
    manifest = SimpleNamespace(states=states, inputs=(), dims={})
    model = SimpleNamespace(
        manifest=manifest, inputs={}, outputs=(), name="m", check_shapes=lambda _: None
    )
    return ServedModel.arrange(model, InferRequest(None, (), parameters=parameters))


def test_sequences_need_a_state_that_is_kept():
    with pytest.raises(Refusal, match="sequences are not kept"):
        arrange(("cache",), sequence_id=5)
    assert arrange(("cache",), priority=1) == arrange((), sequence_id=5) == []
