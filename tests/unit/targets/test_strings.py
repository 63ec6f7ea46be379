"""Target strings read back, name what is wrong, and follow the compiler's idea of each CPU."""

import pytest

from mojoaccel.errors import MojoaccelError
from mojoaccel.targets.base import make_target, normal_triple, read_target
from mojoaccel.targets.features import (
    CPU_CHOICE,
    CPU_MODELS,
    NOT_GENERATED,
    consistent,
    feature_table,
)

EVERY_MODEL = [
    f"cpu:{arch}-unknown-linux-gnu+{model}" for arch in CPU_MODELS for model in CPU_MODELS[arch]
]


@pytest.mark.parametrize("text", [*EVERY_MODEL, "reference", "null"])
def test_printed_form_reads_back(text):
    target = read_target(text)
    assert str(target) == text
    assert read_target(str(target)) == target


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("cpu:aarch64-linux-gnu", "cpu:aarch64-unknown-linux-gnu+neoverse-n1"),
        ("cpu:amd64-linux", "cpu:x86_64-unknown-linux-gnu+x86-64-v3"),
        (
            "cpu:x86_64-linux-gnu+sapphirerapids-amx_tile",  # takes along what builds on it
            "cpu:x86_64-unknown-linux-gnu+sapphirerapids-amx-tile-amx-bf16-amx-int8",
        ),
        (
            "cpu:x86_64-linux-gnu+x86-64-v3+avx512_vnni",  # brings what it builds on
            "cpu:x86_64-unknown-linux-gnu+x86-64-v3+avx512f+avx512vnni",
        ),
        ("cpu:x86_64-linux-gnu+znver3+avx2", "cpu:x86_64-unknown-linux-gnu+znver3"),
        (
            "cpu:aarch64-linux-gnu+neoverse-n2-sve-bitperm",
            "cpu:aarch64-unknown-linux-gnu+neoverse-n2-sve-bitperm",
        ),
    ],
)
def test_short_form(text, printed):
    target = read_target(text)
    assert str(target) == printed
    assert read_target(printed) == target


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("gpu", "did you mean cpu"),
        ("cpu:", "no code can be built for ''"),
        ("cpu:riscv64-linux-gnu", "riscv64"),
        ("cpu:x86_64-windows", "x86_64-windows"),
        ("cpu:x86_64-linux-musl", "musl"),
        ("cpu:x86_64-linux-gnu+", "not a known processor"),
        ("cpu:x86_64-linux-gnu+sapphirerapid", "did you mean sapphirerapids"),
        ("cpu:x86_64-linux-gnu+neoverse-n1", "not a known processor"),
        ("cpu:x86_64-linux-gnu+znver4,avx2", "not a known processor"),
        ("cpu:x86_64-linux-gnu+znver4+avx511", "not a known feature"),
        ("cpu:x86_64-linux-gnu+znver4+sve", "not a known feature of x86_64"),
        ("cpu:x86_64-linux-gnu+znver4+", "not a known feature"),
    ],
)
def test_wrong_string(text, says):
    with pytest.raises(MojoaccelError) as caught:
        read_target(text)
    assert caught.value.code == "MA104"
    assert says in str(caught.value) + " ".join(caught.value.diagnostics[0].notes)


def test_required_features_are_all_that_code_may_use():
    target = read_target("cpu:x86_64-linux-gnu+x86-64-v3+avx_vnni-f16c")
    assert set(target.required_features) == {
        *("pni", "ssse3", "sse4_1", "sse4_2", "popcnt", "cx16", "lahf_lm", "movbe", "abm"),
        *("avx", "avx2", "fma", "bmi1", "bmi2", "avx_vnni"),
    }


@pytest.mark.parametrize(
    ("text", "width"),
    [
        ("cpu:x86_64-linux-gnu+sapphirerapids", 64),
        ("cpu:x86_64-linux-gnu+sapphirerapids-avx512vl", 32),
        ("cpu:x86_64-linux-gnu+sapphirerapids-avx2", 16),
        ("cpu:x86_64-linux-gnu+znver3", 32),
        ("cpu:aarch64-linux-gnu+neoverse-v1", 16),
    ],
)
def test_register_width(text, width):
    assert read_target(text).simd_bytes == width


def test_models_are_consistent_and_chosen_models_exist():
    for arch, models in CPU_MODELS.items():
        for model, flags in models.items():
            assert consistent(flags) == set(flags), model
            assert set(flags) <= set(feature_table(arch)), model
        for model, needed in CPU_CHOICE[arch]:
            assert needed <= set(models[model]), model


def test_unlisted_flags_do_not_matter():
    flags = [*CPU_MODELS["x86_64"]["znver3"], "syscall", "hypervisor"]
    assert make_target("x86_64-unknown-linux-gnu", "znver3", flags).features == ()


def test_normal_triple():
    assert normal_triple("arm64-linux") == "aarch64-unknown-linux-gnu"


@pytest.mark.mojo
@pytest.mark.parametrize("text", EVERY_MODEL)
def test_compiler_agrees_with_the_table(text, effective_features):
    """Each LLVM feature of a model is one that the runtime checks, or one that needs no check."""
    target = read_target(text)
    table = feature_table(target.arch)
    given = effective_features(target)
    assert given - set(table.values()) <= NOT_GENERATED
    assert given & set(table.values()) == {table[f] for f in target.required_features}


@pytest.mark.mojo
def test_compiler_takes_explicit_features(effective_features):
    target = read_target("cpu:x86_64-linux-gnu+sapphirerapids-avx512f-avx_vnni")
    given = effective_features(target)
    assert not {f for f in given if f.startswith("avx512")}
    assert "avxvnni" not in given
    assert {"avx2", "gfni", "vaes"} <= given
