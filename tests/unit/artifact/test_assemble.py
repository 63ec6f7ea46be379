import json
from dataclasses import replace

import numpy as np
import pytest

from mojoaccel.artifact.assemble import (
    add_check,
    add_library,
    add_sources,
    add_weights,
    model_header,
    write_manifest,
)
from mojoaccel.artifact.manifest import FileSpec, Manifest, TensorSpec, read_manifest
from mojoaccel.errors import MojoaccelError
from mojoaccel.products import MojoSource

MANIFEST = Manifest(
    name='a "model" */ of\nmine',
    target="cpu:x86_64-unknown-linux-gnu+x86-64-v3",
    arch="x86_64",
    system="linux",
    required_features=("avx2", "fma"),
    library=FileSpec("lib/model.so", 3, "00"),
    weights=FileSpec("", 0, ""),
    inputs=(TensorSpec("x", "float32", ("batch", 784)),),
    outputs=(TensorSpec("y", "bfloat16", ("2*batch", "max(batch, 3)")),),
    dims={"batch": (1, None), "rows": (0, 16)},
    in_tree='{"args": [{"tensor": 0}], "kwargs": {}, "names": ["x"]}',
    out_tree='{"tensor": 0}',
    passes=(("fuse", 3),),
    kernels=("linear_1",),
    check=({"folder": "check/0", "sizes": {"batch": 2}},),
)


def test_a_manifest_reads_back_as_written(tmp_path):
    write_manifest(tmp_path, MANIFEST)
    assert read_manifest(tmp_path) == MANIFEST


def test_equal_manifests_have_equal_bytes():
    shuffled = replace(MANIFEST, dims=dict(reversed(MANIFEST.dims.items())))
    assert shuffled.text() == MANIFEST.text()
    assert MANIFEST.text().endswith("}\n")


DEFAULTED = (
    *("states", "producer", "options", "verification", "threads", "task"),
    *("engine", "parameters"),  # artifacts written before there was a second engine have none
)


@pytest.mark.parametrize("key", sorted(MANIFEST.to_json()))
def test_a_manifest_that_lacks_a_field_is_refused_or_defaulted(tmp_path, key):
    data = MANIFEST.to_json()
    del data[key]
    (tmp_path / "manifest.json").write_text(json.dumps(data))
    try:
        read_manifest(tmp_path)
        assert key in DEFAULTED
    except MojoaccelError as e:
        assert e.code == ("MA604" if key.endswith("_version") else "MA601")


@pytest.mark.parametrize(
    "change",
    [{"inputs": 3}, {"dims": []}, {"library": {"file": "x"}}, {"novel": 1}, {"passes": [1]}],
)
def test_a_manifest_of_another_form_is_refused(tmp_path, change):
    (tmp_path / "manifest.json").write_text(json.dumps({**MANIFEST.to_json(), **change}))
    with pytest.raises(MojoaccelError) as caught:
        read_manifest(tmp_path)
    assert caught.value.code == "MA601"


def test_the_header_names_inputs_outputs_and_dims():
    text = model_header(MANIFEST)
    assert " * input 0: x: float32[batch, 784]\n" in text
    assert " * output 0: y: bfloat16[2*batch, max(batch, 3)]\n" in text
    assert "#define MODEL_INPUTS 1\n#define MODEL_OUTPUTS 1\n" in text
    assert text.startswith('/* Model a "model" * / of mine, for cpu:')
    assert '#define MODEL_NAME "a \\"model\\" */ of\\nmine"\n' in text


def test_library_sources_and_weights_are_described(tmp_path):
    made = tmp_path / "model.so"
    made.write_bytes(b"elf")
    folder = tmp_path / "model.maccel"
    spec = add_library(folder, made)
    assert (spec.file, spec.size) == ("lib/model.so", 3)
    assert (folder / spec.file).read_bytes() == b"elf"
    source = MojoSource((("model.mojo", "def f():\n    pass\n"),), (), (), "digest")
    add_sources(folder, source, MANIFEST)
    found = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    assert found == {
        *("lib/model.so", "mojo/model.mojo", "include/maccel.h", "include/model.h", "LICENSES"),
    }
    assert add_weights(folder, (), {}) == FileSpec("", 0, "")
    assert not (folder / "weights.bin").exists()


def test_check_cases_are_written_as_arrays(tmp_path):
    x, y = np.arange(6, dtype=np.float32).reshape(2, 3), np.array([True])
    entries = add_check(tmp_path, [({"batch": 2}, [x], [y, x], [0.0, 1e-6]), ({}, [], [y], [0])])
    assert entries[0] == {
        "folder": "check/0",
        "sizes": {"batch": 2},
        "inputs": 1,
        "outputs": 2,
        "allowed": [0.0, 1e-6],
    }
    np.testing.assert_array_equal(np.load(tmp_path / "check/0/input_0.npy"), x)
    np.testing.assert_array_equal(np.load(tmp_path / "check/0/output_1.npy"), x)
    assert np.load(tmp_path / "check/1/output_0.npy").dtype == np.bool_
