"""Random operators: refused by name, since their answers could not be compared with PyTorch's."""

from __future__ import annotations

from mojoaccel.ops.registry import Foreign, OpDef

_HINT = "draw the numbers outside the model and pass them as an input"
_DROPOUT = "call the model with eval(), or pass training=False"

RANDOM = {
    "rand": ("default", "generator", "names"),
    "randn": ("default", "generator", "names"),
    "rand_like": ("default",),
    "randn_like": ("default",),
    "randint": ("default", "low", "generator", "low_generator"),
    "randint_like": ("default", "low_dtype", "Tensor"),
    "randperm": ("default", "generator"),
    "bernoulli": ("default", "p", "Tensor"),
    "multinomial": ("default",),
    "normal": ("float_float", "Tensor_float", "float_Tensor", "Tensor_Tensor"),
    "normal_functional": ("default",),
    "uniform": ("default",),
    "exponential": ("default",),
    "geometric": ("default",),
    "cauchy": ("default",),
    "log_normal": ("default",),
    "poisson": ("default",),
    "binomial": ("default",),
    "_sample_dirichlet": ("default",),
    "_standard_gamma": ("default",),
    "rrelu_with_noise_functional": ("default",),
    "_fused_dropout": ("default",),
}
"""ATen names and their overloads."""


def _refused(name: str, overloads: tuple[str, ...], why: str, hint: str) -> OpDef:
    aten = tuple(f"aten.{name}.{o}" for o in overloads)
    return OpDef(name, aten, Foreign(why, hint))


OPS = (
    *(
        _refused(name, overloads, "it draws random numbers", _HINT)
        for name, overloads in RANDOM.items()
    ),
    _refused("native_dropout", ("default",), "dropout is on: it draws random numbers", _DROPOUT),
)
