"""Settings: which of files, variables and command line wins, and what is refused."""

from dataclasses import fields
from pathlib import Path

import pytest

from mojoaccel.config import CompileOptions
from mojoaccel.errors import MojoaccelError
from mojoaccel.settings import TABLES, compile_options, load_settings


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """A project folder, with an empty home and no variables."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "config").mkdir()
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)
    return tmp_path


def test_defaults_are_those_of_the_options(home):
    values = load_settings().values("compile", {})
    assert compile_options(values) == CompileOptions()


def test_rising_strength(home, monkeypatch):
    project = home / "project" / "mojoaccel.toml"

    def level(given=None, model=None):
        settings = load_settings()
        return settings.values("compile", {"optimization": given}, settings.models.get(model))[
            "optimization"
        ]

    assert level() == 2
    (home / "config" / "mojoaccel.toml").write_text("optimization = 0")
    assert level() == 0
    project.write_text('optimization = "O1"\n[models.m]\nsource = "m.py"\noptimization = 2\n')
    assert level() == 1
    assert level(model="m") == 2
    monkeypatch.setenv("MOJOACCEL_OPTIMIZATION", "3")
    assert level() == 3
    assert level(model="m") == 3
    assert level(given=0, model="m") == 0


def test_pyproject_above_the_folder_is_found_and_paths_are_relative_to_it(home, monkeypatch):
    (home / "project" / "pyproject.toml").write_text(
        '[tool.mojoaccel]\nthreads = 3\nsave-temps = "temps"\n'
        '[tool.mojoaccel.models.minilm]\nsource = "examples/minilm.py:factory"\n'
    )
    below = home / "project" / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    settings = load_settings()
    model = settings.models["minilm"]
    assert model.source == str(home / "project" / "examples/minilm.py:factory")
    values = settings.values("compile", {}, model)
    assert values["threads"] == 3
    assert values["save-temps"] == str(home / "project" / "temps")


def test_tables_of_other_commands(home, monkeypatch):
    (home / "project" / "mojoaccel.toml").write_text(
        '[bench]\nvs = ["eager", "compile"]\nfail-under = 1.5\n[cache]\nsize = "2GB"\n'
    )
    monkeypatch.setenv("MOJOACCEL_BENCH_SECONDS", "1.5")
    settings = load_settings()
    bench = settings.values("bench", {})
    assert (bench["vs"], bench["fail-under"], bench["seconds"]) == (("eager", "compile"), 1.5, 1.5)
    assert settings.values("cache", {})["size"] == 2 * 10**9


REFUSED = {
    "optimisation = 1": ("unknown key 'optimisation'", "did you mean 'optimization'?"),
    "optimization = 7": ("optimization = 7 is not 0, 1, 2 or 3", ""),
    'dtype = "f8"': ("dtype = 'f8' is not one of f32, bf16", ""),
    'threads = "many"': ("threads = 'many' is not a whole number", ""),
    "verify = 3": ("verify = 3 is not true or false", ""),
    "target = 1": ("target = 1 is not a string", ""),
    "dynamic = [1]": ("dynamic = [1] is not a list of strings", ""),
    "[bench]\nversus = 1": ("unknown key 'versus' in [bench]", "known: "),
    "[models.m]\nsorce = 'm.py'": ("unknown key 'sorce' in [models.m]", "did you mean 'source'?"),
    "[models.m]\nthreads = 1": ("[models.m] has no source", ""),
    "[cache]\nsize = 'big'": ("size = 'big' is not a size such as 500MB or 10GB", ""),
    "threads = ": ("mojoaccel.toml is not valid TOML: ", ""),
}


@pytest.mark.parametrize("content", REFUSED, ids=lambda c: c.replace("\n", " "))
def test_refused(home, content):
    (home / "project" / "mojoaccel.toml").write_text(content)
    with pytest.raises(MojoaccelError) as caught:
        load_settings()
    message, hint = REFUSED[content]
    found = caught.value.diagnostics[0]
    assert found.code == "MA901"
    assert message in found.message
    assert found.hint.startswith(hint)


def test_the_line_of_an_unknown_key_is_named(home):
    (home / "project" / "mojoaccel.toml").write_text("# options\nthreads = 1\nthread = 2\n")
    with pytest.raises(MojoaccelError) as caught:
        load_settings()
    loc = caught.value.diagnostics[0].loc
    assert (Path(loc.file).name, loc.line, loc.text) == ("mojoaccel.toml", 3, "thread = 2")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("MOJOACCEL_OPTIMISATION", "1", "unknown environment variable MOJOACCEL_OPTIMISATION"),
        ("MOJOACCEL_THREADS", "x", "MOJOACCEL_THREADS='x' is not a whole number"),
    ],
)
def test_variables_are_checked_too(home, monkeypatch, name, value, message):
    monkeypatch.setenv(name, value)
    with pytest.raises(MojoaccelError, match=message):
        load_settings()


def test_every_stage_option_can_be_set(home):
    """Each field of each options class changes when its setting does; tools set `profile`."""
    other = {
        "text": "x",
        "int": 9,
        "threads": 9,
        "float": 9.0,
        "bool": None,
        "list": ("x:0=b",),
        "level": 3,
    }
    changed = set()
    base = load_settings().values("compile", {})
    for setting in TABLES["compile"]:
        value = not setting.default if setting.kind == "bool" else other[setting.kind]
        options = compile_options({**base, setting.key: value})
        for stage in fields(CompileOptions):
            ours, theirs = getattr(options, stage.name), getattr(CompileOptions(), stage.name)
            changed |= {
                f"{stage.name}.{f.name}"
                for f in fields(ours)
                if getattr(ours, f.name) != getattr(theirs, f.name)
            }
    every = {
        f"{stage.name}.{f.name}"
        for stage in fields(CompileOptions)
        for f in fields(getattr(CompileOptions(), stage.name))
    }
    assert changed == every - {"build.profile"}
