"""What each stage's key depends on: every option field, the products before, compiler, kernels."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mojoaccel import stages
from mojoaccel.config import NOT_IN_KEY, CompileOptions
from mojoaccel.driver import STAGES
from mojoaccel.job import Job, Request, kernels_digest
from mojoaccel.products import MojoSource, Target

torch = pytest.importorskip("torch")

NAMES = ["detect", "trace", "optimize", "emit", "build", "package"]
OTHER = {
    "target": "cpu:x86_64-linux-gnu+haswell",
    "dtype": "bf16",
    "dynamic": ("input:0=rows",),
    "optimization": 1,
    "fp_mode": "off",
    "profile": True,
    "archive": True,
    "verify": False,
    "threads": 3,
}
"""Another value than the default for each field; a new field must be added here."""
OWN = [
    (stage.name, f.name)
    for stage in fields(CompileOptions)
    for f in fields(getattr(CompileOptions(), stage.name))
    if f.name not in NOT_IN_KEY
]


def keys(
    tmp_path: Path, options: CompileOptions | None = None, change: Callable[[Job], None] = id
) -> dict[str, str]:
    """Return every stage's key, as text, of a job whose products are all there."""
    from mojoaccel import Example

    torch.manual_seed(0)
    example = Example(torch.nn.Linear(4, 2), (torch.ones(3, 4),))
    job = Job(Request(example, options or CompileOptions(), name="net"), tmp_path)
    job.products = {
        "detect": Target("cpu", "x86_64-unknown-linux-gnu", "znver4"),
        "emit": MojoSource((("model.mojo", "")), (), (), "code"),
    }
    job.digests = dict.fromkeys(NAMES, "same")
    job.__dict__["compiler"] = SimpleNamespace(identity={"version": "1.2.0"})
    change(job)
    return {s.name: json.dumps(s.key(job), sort_keys=True) for s in STAGES}


def changed(one: dict[str, str], other: dict[str, str]) -> list[str]:
    return [name for name in NAMES if one[name] != other[name]]


@pytest.mark.parametrize(("stage", "field"), OWN)
def test_every_option_is_in_the_keys_it_belongs_to(tmp_path: Path, stage: str, field: str) -> None:
    options = CompileOptions()
    other = replace(options, **{stage: replace(getattr(options, stage), **{field: OTHER[field]})})
    expected = {"build": ["build", "package"]}.get(stage, [stage])  # the manifest tells how
    if field == "archive":
        expected = []  # made from the folder when it is delivered
    assert changed(keys(tmp_path), keys(tmp_path, other)) == expected


def test_options_that_change_no_product_are_in_no_key(tmp_path: Path) -> None:
    options = CompileOptions()
    other = replace(options, build=replace(options.build, timeout=1.0, jobs=2))
    assert changed(keys(tmp_path), keys(tmp_path, other)) == []


@pytest.mark.parametrize(
    ("product", "expected"),
    [
        ("trace", ["optimize", "package"]),
        ("optimize", ["emit", "package"]),
        ("emit", ["package"]),
        ("build", ["package"]),
    ],
)
def test_products_are_chained_by_content(tmp_path: Path, product: str, expected: list[str]) -> None:
    def change(job: Job) -> None:
        job.digests[product] = "other"

    assert changed(keys(tmp_path), keys(tmp_path, change=change)) == expected


def test_a_changed_comment_of_the_emitted_code_builds_nothing_anew(tmp_path: Path) -> None:
    def comment(job: Job) -> None:
        job.products["emit"] = replace(job.products["emit"], files=(("model.mojo", "# new"),))

    def code(job: Job) -> None:
        job.products["emit"] = replace(job.products["emit"], code_digest="other")

    base = keys(tmp_path)
    assert changed(base, keys(tmp_path, change=comment)) == []
    assert changed(base, keys(tmp_path, change=code)) == ["build"]


def test_another_compiler(tmp_path: Path) -> None:
    def change(job: Job) -> None:
        job.__dict__["compiler"] = SimpleNamespace(identity={"version": "1.2.1"})

    assert changed(keys(tmp_path), keys(tmp_path, change=change)) == ["build", "package"]


def test_a_changed_kernel_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = keys(tmp_path)
    monkeypatch.setattr(stages, "kernels_digest", lambda: "other")
    assert changed(base, keys(tmp_path)) == ["build"]  # package follows by the library's bytes


def test_the_kernels_digest_sees_every_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "deep" / "kernel.mojo"
    file.parent.mkdir()
    file.write_text("one")
    monkeypatch.setattr("mojoaccel.job.kernel_library", lambda: tmp_path)
    digest: Any = kernels_digest.__wrapped__
    before = digest()
    file.write_text("two")
    assert digest() != before


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("cpu", "znver5", ["optimize", "emit", "build", "package"]),
        ("features", ("+avx512bf16",), ["optimize", "emit", "build", "package"]),
        ("required_features", ("avx2",), ["package"]),
        ("cores", 64, []),
    ],
)
def test_the_parts_of_the_target(
    tmp_path: Path, field: str, value: Any, expected: list[str]
) -> None:
    def change(job: Job) -> None:
        job.products["detect"] = replace(job.target, **{field: value})

    assert changed(keys(tmp_path), keys(tmp_path, change=change)) == expected


def test_a_changed_weight_is_in_the_key_of_trace(tmp_path: Path) -> None:
    def change(job: Job) -> None:
        with torch.no_grad():
            job.request.model.module.weight[0, 0] += 1

    assert changed(keys(tmp_path), keys(tmp_path, change=change)) == ["trace"]
