"""Model files and declarations that make no sense: a code, a place, and never an internal error."""

import pytest

from mojoaccel.cache import Cache
from mojoaccel.config import CompileOptions, DetectOptions, TraceOptions
from mojoaccel.driver import Compiler
from mojoaccel.errors import MojoaccelError
from mojoaccel.job import Request

pytest.importorskip("torch")

HEAD = "import torch\nfrom torch import nn\nfrom mojoaccel import Example\n"
MODEL = HEAD + "def factory():\n    return Example(nn.Linear(4, 2), (torch.ones(3, 4),), {}, %s)\n"

ODD = {
    "leaves on import": ("import sys\nsys.exit(3)\n", (), "MA207", "SystemExit: 3"),
    "leaves": ("def factory():\n    raise SystemExit\n", (), "MA207", "factory() failed"),
    "axis of the factory": (MODEL % "{'input': {7: 'n'}}", (), "MA903", "no axis 7"),
    "axis": (MODEL % "{}", ("input:9=b",), "MA903", "input input has no axis 9: it has 2"),
    "no axes": (MODEL % "{'input': 'n'}", (), "MA903", "the dynamic dims of input are 'n'"),
    "word of Python": (MODEL % "{}", ("input:0=class",), "MA903", "cannot be called class"),
    "empty range": (MODEL % "{}", ("input:0=n:8..1",), "MA903", "is empty"),
    "unknown input": (MODEL % "{}", ("nope:0=n",), "MA903", "no input is called nope"),
}


def request(path, declared=(), **kwargs):
    options = CompileOptions(detect=DetectOptions("null"), trace=TraceOptions(dynamic=declared))
    return Request(str(path), options, stop_after="trace", **kwargs)


def run(folder, request):
    Compiler(Cache(folder / "cache", 10**9, print)).compile(request, lambda job, report: None)


@pytest.mark.parametrize("case", ODD)
def test_refused(tmp_path, case):
    text, declared, code, message = ODD[case]
    (tmp_path / "model.py").write_text(text)
    with pytest.raises(MojoaccelError) as caught:
        run(tmp_path, request(tmp_path / "model.py", declared))
    assert caught.value.code == code
    assert message in caught.value.diagnostics[0].message


def test_folder_of_products_that_is_a_file(tmp_path):
    (tmp_path / "model.py").write_text(MODEL % "{}")
    (tmp_path / "file").write_text("")
    with pytest.raises(MojoaccelError) as caught:
        run(tmp_path, request(tmp_path / "model.py", save_temps=tmp_path / "file"))
    assert caught.value.code == "MA603"


def test_termination_is_not_taken_for_the_models_fault(tmp_path):
    (tmp_path / "model.py").write_text("raise SystemExit(143)\n")
    with pytest.raises(SystemExit) as caught:
        run(tmp_path, request(tmp_path / "model.py"))
    assert caught.value.code == 143


def test_a_typing_error_is_shown_where_it_is(tmp_path):
    (tmp_path / "model.py").write_text("import torch\n\ndef factory(:\n    pass\n")
    with pytest.raises(MojoaccelError) as caught:
        run(tmp_path, request(tmp_path / "model.py"))
    place = caught.value.diagnostics[0].loc
    assert place is not None and (place.line, place.text) == (3, "def factory(:")


def test_a_corrupt_program_is_said_once(tmp_path, capfd):
    place = tmp_path / "model.pt2"
    place.write_bytes(b"not a zip file")
    with pytest.raises(MojoaccelError, match=r"MA202.*cannot be read"):
        run(tmp_path, request(place))
    assert capfd.readouterr().err == ""  # torch's traceback is held back
