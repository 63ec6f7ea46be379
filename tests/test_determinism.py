"""Equal inputs give equal artifacts: from another folder, with another hash seed, without cc."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODEL = Path(__file__).parent / "runtime" / "counting_model.py"


def compile_in(place: Path, **variables: str) -> dict[str, bytes]:
    """Compile a copy of the model that lies in `place`; return the artifact's files."""
    place.mkdir(parents=True)
    source = Path(shutil.copy(MODEL, place))
    env = {**os.environ, "PYTHONPATH": str(ROOT), "MOJOACCEL_CACHE_DIR": str(place / "cache")}
    command = [sys.executable, "-m", "mojoaccel", "compile", f"{source.name}:factory"]
    done = subprocess.run(
        [*command, "-o", "out.maccel"],
        cwd=place,
        env={**env, **variables},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    folder = place / "out.maccel"
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files}


@pytest.mark.mojo
@pytest.mark.slow
def test_folder_hash_seed_and_programs_on_path_do_not_reach_the_artifact(tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    temporary = tmp_path / "a temporary folder"
    temporary.mkdir()
    first = compile_in(tmp_path / "one", PYTHONHASHSEED="1")
    second = compile_in(
        tmp_path / "another place" / "two",
        PYTHONHASHSEED="2",
        PATH=str(empty),  # no cc, gcc or clang
        TMPDIR=str(temporary),
        LC_ALL="C",
    )
    assert list(first) == list(second)
    differing = [name for name in first if first[name] != second[name]]
    assert differing == []
    for content in first.values():
        assert str(tmp_path).encode() not in content
        assert str(Path.home()).encode() not in content
