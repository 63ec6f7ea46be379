"""How programs were installed, by where they lie and what installers left."""

import sys

import pytest

from mojoaccel.doctor.inventory import _misjudged
from mojoaccel.targets.base import read_target
from mojoaccel.toolchain.inventory import install_method, max_programs


@pytest.mark.parametrize(
    ("place", "beside", "method"),
    [
        ("snap/mojo/148/bin/mojo", {}, "snap"),
        ("lib/node_modules/mojo-cli/bin/mojo", {}, "npm"),
        (".modular/pkg/packages.modular.com_mojo/bin/mojo", {}, "modular (retired installer)"),
        (".magic/envs/x/bin/mojo", {}, "magic (retired installer)"),
        (
            "project/.pixi/envs/default/bin/mojo",
            {"project/.pixi/envs/default/conda-meta/h": ""},
            "pixi",
        ),
        ("miniforge/bin/mojo", {"miniforge/conda-meta/history": ""}, "conda"),
        (
            "venv/bin/mojo",
            {"venv/lib/python3.12/site-packages/mojo_compiler-1.2.0.dist-info/INSTALLER": "uv\n"},
            "uv",
        ),
        (
            "venv/lib/python3.12/site-packages/modular/bin/mojo",
            {"venv/lib/python3.12/site-packages/mojo-1.2.0.dist-info/INSTALLER": "pip\n"},
            "pip",
        ),
        ("opt/mojo", {}, None),
    ],
)
def test_install_method(tmp_path, place, beside, method):
    for name, text in {place: "", **beside}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert install_method(tmp_path / place) == method


def test_every_max_with_its_version(tmp_path, monkeypatch):
    """Two environments on PATH, the active one that is not, and a program without a package."""
    for name, version in (("old", "25.3.0"), ("new", "26.7.0"), ("active", "26.6.0")):
        packages = tmp_path / name / "lib" / "python3.12" / "site-packages"
        (packages / f"max-{version}.dist-info").mkdir(parents=True)
        (packages / "max_core-1.dist-info").mkdir()
        (tmp_path / name / "bin").mkdir()
        (tmp_path / name / "bin" / "max").touch()
    (tmp_path / "max").touch()
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "active"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'old' / 'bin'}:{tmp_path}:{tmp_path / 'new' / 'bin'}")
    assert [(p["path"], p["version"]) for p in max_programs()] == [
        (str(tmp_path / "old" / "bin" / "max"), "25.3.0"),
        (str(tmp_path / "max"), None),
        (str(tmp_path / "new" / "bin" / "max"), "26.7.0"),
        (str(tmp_path / "active" / "bin" / "max"), "26.6.0"),
    ]


def test_where_the_compiler_misjudges_this_machine():
    """A Sapphire Rapids virtual machine that it takes for Rocket Lake, of another cache size."""
    ours = read_target("cpu:x86_64-linux-gnu+sapphirerapids-sha")
    features = sorted({f"+{f}" for f in ("avx2", "avx512f", "sha")})
    assumed, missed = _misjudged(ours, {"cpu": "rocketlake", "features": ",".join(features)})
    assert assumed.startswith("the compiler would use sha, which may not be used here")
    assert "amx-bf16" in missed
    assert "avx512bf16" in missed
    assert missed.endswith(
        "it takes this processor for rocketlake; mojoaccel passes its own target)"
    )
    assert _misjudged(ours, None) == []
