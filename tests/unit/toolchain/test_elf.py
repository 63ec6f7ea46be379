"""What libraries need is read from the files, foreign and damaged ones included."""

import importlib.util
import platform
from pathlib import Path

import pytest

from mojoaccel.errors import MojoaccelError
from mojoaccel.toolchain.build import check_library
from mojoaccel.toolchain.elf import read_elf

pytestmark = pytest.mark.skipif(platform.system() != "Linux", reason="ELF is Linux's format")


def some_library():
    """Return an extension module of numpy: a library that needs libc and more."""
    found = importlib.util.find_spec("numpy._core._multiarray_umath")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin)


def test_extension_module():
    info = read_elf(some_library())
    assert info.machine == platform.machine()
    assert "libc.so.6" in info.needed
    assert "PyInit__multiarray_umath" in info.exported
    assert "memcpy" in info.undefined
    assert not set(info.exported) & set(info.undefined)


@pytest.mark.parametrize("length", [0, 4, 100, 5000])
def test_cut_off_file(tmp_path, length):
    path = tmp_path / "cut.so"
    path.write_bytes(some_library().read_bytes()[:length])
    with pytest.raises(ValueError, match=r"cut\.so"):
        read_elf(path)
    with pytest.raises(MojoaccelError) as caught:
        check_library(path, "x86_64")
    assert caught.value.code == "MA503"


def test_library_that_needs_others_is_refused():
    with pytest.raises(MojoaccelError) as caught:
        check_library(some_library(), platform.machine())
    assert caught.value.code == "MA504"
    assert "Py" in str(caught.value)


def test_library_for_another_processor_is_refused():
    with pytest.raises(MojoaccelError, match="not sparc") as caught:
        check_library(some_library(), "sparc")
    assert caught.value.code == "MA503"
