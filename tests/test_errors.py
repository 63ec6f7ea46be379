"""Every code of the table is raised once, by the real code path, and renders as documented."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mojoaccel.cli.console import diagnostic_lines
from mojoaccel.errors import CODES, Diagnostic, ExitCode, MojoaccelError, SourceLoc
from mojoaccel.ir.graph import Value
from mojoaccel.ir.types import F32, TensorType


def accuracy(tmp_path: Path) -> None:
    from mojoaccel.verify import Case, Verification, accuracy_error, compare

    output = Value("y", TensorType(F32, (2,)))
    truth = np.array([1.0, 2.0])
    row = compare(output, truth.astype(np.float32) * 1.01, truth.astype(np.float32), truth)
    raise accuracy_error(Verification("failed", "", (Case({"b": 3}, (), (), (row,)),)))


def bad_plan(tmp_path: Path) -> None:
    from mojoaccel.ir.serialize import parse_plan

    parse_plan("{}")


def write_failed(tmp_path: Path) -> None:
    from mojoaccel.placing import write_text

    (tmp_path / "file").write_text("")
    write_text(tmp_path / "file" / "out.txt", "text")


def bad_config(tmp_path: Path) -> None:
    from mojoaccel.settings import load_settings

    (tmp_path / "mojoaccel.toml").write_text("speed = 11")
    load_settings(tmp_path)


def damaged_weights(tmp_path: Path) -> None:
    from mojoaccel.products import digest_array
    from mojoaccel.weights import DATA_FILE, StoredWeights, save_weights

    array = np.arange(4.0)
    save_weights({digest_array(array): array}, tmp_path)
    (tmp_path / DATA_FILE).write_bytes(np.arange(1.0, 5.0).tobytes())
    StoredWeights(tmp_path)[digest_array(array)]


def bad_dim(tmp_path: Path) -> None:
    from mojoaccel.example import parse_dynamic

    parse_dynamic(["x=batch"])


def port_in_use(tmp_path: Path) -> None:
    server = pytest.importorskip("mojoaccel.serve.server")
    with server.bind("127.0.0.1", 0) as taken:
        server.bind("127.0.0.1", taken.getsockname()[1])


def no_keys(tmp_path: Path) -> None:
    from mojoaccel.cli.deploy import read_keys

    (tmp_path / "keys").write_text("# none\n")
    read_keys(tmp_path / "keys")


def not_signed(tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    from mojoaccel.artifact.signing import signature_check

    public = Ed25519PrivateKey.generate().public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "public.pem").write_bytes(pem)
    (tmp_path / "model.maccel").mkdir()
    signature_check(tmp_path / "public.pem")(tmp_path / "model.maccel")


def damaged_program(tmp_path: Path) -> None:
    from mojoaccel.trace.loader import load_model

    (tmp_path / "model.pt2").write_bytes(b"not a zip file")
    load_model(str(tmp_path / "model.pt2"))


RAISE: dict[str, Callable[[Path], None]] = {
    "MA202": damaged_program,
    "MA208": bad_plan,
    "MA602": accuracy,
    "MA603": write_failed,
    "MA711": port_in_use,
    "MA712": no_keys,
    "MA713": not_signed,
    "MA901": bad_config,
    "MA902": damaged_weights,
    "MA903": bad_dim,
}


@pytest.mark.parametrize("code", RAISE)
def test_raised(code, tmp_path):
    with pytest.raises(MojoaccelError) as caught:
        RAISE[code](tmp_path)
    found = caught.value
    assert found.code == code
    assert found.exit_code == CODES[code].exit_code
    for diagnostic in found.diagnostics:
        assert diagnostic_lines(diagnostic)[0].startswith(f"error[{code}] {CODES[code].name}: ")
        assert diagnostic.to_json()["code"] == code


@pytest.mark.parametrize("code", CODES)
def test_table(code):
    info = CODES[code]
    assert info.explanation.endswith(".")
    assert info.name == info.name.lower().replace(" ", "-")
    assert code[2] in "123456789", "the hundreds digit names the stage"
    assert isinstance(info.exit_code, ExitCode)
    assert bool(info.hint) != bool(info.fix), "an explanation is a cause and a fix"
    assert not (info.hint or info.fix).endswith(".")


def test_table_is_sorted_and_names_are_unique():
    assert list(CODES) == sorted(CODES)
    names = [info.name for info in CODES.values()]
    assert len(set(names)) == len(names)


def test_rendered_form():
    loc = SourceLoc("model.py", 41, "Net.forward", "return torch.foo(x)")
    found = Diagnostic("MA203", "aten.foo is used twice", loc=loc, notes=("one", "two\nlines"))
    assert diagnostic_lines(found) == [
        "error[MA203] operator-not-supported: aten.foo is used twice",
        "  --> model.py:41 in Net.forward",
        "   |  return torch.foo(x)",
        "  note: one",
        "  note: two",
        "  note: lines",
        "  hint: mojoaccel doctor --ops lists what is supported",
    ]
