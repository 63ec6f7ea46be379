"""A graph that a pass broke is refused."""

from dataclasses import replace

import pytest

from mojoaccel.errors import MojoaccelError
from mojoaccel.ir.dims import Dim, symbol
from mojoaccel.ir.graph import Graph, Node, Value
from mojoaccel.ir.types import F32, TensorType
from mojoaccel.ir.verify import verify_graph

T = TensorType(F32, (symbol("b"), 4))
NODE = Node("exp", ("x",), (), (Value("y", T),))
GOOD = Graph("g", "torch", (Dim("b"),), (Value("x", T),), (), (NODE,), ("y",))


def test_a_good_graph_passes() -> None:
    verify_graph(GOOD, "nothing")


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (replace(GOOD, inputs=()), "exp reads x before it is made"),
        (replace(GOOD, outputs=("z",)), "output z is not made"),
        (replace(GOOD, nodes=(NODE, NODE)), "two values are called y"),
        (replace(GOOD, dims=()), "x has the undeclared dim b"),
        (
            replace(GOOD, nodes=(replace(NODE, attrs=(("b", 1), ("a", 2))),)),
            "the attributes of exp are not sorted",
        ),
    ],
)
def test_a_broken_graph_is_refused(broken: Graph, message: str) -> None:
    with pytest.raises(MojoaccelError, match=f"MA301.*after some_pass: {message}"):
        verify_graph(broken, "some_pass")
