"""Long sizes get one variable each."""

from __future__ import annotations

import re

from mojoaccel.emit.sizes import SizeLocals
from mojoaccel.emit.syntax import wrap
from mojoaccel.ir.dims import size_max, size_min, symbol


def test_a_size_that_is_one_call_is_named_once() -> None:
    b = symbol("batch_of_sequences")
    long = size_max(size_min(b * 3 + 7, b * b * 11 + 5), b * 2 + 1000)
    other = (b * b + 12345) // (b + 678) * 13 + long
    sizes = SizeLocals()
    for value in (long, other, long * 4, long):
        sizes.size(value)
    made = re.findall(r"var (\w+) =", "\n".join(sizes.lines))
    assert len(made) == len(set(made))
    assert sizes.size(long) in made


def test_a_long_group_stays_a_number():
    group = " + ".join(f"size_{n}" for n in range(20))
    assert wrap(f"    var a = b % ({group})") == ["    var a = b % (", f"        {group}", "    )"]
    call = ", ".join(f"size_{n}" for n in range(20))
    lines = wrap(f"    var a = max({call})")
    assert lines[:2] == ["    var a = max(", "        size_0,"]
    assert len(lines) == 22
