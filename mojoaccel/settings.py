"""Settings: what files, environment variables and the command line say, merged by strength.

In rising order: the defaults below, the user file (``~/.config/mojoaccel.toml``), the project
file (``mojoaccel.toml``, or ``[tool.mojoaccel]`` in pyproject.toml, in this folder or the nearest
one above), the project file's table of the model asked for, ``MOJOACCEL_*`` variables, the
command line. A file's top level holds the options of ``compile``; ``[run]``, ``[bench]`` and
``[cache]`` hold those of their commands; ``[models.NAME]`` names a model.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mojoaccel.config import (
    BuildOptions,
    CompileOptions,
    DetectOptions,
    OptimizeOptions,
    PackageOptions,
    TraceOptions,
)
from mojoaccel.environment import environment, environment_names
from mojoaccel.errors import MojoaccelError, SourceLoc, error
from mojoaccel.paths import user_config_file
from mojoaccel.setting_kinds import READERS


@dataclass(frozen=True, slots=True)
class Setting:
    """One option as files, variables and the command line spell it.

    Attributes:
        key: Spelling in files; a variable is the same in capitals with underscores.
        kind: ``text`` | ``int`` | ``threads`` | ``float`` | ``bool`` | ``list`` | ``level`` |
            ``bytes``.
        default: Value when nobody says anything.
        choices: Allowed values, if the setting has few.
    """

    key: str
    kind: str
    default: Any = None
    choices: tuple[str, ...] = ()


ENGINES = ("mojo", "max")
STAGE_NAMES = ("detect", "trace", "optimize", "emit", "build", "package")
EMITS = ("graph", "plan", "mojo", "llvm", "asm", "so", "artifact")

_COMPILE = (
    Setting("output", "text"),
    Setting("optimization", "level", 2),
    Setting("dtype", "text", "f32", ("f32", "bf16")),
    Setting("dynamic", "list", ()),
    Setting("ops", "list", ()),
    Setting("engine", "text", "mojo", ENGINES),
    Setting("target", "text", "cpu"),
    Setting("threads", "threads", 0),
    Setting("emit", "text", "artifact", EMITS),
    Setting("stop-after", "text", None, STAGE_NAMES),
    Setting("save-temps", "text"),
    Setting("depfile", "text"),
    Setting("check", "bool", False),
    Setting("bisect", "bool", False),
    Setting("plan", "bool", False),
    Setting("explain-cache", "bool", False),
    Setting("verify", "bool", True),
    Setting("archive", "bool", False),
    Setting("sign", "text"),
    Setting("fp-mode", "text", "fast", ("fast", "off")),
    Setting("build-timeout", "float", 600.0),
    Setting("jobs", "threads", 0),
    Setting("mojo", "text"),
    Setting("json", "bool", False),
    Setting("verbose", "bool", False),
)
TABLES: dict[str, tuple[Setting, ...]] = {
    "compile": _COMPILE,
    "run": (
        Setting("input", "list", ()),
        Setting("random", "bool", False),
        Setting("output", "text"),
        Setting("verify", "bool", False),
        Setting("threads", "threads", 0),
        Setting("engine", "text", None, ENGINES),
    ),
    "bench": (
        Setting("vs", "list"),
        Setting("model", "text"),
        Setting("at", "list", ()),
        Setting("threads", "threads", 0),
        Setting("fail-under", "float"),
        Setting("seconds", "float", 5.0),
        Setting("rounds", "int", 0),
        Setting("save", "text"),
        Setting("compare", "text"),
        Setting("csv", "text"),
        Setting("markdown", "text"),
        Setting("html", "text"),
    ),
    "cache": (Setting("size", "bytes", 10 * 10**9),),
}
_PATHS = {"output", "save-temps", "depfile", "mojo", "sign"}
_READ_ELSEWHERE = {"MOJOACCEL_CACHE_DIR"}  # by `paths`, which the runtime shares


@dataclass(frozen=True)
class Model:
    """A model that a file names.

    Attributes:
        name: Its name.
        source: What `compile` is given, relative paths made absolute.
        values: Its own compile options.
    """

    name: str
    source: str
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Settings:
    """Settings of files and environment, by table.

    Attributes:
        files: Values of the configuration files, the project's over the user's.
        variables: Values of ``MOJOACCEL_*`` variables.
        models: Named models.
    """

    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    variables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    models: Mapping[str, Model] = field(default_factory=dict)

    def values(
        self, table: str, given: Mapping[str, Any], model: Model | None = None
    ) -> dict[str, Any]:
        """Merge everything for one command.

        Args:
            table: ``compile`` | ``run`` | ``bench`` | ``cache``.
            given: Command-line values by key; None is "not given".
            model: The named model asked for, if any.
        """
        own = model.values if model is not None and table == "compile" else {}
        merged = {s.key: s.default for s in TABLES[table]}
        for layer in (self.files.get(table, {}), own, self.variables.get(table, {})):
            merged.update(layer)
        merged.update((k, v) for k, v in given.items() if v is not None)
        return merged


def read_given(table: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Check command-line values as those of files are checked.

    Raises:
        MojoaccelError: MA903, a value is not of its setting's kind.
    """
    read: dict[str, Any] = {}
    for setting in TABLES[table]:
        value = given.get(setting.key)
        if value is None:
            continue
        try:
            read[setting.key] = read_value(setting, value)
        except ValueError as e:
            option = "-O" if setting.key == "optimization" else f"--{setting.key}"
            raise error("MA903", f"{option} {value!r} is not {e}") from e
    return read


def compile_options(values: Mapping[str, Any]) -> CompileOptions:
    """Sort the settings of ``compile`` into the stages' options."""
    level = values["optimization"]
    return CompileOptions(
        detect=DetectOptions(target=values["target"]),
        trace=TraceOptions(
            dtype=values["dtype"], dynamic=tuple(values["dynamic"]), ops=tuple(values["ops"])
        ),
        optimize=OptimizeOptions(optimization=level),
        build=BuildOptions(
            optimization=level,
            fp_mode=values["fp-mode"],
            timeout=values["build-timeout"],
            jobs=values["jobs"],
        ),
        package=PackageOptions(
            archive=values["archive"], verify=values["verify"], threads=values["threads"]
        ),
    )


def load_settings(folder: Path | None = None) -> Settings:
    """Read the user file, the project file and the environment.

    Args:
        folder: Where the search for a project file starts; this folder by default.

    Raises:
        MojoaccelError: MA901, a file cannot be read, or has an unknown key or a bad value.
    """
    found: dict[str, dict[str, Any]] = {}
    models: dict[str, Model] = {}
    for path, data in (_user_file(), _project_file(folder or Path.cwd())):
        if path is not None:
            reader = _FileReader(path)
            for name, values in reader.tables(data):
                found.setdefault(name, {}).update(values)
            models.update(reader.models(data))
    return Settings(found, _read_environment(), models)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint that names the known word closest to `name`, or lists them all."""
    import difflib

    known = sorted(known)
    close = difflib.get_close_matches(name, known, 1, 0.6)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"


def read_value(setting: Setting, value: Any) -> Any:
    """Check and convert a value from a file, a variable or the command line.

    Raises:
        ValueError: The value is not of the setting's kind; the text says what is expected.
    """
    result = READERS[setting.kind](value)
    if setting.choices and result not in setting.choices:
        raise ValueError(f"one of {', '.join(setting.choices)}")
    return result


def _user_file() -> tuple[Path | None, dict[str, Any]]:
    path = user_config_file()
    return (path, _load_toml(path)) if path.is_file() else (None, {})


def _project_file(folder: Path) -> tuple[Path | None, dict[str, Any]]:
    for place in (folder, *folder.parents):
        own = place / "mojoaccel.toml"
        if own.is_file():
            return own, _load_toml(own)
        project = place / "pyproject.toml"
        if project.is_file():
            table = _load_toml(project).get("tool", {}).get("mojoaccel")
            if table is not None:
                return project, table
    return None, {}


def _load_toml(path: Path) -> dict[str, Any]:
    import sys

    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise error("MA901", f"{path.name} is not valid TOML: {e}") from e
    except OSError as e:
        raise error("MA901", f"{path} cannot be read: {e.strerror}") from e


class _FileReader:
    """Checks one file's tables against `TABLES`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def tables(self, data: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
        """Return (table, values) of the top level and of every command's table."""
        commands = [name for name in TABLES if name != "compile"]
        top = {k: v for k, v in data.items() if k not in (*commands, "models")}
        found = [("compile", self._values("", top, TABLES["compile"]))]
        for name in commands:
            if name in data:
                found.append((name, self._values(name, data[name], TABLES[name])))
        return found

    def models(self, data: Mapping[str, Any]) -> dict[str, Model]:
        """Return the models that the file names."""
        found = {}
        for name, table in data.get("models", {}).items():
            where = f"models.{name}"
            settings = (Setting("source", "text"), *TABLES["compile"])
            values = self._values(where, table, settings)
            if "source" not in values:
                raise self._error("source", f"[{where}] has no source", "")
            source = values.pop("source")
            found[name] = Model(name, str(self.path.parent / source), values)
        return found

    def _values(self, where: str, data: Any, settings: tuple[Setting, ...]) -> dict[str, Any]:
        if not isinstance(data, Mapping):
            raise self._error(where, f"{where!r} is not a table", "")
        known = {s.key: s for s in settings}
        values = {}
        for raw, value in data.items():
            key = raw.replace("_", "-")
            if key not in known:
                place = f" in [{where}]" if where else ""
                choices = [*known, *(() if where else (*TABLES, "models"))]
                raise self._error(raw, f"unknown key {raw!r}{place}", nearest(key, choices))
            try:
                values[key] = read_value(known[key], value)
            except ValueError as e:
                raise self._error(raw, f"{raw} = {value!r} is not {e}", "") from e
            if key in _PATHS:
                values[key] = str(self.path.parent / Path(values[key]).expanduser())
            elif key == "ops":
                values[key] = tuple(
                    str(self.path.parent / Path(v).expanduser()) for v in values[key]
                )
        return values

    def _error(self, key: str, message: str, hint: str) -> MojoaccelError:
        pattern = re.compile(rf"\s*\[?\s*(?:[\w.]+\.)?[\"']?{re.escape(key)}[\"']?\s*[=\]]")
        lines = self.path.read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines, 1):
            if pattern.match(line):
                return error(
                    "MA901", message, loc=SourceLoc(str(self.path), number, "", line), hint=hint
                )
        return error("MA901", f"{self.path}: {message}", hint=hint)


def _read_environment() -> dict[str, dict[str, Any]]:
    known = {
        "MOJOACCEL_"
        + ("" if table == "compile" else f"{table}-").upper().replace("-", "_")
        + setting.key.upper().replace("-", "_"): (table, setting)
        for table, settings in TABLES.items()
        for setting in settings
    }
    found: dict[str, dict[str, Any]] = {}
    for name in environment_names("MOJOACCEL_"):
        if name.startswith("MOJOACCEL_TEST_") or name in _READ_ELSEWHERE:
            continue
        if name not in known:
            raise error(
                "MA901",
                f"unknown environment variable {name}",
                hint=nearest(name, {*known, *_READ_ELSEWHERE}),
            )
        table, setting = known[name]
        try:
            found.setdefault(table, {})[setting.key] = read_value(setting, environment(name))
        except ValueError as e:
            raise error("MA901", f"{name}={environment(name)!r} is not {e}") from e
    return found
