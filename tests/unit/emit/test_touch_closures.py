"""What is printed to prefetch for an epilogue."""

from mojoaccel.emit.closure import ClosurePrinter
from mojoaccel.ir.plan import Body, Closure, View
from mojoaccel.ir.types import F32


def printed(operands: tuple[View, ...], outputs: tuple[View, ...]) -> list[str]:
    closure = Closure("touch", (4, 8), ((0,), (1,)), operands, outputs, Body((), ()))
    return ClosurePrinter(closure, lambda view: view.buffer, set(), set()).print("ahead")[2:]


def test_rows_are_prefetched_once_and_what_all_rows_share_is_not() -> None:
    x, bias, y = (View(n, F32, (4, 8), s) for n, s in (("x", (8, 1)), ("b", (0, 1)), ("y", (8, 1))))
    turned = View("z", F32, (4, 8), (1, 4))
    assert printed((x, bias, x), (y,)) == [
        "    touch(x, row * 8 + col)",
        "    touch_to_write(y, row * 8 + col)",
    ]
    assert printed((), (turned,)) == ["    pass"]
