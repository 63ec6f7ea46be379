"""Builds graphs of real operators that compute with complex values as two parts each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Union

from mojoaccel.ir.dims import Size
from mojoaccel.ir.graph import Attr, GraphBuilder, Node
from mojoaccel.ir.types import BOOL, C64, C128, F32, F64, DType, TensorType

Part = Union[None, float, str]
"""A real or imaginary part: a value's name, a number everywhere, or None for zero."""

Pair = tuple[Part, Part]


def is_complex(t: TensorType) -> bool:
    """Whether a type is complex."""
    return t.dtype in (C64, C128)


def real_type(dtype: DType) -> DType:
    """Return the type of the parts of `dtype`."""
    return {C64: F32, C128: F64}.get(dtype, dtype)


def read_number(value: object) -> complex:
    """Read a number attribute; the importer keeps complex ones as text."""
    return complex(value) if isinstance(value, (int, float, str)) else 0j


def broadcast(*shapes: Sequence[Size]) -> tuple[Size, ...]:
    """Return the common shape of operands (sizes known to be 1 stretch)."""
    rank = max((len(s) for s in shapes), default=0)
    result: list[Size] = [1] * rank
    for shape in shapes:
        for axis, size in enumerate(shape, rank - len(shape)):
            result[axis] = size if result[axis] == 1 else result[axis]
    return tuple(result)


@dataclass
class Parts:
    """Arithmetic on parts, for the replacement of one node.

    Attributes:
        b: Builds the nodes.
        dtype: Type of the parts.
    """

    b: GraphBuilder
    dtype: DType

    def type(self, part: str) -> TensorType:
        """Return the type of a value."""
        return self.b.types[part]

    def _op(self, op: str, parts: Sequence[str], dtype: DType | None = None, **attrs: Attr) -> str:
        shape = broadcast(*(self.type(p).shape for p in parts))
        operands = [*parts, None] if len(parts) == 1 and attrs else parts
        return self.b.add(op, operands, TensorType(dtype or self.dtype, shape), **attrs)

    def call(self, op: str, x: Part) -> str:
        """Apply a function of one operand."""
        return self._op(op, [self.value(x)])

    def value(self, part: Part, shape: tuple[Size, ...] = ()) -> str:
        """Return a part as a value, a number as a constant of `shape`."""
        if isinstance(part, str):
            return part
        t = TensorType(self.dtype, shape)
        return self.b.add("full", [], t, size=shape, fill_value=float(part or 0.0))

    def neg(self, x: Part) -> Part:
        """Negate."""
        if not isinstance(x, str):
            return None if x is None else -x
        return self._op("neg", [x])

    def add(self, x: Part, y: Part) -> Part:
        """Add."""
        if x is None or y is None:
            return y if x is None else x
        if isinstance(x, str) and isinstance(y, str):
            return self._pair("add", x, y)
        if isinstance(x, str):
            assert isinstance(y, float)
            return self._op("add", [x], other=y, alpha=1)
        return self.add(y, x) if isinstance(y, str) else x + y

    def _pair(self, op: str, x: str, y: str) -> str:
        shape = broadcast(self.type(x).shape, self.type(y).shape)
        attrs: dict[str, Attr] = {"alpha": 1} if op in ("add", "sub") else {}
        return self.b.add(op, [x, y], TensorType(self.dtype, shape), **attrs)

    def sub(self, x: Part, y: Part) -> Part:
        """Subtract."""
        if isinstance(x, str) and isinstance(y, str):
            return self._pair("sub", x, y)
        return self.add(x, self.neg(y))

    def mul(self, x: Part, y: Part) -> Part:
        """Multiply."""
        if x is None or y is None:
            return None
        if isinstance(x, str) and isinstance(y, str):
            return self._pair("mul", x, y)
        if not isinstance(x, str):
            if not isinstance(y, str):
                return x * y
            x, y = y, x
        if y == 1.0:
            return x
        if y == -1.0:
            return self.neg(x)
        assert isinstance(y, float)
        return self._op("mul", [x], other=y)

    def div(self, x: Part, y: Part) -> Part:
        """Divide."""
        if x is None:
            return None
        if not isinstance(x, str) and not isinstance(y, str):
            return float(x) / float(y or 0.0)
        return self._pair("div", self.value(x), self.value(y))

    def compare(self, op: str, x: Part, y: Part) -> str:
        """Compare; the result is a mask."""
        a, c = self.value(x), self.value(y)
        shape = broadcast(self.type(a).shape, self.type(c).shape)
        return self.b.add(op, [a, c], TensorType(BOOL, shape))

    def where(self, mask: str, x: Part, y: Part) -> str:
        """Choose by a mask."""
        a, c = self.value(x), self.value(y)
        shape = broadcast(*(self.type(n).shape for n in (mask, a, c)))
        return self.b.add("where", [mask, a, c], TensorType(self.dtype, shape))

    def binary(self, op: str, x: Part, y: Part) -> str:
        """Apply a function of two operands."""
        return self._pair(op, self.value(x), self.value(y))

    # -- complex arithmetic -----------------------------------------------------------------

    def product(self, x: Pair, y: Pair) -> Pair:
        """Multiply complex values."""
        (a, b), (c, d) = x, y
        return (
            self.sub(self.mul(a, c), self.mul(b, d)),
            self.add(self.mul(a, d), self.mul(b, c)),
        )

    def quotient(self, x: Pair, y: Pair) -> Pair:
        """Divide complex values; scaled by the divisor's larger part, so that nothing overflows."""
        (a, b), (c, d) = x, y
        if d is None:
            return self.div(a, c), self.div(b, c)
        if not isinstance(c, str) and not isinstance(d, str):
            inverse = 1 / complex(c or 0.0, d)
            return self.product(x, (inverse.real, inverse.imag))
        size = self.binary("maximum", self.call("abs", c), self.call("abs", d))
        c, d = self.div(c, size), self.div(d, size)
        whole = self.add(self.mul(c, c), self.mul(d, d))
        re = self.div(self.add(self.mul(a, c), self.mul(b, d)), whole)
        im = self.div(self.sub(self.mul(b, c), self.mul(a, d)), whole)
        return self.div(re, size), self.div(im, size)

    def size(self, x: Pair) -> str:
        """Return the absolute value, without overflow of the squares."""
        a, b = x
        if b is None:
            return self.call("abs", a)
        if a is None:
            return self.call("abs", b)
        first, second = self.call("abs", a), self.call("abs", b)
        large = self.binary("maximum", first, second)
        small = self.binary("minimum", first, second)
        ratio = self.div(small, large)
        root = self.call("sqrt", self.add(self.mul(ratio, ratio), 1.0))
        scaled = self.mul(large, root)
        # 0 / 0 and inf / inf: the larger part is the answer.
        zero = self.b.add("eq", [large, None], TensorType(BOOL, self.type(large).shape), other=0.0)
        infinite = self.b.add("isinf", [large], TensorType(BOOL, self.type(large).shape))
        mask = self.b.add("logical_or", [zero, infinite], TensorType(BOOL, self.type(large).shape))
        return self.where(mask, large, scaled)

    def angle(self, x: Pair) -> str:
        """Return the argument."""
        return self.binary("atan2", x[1], x[0])

    def exp(self, x: Pair) -> Pair:
        """Return e^x."""
        a, b = x
        size: Part = 1.0 if a is None else self.call("exp", a)
        if b is None:
            return size, None
        return self.mul(size, self.call("cos", b)), self.mul(size, self.call("sin", b))

    def log(self, x: Pair) -> Pair:
        """Return the principal logarithm."""
        return self.call("log", self.size(x)), self.angle(x)

    def sqrt(self, x: Pair) -> Pair:
        """Return the principal root, each part from a sum that cannot cancel."""
        a, b = x
        size = self.size(x)
        left = 0.0 if a is None else self.call("abs", a)
        half = self.call("sqrt", self.mul(self.add(size, left), 0.5))
        if b is None:
            other: Part = 0.0
        else:
            zero = self.b.add(
                "eq", [half, None], TensorType(BOOL, self.type(half).shape), other=0.0
            )
            ratio = self.div(self.call("abs", b), self.mul(half, 2.0))
            other = self.where(zero, 0.0, ratio)
        right = self.compare("ge", 0.0 if a is None else a, 0.0)
        re, im = self.where(right, half, other), self.where(right, other, half)
        return re, im if b is None else self.binary("copysign", im, b)

    def power(self, x: Pair, exponent: complex) -> Pair:
        """Return x^exponent; small integers by products."""
        whole = exponent.imag == 0 and float(exponent.real).is_integer()
        count = int(exponent.real) if whole else 0
        if whole and count == 0:
            return 1.0, None
        if whole and abs(count) <= 8:
            result = x
            for _ in range(abs(count) - 1):
                result = self.product(result, x)
            return result if count > 0 else self.quotient((1.0, None), result)
        if exponent == 0.5:
            return self.sqrt(x)
        number: Pair = (exponent.real, exponent.imag or None)
        return self.exp(self.product(self.log(x), number))


@dataclass
class Rewriting:
    """One node that is being replaced.

    Attributes:
        node: The node.
        parts: Arithmetic in the type of its parts.
        pairs: Parts of each complex operand seen so far, by name.
    """

    node: Node
    parts: Parts
    pairs: dict[str, Pair] = field(default_factory=dict)

    @property
    def b(self) -> GraphBuilder:
        """The builder of the nodes."""
        return self.parts.b

    def operand(self, position: int, attr: str | None = None) -> Pair:
        """Return an operand's parts, or those of the number in `attr`."""
        name = self.node.inputs[position] if position < len(self.node.inputs) else None
        if name is not None:
            return self.pairs.get(name, (name, None))
        number = read_number(self.node.attr(attr or "", 0))
        return number.real or None, number.imag or None


__all__ = ["Pair", "Part", "Parts", "Rewriting", "is_complex", "read_number", "real_type"]
