"""Prints a plan as one Mojo module: constants, task functions, driver, C entry points."""

from __future__ import annotations

from collections.abc import Sequence

from mojoaccel.artifact.weights import layout_weights
from mojoaccel.emit import syntax
from mojoaccel.emit.entry import entry_points, session_functions
from mojoaccel.emit.group import GroupFunction, GroupPrinter
from mojoaccel.emit.sizes import SizeLocals
from mojoaccel.errors import SourceLoc, error
from mojoaccel.ir.dims import Size
from mojoaccel.ir.plan import FusionGroup, Plan, View
from mojoaccel.products import MojoSource, Target, digest_bytes, digest_json

MAX_ARGUMENTS = 256
"""Operands of one task function (`kernels/maccel/session.mojo`)."""


def emit(plan: Plan, target: Target) -> MojoSource:
    """Print `plan` for `target`.

    Raises:
        MojoaccelError: MA302, the model is too large for the fixed tables of a session.
    """
    return ModulePrinter(plan, target).print()


class ModulePrinter:
    """Collects the parts of a module."""

    def __init__(self, plan: Plan, target: Target) -> None:
        """Start an empty module for `plan`."""
        self.plan = plan
        self.target = target
        self.lines: list[str] = []
        self.line_map: list[tuple[int, SourceLoc]] = []
        self.imports: set[tuple[str, str]] = set()
        self.functions: dict[str, str] = {}
        self.offsets, self.weight_bytes = layout_weights(plan.weights)
        self.arena = dict(plan.memory.offsets)

    def print(self) -> MojoSource:
        """Return the finished module."""
        printed = [(g, GroupPrinter(g).print()) for g in self.plan.groups]
        tasks: list[tuple[str, GroupFunction, FusionGroup]] = []
        names: list[str] = []
        for group, function in printed:
            key = function.key
            if key not in self.functions:
                self.functions[key] = self._task_name(group)
                tasks.append((self.functions[key], function, group))
                self.imports |= function.imports
            names.append(self.functions[key])
        body: list[tuple[str, SourceLoc | None]] = []
        for name, function, group in tasks:
            loc = group.locs[0] if group.locs else None
            body.append(("", None))
            body.append(("", None))
            body.extend((line.replace("{name}", name), loc) for line in function.lines)
        body.extend((line, None) for line in ["", ""])
        body.extend(self._forward(list(zip(names, printed, strict=True))))
        for line in session_functions(self.plan, self.offsets, self.imports):
            body.append((line, None))
        for line in entry_points(self.plan, self.offsets, self.weight_bytes, self.imports):
            body.append((line, None))
        head = self._head()
        text_lines = [*head, *(line for line, _ in body)]
        line_map = tuple(
            (len(head) + i + 1, loc) for i, (_, loc) in enumerate(body) if loc is not None
        )
        text = "\n".join(text_lines).rstrip() + "\n"
        return MojoSource(
            (("model.mojo", text), *self.plan.sources),
            line_map,
            tuple(name for name, _, _ in tasks),
            code_digest(text, *(t for _, t in self.plan.sources)),
        )

    def _task_name(self, group: FusionGroup) -> str:
        base = syntax.identifier(group.name)
        taken = set(self.functions.values())
        name, count = base, 1
        while name in taken:
            count += 1
            name = f"{base}_{count}"
        return name

    def _head(self) -> list[str]:
        digest = digest_json([g.name for g in self.plan.groups])[:12]
        lines = [f'"""Model {self.plan.name}, compiled ahead of time by mojoaccel ({digest}).', ""]
        lines.append("Signature:")
        lines.extend(f"    {v.name}: {v.type}" for v in self.plan.inputs)
        lines.extend(f"    -> {v.name}: {v.type}" for v in self.plan.outputs)
        lines.append(f"Target: {self.target}")
        lines.extend(['"""', ""])
        modules: dict[str, list[str]] = {}
        for module, name in sorted(self.imports):
            modules.setdefault(module, []).append(name)
        ordered = sorted(modules, key=lambda m: (not m.startswith("std."), m))
        for module in ordered:
            lines.extend(import_lines(module, modules[module]))
        return lines

    # -- driver -----------------------------------------------------------------------------

    def _forward(
        self, calls: Sequence[tuple[str, tuple[FusionGroup, GroupFunction]]]
    ) -> list[tuple[str, SourceLoc | None]]:
        lines: list[tuple[str, SourceLoc | None]] = [
            ("def forward(s: Session):", None),
            ('    """Runs every fused group in order."""', None),
        ]
        sizes = SizeLocals()
        rows: list[tuple[str, SourceLoc | None]] = []
        last: SourceLoc | None = None
        for name, (group, function) in calls:
            loc = group.locs[0] if group.locs else None
            if loc is not None and loc != last:
                rows.append((f"    # {loc}" + (f": {loc.text}" if loc.text else ""), loc))
                last = loc
            args = [self._address(v, sizes) for v in function.pointers]
            sizes.used.update(function.dims)
            args.extend(syntax.dim_name(d) for d in function.dims)
            if function.status:
                args.append("s.status()")
            if len(args) > MAX_ARGUMENTS:
                message = f"{name} takes {len(args)} operands; {MAX_ARGUMENTS} are possible"
                raise error("MA302", message, loc=loc)
            call = f"    s.launch[{name}]({', '.join([sizes.size(group.work), *args])})"
            rows.extend((line, loc) for line in syntax.wrap(call))
        for index, dim in enumerate(self.plan.dims):
            if dim.name in sizes.used:
                lines.append((f"    var {syntax.dim_name(dim.name)} = s.dim({index})", None))
        self.imports.add(("maccel.session", "Session"))
        if not rows:
            rows.append(("    pass", None))
        return [*lines, *((line, None) for line in sizes.lines), *rows]

    def _address(self, view: View, sizes: SizeLocals) -> str:
        buffer = self.plan.buffers[view.buffer]
        offset: Size = view.offset * view.dtype.size
        if buffer.space == "arena":
            offset = offset + self.arena[view.buffer]
        elif buffer.space == "weight":
            offset = offset + self.offsets[view.buffer]
        text = sizes.size(offset)
        if buffer.space in ("arena", "weight"):
            return f"s.{buffer.space}({text})"
        base = f"s.{buffer.space}({buffer.index})"
        return base if offset == 0 else f"{base} + {text}"


def import_lines(module: str, names: Sequence[str]) -> list[str]:
    """Print an import in the formatter's style."""
    line = f"from {module} import {', '.join(names)}"
    if len(line) <= 80:
        return [line]
    return [f"from {module} import (", *(f"    {n}," for n in names), ")"]


def code_digest(text: str, *others: str) -> str:
    """Return the digest of a module without comments, docstrings and blank lines.

    Args:
        text: The module.
        others: Files of the user's own that it imports.
    """
    kept = [
        line.rstrip()
        for line in text.splitlines()
        if line.strip() and not line.lstrip().startswith("#")
    ]
    body = "\n".join(kept)
    if body.startswith('"""'):
        body = body.split('"""', 2)[2]
    return digest_bytes(body, *others)
