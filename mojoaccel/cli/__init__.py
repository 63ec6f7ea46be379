"""The command line: parses, calls the rooms below, renders what they return."""

from __future__ import annotations


def main() -> None:
    """Run the ``mojoaccel`` command."""
    from mojoaccel.cli.app import main as run

    run()
