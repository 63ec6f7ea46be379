"""Views of another shape, where sizes are dynamic."""

from mojoaccel.ir.dims import floordiv, mod, symbol
from mojoaccel.ir.graph import Node, Value
from mojoaccel.ir.plan import View
from mojoaccel.ir.types import F32, TensorType
from mojoaccel.ops.shape import view_reshape


def test_dense_elements_take_any_shape():
    n = symbol("n")
    total = n + mod(n, 2)  # even, which the arithmetic of sizes does not see
    halves = floordiv(total, 2)
    node = Node("view", ("x",), (), (Value("y", TensorType(F32, (halves, 2))),))
    found = view_reshape(node, View("x", F32, (total,), (1,)))
    assert found == View("x", F32, (halves, 2), (2, 1))
    assert view_reshape(node, View("x", F32, (total,), (3,))) is None
