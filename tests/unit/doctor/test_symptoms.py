"""Messages as people reported them, and the cause named for each."""

import pytest

from mojoaccel.doctor.check import Check, Facts, run_checks
from mojoaccel.doctor.symptoms import SYMPTOMS, find_symptom
from mojoaccel.errors import error

MESSAGES = (
    ("FileNotFoundError: [Errno 2] No such file or directory: 'juju': 'juju'", "snap"),
    ("/snap/mojo/148/lib/python3.6/site-packages/x.py", "snap"),
    ("version 1.0.0+601", "snap"),
    ('Invalid command "--version".', "Mojolicious"),
    ('Unknown command "build", maybe you need to install it?', "Mojolicious"),
    (
        "PermissionError: [Errno 13] Permission denied: "
        "'/usr/local/lib/python3.12/site-packages/max/_core_mojo/__mojocache__'",
        "installed by another user",
    ),
    ("filesystem error: status: Permission denied [/home/dev/.modular]", "home folder"),
    (
        "Warning: cache directory '/home/dev/.modular/.mojo_cache/mojo/transform' is not writable; "
        "compilation caching will be disabled for this path.",
        "another user",
    ),
    ("mojo: error: /opt/modular could not be created: Permission denied", "HOME is unset"),
    ("libKGENCompilerRTShared.so: cannot open shared object file", "environment that is gone"),
    (
        "MAX doesn\u2019t support your current NVIDIA GPU driver. MAX requires a minimum driver "
        "version of 580 and CUDA version 13.0.",
        "580",
    ),
    ("ptxas fatal   : Value 'sm_52' is not defined for option 'gpu-name'", "older"),
    ('CUDA information: Failed to open library "libnvidia-ml.so.1"', "no GPU driver"),
    ("Illegal instruction (core dumped)", "x86-64-v3"),
    ("mojo: error: unable to find suitable c compiler for linking", "mojoaccel links by itself"),
    ("mojo: error: unable to write temporary files for linking: No such file", "TMPDIR"),
    ("uvloop ... no candidates were found", "Windows"),
    ("modular: error: failure detected - please run `modular clean`", "retired `modular`"),
    ("https://packages.modular.com/mojo", "retired `modular`"),
    ("-bash: magic: command not found", "retired `magic`"),
    ("ModuleNotFoundError: No module named 'pydantic'", "serve extra"),
    ("error: 'fn' has been removed; use 'def' instead", "before 1.0"),
    ("/lib64/libstdc++.so.6: version `GLIBCXX_3.4.30' not found", "older than"),
    ("Failed to initialize Crashpad.  Crash reporting will not be available.", "noise"),
)


@pytest.mark.parametrize(("message", "cause"), MESSAGES)
def test_message_is_known(message, cause):
    found = find_symptom(f"some line\n{message}\nanother")
    assert found is not None
    assert cause in found.cause
    assert found.fix


def test_every_symptom_has_a_message():
    assert {find_symptom(text) for text, _ in MESSAGES} == set(SYMPTOMS)
    assert find_symptom("all is well") is None


def test_a_failed_check_names_the_cause():
    def broken(facts):
        raise error("MA501", "mojo build failed", notes=["/lib/libc.so.6: GLIBC_2.38' not found"])

    [found] = run_checks([Check("a.b", "x", broken)], Facts())
    assert "older than the compiler" in found.outcome.hint
    assert found.outcome.fix == "mojoaccel doctor --check system.libc"
