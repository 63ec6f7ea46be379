"""Every check, in the order they run: what others need comes first."""

from __future__ import annotations

from mojoaccel.doctor import building, compiler, folders, machine, packages

CHECKS = (
    *packages.CHECKS,
    *machine.CHECKS,
    *compiler.CHECKS,
    *folders.CHECKS,
    *building.CHECKS,
)
