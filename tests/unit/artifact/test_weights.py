import numpy as np
import pytest

from mojoaccel.artifact.weights import ALIGNMENT, LAYOUTS, layout_weights, pack, write_weights_file
from mojoaccel.errors import MojoaccelError
from mojoaccel.ir.plan import PackedWeight
from mojoaccel.ir.types import DTYPES


def plain(name, array, dtype="f32"):
    return PackedWeight(name, name, "plain", (), DTYPES[dtype], array.shape)


SOURCES = {
    "a": np.arange(5, dtype=np.float32),
    "empty": np.zeros((0, 3), np.float32),
    "scalar": np.array(7.5),
    "bits": np.arange(6, dtype=np.uint16).reshape(2, 3),
    "flags": np.array([True, False, True]),
    "matrix": np.arange(33 * 4, dtype=np.float32).reshape(33, 4),
}
WEIGHTS = (
    plain("a", SOURCES["a"]),
    plain("empty", SOURCES["empty"]),
    plain("scalar", SOURCES["scalar"], "f64"),
    plain("bits", SOURCES["bits"], "bf16"),
    plain("flags", SOURCES["flags"], "b8"),
    PackedWeight("packed", "matrix", "panels_nk", (("nr", 16),), DTYPES["f32"], (3, 4, 16)),
    PackedWeight("again", "matrix", "panels_kn", (("nr", 16),), DTYPES["f32"], (1, 33, 16)),
)


def test_weights_start_on_cache_lines_and_do_not_overlap():
    offsets, total = layout_weights(WEIGHTS)
    end = 0
    for weight in WEIGHTS:
        assert offsets[weight.buffer] % ALIGNMENT == 0
        assert offsets[weight.buffer] >= end
        end = offsets[weight.buffer] + weight.dtype.size * int(np.prod(weight.shape))
    assert total >= end
    assert total % ALIGNMENT == 0
    assert layout_weights(()) == ({}, 0)


def test_the_file_holds_every_weight_at_its_offset(tmp_path):
    path = tmp_path / "weights.bin"
    offsets, total = layout_weights(WEIGHTS)
    assert write_weights_file(path, WEIGHTS, SOURCES) == total == path.stat().st_size
    data = path.read_bytes()
    used = np.zeros(total, bool)
    for weight in WEIGHTS:
        expected = pack(weight, SOURCES[weight.source]).tobytes()
        start = offsets[weight.buffer]
        assert data[start : start + len(expected)] == expected
        used[start : start + len(expected)] = True
    assert not np.frombuffer(data, np.uint8)[~used].any()  # equal inputs, equal bytes


def test_strided_sources_are_written_in_order(tmp_path):
    source = np.arange(12, dtype=np.float32).reshape(3, 4).T
    write_weights_file(tmp_path / "w", [plain("w", source)], {"w": source})
    expected = np.ascontiguousarray(source).tobytes()
    assert (tmp_path / "w").read_bytes()[: len(expected)] == expected


def test_a_layout_that_disagrees_with_the_plan_is_an_internal_error():
    for array in (np.zeros(4, np.float32), np.zeros(5, np.float64)):
        with pytest.raises(MojoaccelError) as caught:
            pack(WEIGHTS[0], array)
        assert caught.value.code == "MA999"


@pytest.mark.parametrize(
    ("layout", "params"),
    [
        ("conv", {"groups": 2, "panel": 4}),
        ("conv_transpose", {"groups": 2, "panel": 4}),
        ("depthwise", {"lanes": 4}),
    ],
)
def test_kernels_of_one_dimension_pack_like_images_of_height_one(layout, params):
    channels = 1 if layout == "depthwise" else 4
    weight = np.random.default_rng(0).standard_normal((6, channels, 3)).astype(np.float32)
    flat = LAYOUTS[layout](weight, **params)
    np.testing.assert_array_equal(flat, LAYOUTS[layout](weight[:, :, None, :], **params))
    assert np.sort(flat[flat != 0]).tolist() == np.sort(weight.reshape(-1)).tolist()
