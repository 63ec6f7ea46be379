"""Programs called mojo are told apart without running them."""

import json
import os

import pytest

from mojoaccel.toolchain.identify import behind, identify

ELF = b"\x7fELF\x02\x01\x01" + bytes(64)
PERL = b"#!/usr/bin/perl\nuse Mojo::Base -strict;\n"
WHEEL = b"#!/venv/bin/python3\nimport re\nfrom mojo._entrypoints import exec_mojo\n"


@pytest.fixture
def program(tmp_path):
    def write(place, content):
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    return write


@pytest.mark.parametrize(
    ("place", "content", "kind"),
    [
        ("snap/mojo/148/bin/mojo", b"#!/usr/bin/python3.6\n", "snap"),
        ("usr/bin/mojo", PERL, "mojolicious"),
        ("lib/node_modules/mojo-cli/bin/mojo", b"#!/usr/bin/env node\n", "npm"),
        ("usr/local/bin/mojo", b"#!/usr/bin/env node\n", "npm"),
        ("venv/bin/mojo", WHEEL, "modular"),
        ("bin/mojo", b"#!/bin/sh\necho hello\n", "unknown"),
        ("bin/mojo", b"#!/usr/bin/env -S perl -w\n", "mojolicious"),
        ("bin/mojo", b"#!/home/perlman/node/bin/python3\n", "unknown"),
        ("home/ada/snap/code/venv/bin/mojo", WHEEL, "modular"),
        ("home/ada/snap/bin/mojo", WHEEL, "modular"),
        ("bin/mojo", ELF, "unknown"),
        ("bin/mojo", b"", "unknown"),
    ],
)
def test_kinds(program, place, content, kind):
    found = identify(program(place, content))
    assert found.kind == kind
    assert found.explanation


def test_binary_with_its_library_is_the_compiler(program):
    program("modular/lib/mojo/std.mojoc", b"")
    assert identify(program("modular/bin/mojo", ELF)).kind == "modular"


def test_links_are_followed(program, tmp_path):
    program("modular/lib/mojo/std.mojoc", b"")
    link = tmp_path / "mojo"
    link.symlink_to(program("modular/bin/mojo", ELF))
    assert identify(link).kind == "modular"
    snap = tmp_path / "elsewhere"
    snap.symlink_to(program("usr/bin/snap", ELF))
    assert identify(snap).kind == "snap"


def test_missing_file(tmp_path):
    found = identify(tmp_path / "mojo")
    assert found.kind == "broken"
    assert "No such file" in found.explanation


def test_older_releases_are_modulars(program):
    program("packages.modular.com_mojo/lib/mojo/stdlib.mojopkg", b"")
    assert identify(program("packages.modular.com_mojo/bin/mojo", ELF)).kind == "modular"


def test_pixis_launcher_leads_to_what_it_starts(program):
    program("envs/mojo/lib/mojo/std.mojoc", b"")
    real = program("envs/mojo/bin/mojo", ELF)
    launcher = program("bin/mojo", ELF)
    assert identify(launcher).kind == "unknown"
    settings = json.dumps({"exe": str(real), "env": {"CONDA_PREFIX": "x"}})
    program("bin/trampoline_configuration/mojo.json", settings.encode())
    assert identify(launcher).kind == "modular"
    assert behind(launcher) == real


def test_a_pipe_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "mojo")
    assert identify(tmp_path / "mojo").kind == "broken"
