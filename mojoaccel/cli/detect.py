"""``mojoaccel detect``: the machine, the toolchain, and what would be compiled for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from mojoaccel.cli.console import Console, format_bytes


def detect_command(
    target: Annotated[str, typer.Option(help="Describe this target; cpu is this machine.")] = "cpu",
    mojo: Annotated[str | None, typer.Option(metavar="PATH", help="The compiler to use.")] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document on stdout.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show commands.")] = False,
) -> None:
    """Show the machine and the toolchain as mojoaccel sees them, and the target string."""
    from mojoaccel.doctor.inventory import take_inventory
    from mojoaccel.doctor.report import wrap

    console = Console(json=json, verbose=verbose)
    with console.working() as show:
        show("looking at the machine")
        found = take_inventory(target, mojo)
    if json:
        console.document("detect", found)
        return
    for title, rows in sections(found):
        console.data(title)
        width = max(len(name) for name, _ in rows)
        for name, value in rows:
            head = f"  {name:<{width}}  "
            console.data("\n".join(wrap(value, head, " " * len(head))))
    for warning in found["warnings"]:
        console.data("\n".join(wrap(warning, "warning: ", " " * 9)))


def sections(found: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return the report as titled rows; what is unknown says so."""
    cpu, memory, target = found["cpu"], found["memory"], found["target"]
    compiler = found["compiler_target"] or {}
    rows = [
        ("target", found["string"] or found["problem"] or "unknown"),
        ("passed", _passed(target) if target else "nothing: there is no target"),
        ("compiler's idea", compiler.get("cpu") or "unknown"),
    ]
    return [
        ("target", rows),
        ("processor", _cpu_rows(cpu)),
        ("memory", _memory_rows(memory)),
        ("GPUs", _gpu_rows(found["gpus"])),
        ("toolchain", _toolchain_rows(found["toolchain"])),
    ]


def _passed(target: Mapping[str, Any]) -> str:
    """Return the options that mojoaccel gives the compiler for a target."""
    features = ",".join(target["features"]) or "''"
    options = ("triple", target["triple"]), ("cpu", target["cpu"]), ("features", features)
    return " ".join(f"--target-{name} {value}" for name, value in options)


def _cpu_rows(cpu: Mapping[str, Any]) -> list[tuple[str, str]]:
    simd, lanes = cpu["simd"], cpu["simd"]["lanes"]
    cores = f"{_text(cpu['logical_cores'])} logical, {_text(cpu['physical_cores'])} physical"
    quota = "no quota" if cpu["quota_cores"] is None else f"quota {cpu['quota_cores']:g}"
    width = f"{simd['register_bits']} bit" if simd["register_bits"] else "unknown width"
    per = ", ".join(f"{n} {lanes[n]}" for n in ("float64", "float32", "bfloat16", "int8") if lanes)
    has = cpu["features"]
    yes = [n for n, v in has.items() if v]
    no = [n for n, v in has.items() if v is False]
    mhz = cpu["frequency_mhz"]
    rows = [
        ("model", f"{_text(cpu['model'])} ({_text(cpu['vendor'])})"),
        ("cores", cores),
        ("usable here", f"{cpu['usable_cores']} (affinity {cpu['affinity_cores']}, {quota})"),
        *((f"{_kind(k, n)} cores", _text(k["cores"])) for n, k in enumerate(cpu["core_kinds"])),
        ("NUMA nodes", _text(cpu["numa_nodes"])),
        *((f"node {node}", f"processors {cpus}") for node, cpus in _several(cpu["numa_cpus"])),
        ("frequency", f"{_megahertz(mhz['current'])} now, highest {_megahertz(mhz['maximum'])}"),
        *((f"{n} cache", _cache_size(size)) for n, size in cpu["cache_bytes"].items()),
        ("vectors", f"{_text(simd['level'])}, {width}"),
        ("lanes", per or "unknown"),
        ("features", ", ".join(yes) or "none of those looked for"),
        ("without", ", ".join(no) or "-"),
    ]
    if cpu["amx_permitted"] is not None:
        rows.append(("AMX", "permitted" if cpu["amx_permitted"] else "refused by the system"))
    return rows


def _memory_rows(memory: Mapping[str, Any]) -> list[tuple[str, str]]:
    limit = memory["limit_bytes"]
    return [
        ("total", _size(memory["total_bytes"])),
        ("available", _size(memory["available_bytes"])),
        ("limit", "none set" if limit is None else _size(limit)),
    ]


def _gpu_rows(gpus: Mapping[str, Any]) -> list[tuple[str, str]]:
    nvidia, amd, intel, apple = (gpus[m] for m in ("nvidia", "amd", "intel", "apple"))
    rows = [("NVIDIA", nvidia["explanation"])]
    if nvidia["driver"]:
        cuda = _text(nvidia["cuda"])
        rows.append(("", f"driver {nvidia['driver']}, CUDA {cuda}{_enough(nvidia, 'driver')}"))
    rows += [("", _nvidia_line(gpu)) for gpu in nvidia["devices"]]
    rows += [("", line) for line in nvidia["unreadable"]]
    rows.append(("AMD", amd["explanation"]))
    if amd["rocm"]:
        rows.append(("", f"ROCm {amd['rocm']}{_enough(amd, 'rocm')}"))
    rows += [("", _amd_line(gpu)) for gpu in amd["devices"]]
    rows.append(("Intel", intel["explanation"]))
    for gpu in intel["devices"]:
        size = _size(gpu["memory_bytes"])
        rows.append(("", f"{_text(gpu['name'])} ({_text(gpu['device_id'])}), memory {size}"))
    rows.append(("Apple", apple["explanation"]))
    rows += [("", f"{_text(g['name'])}, {_text(g['cores'])} cores") for g in apple["devices"]]
    for found in gpus["unsupported"]:
        rows.append((found["name"], f"present ({', '.join(found['nodes'])}), unsupported"))
    return rows


def _amd_line(gpu: Mapping[str, Any]) -> str:
    fits = {True: ", supported", False: ", not supported by this Mojo", None: ""}[gpu["supported"]]
    size, used = gpu["memory_bytes"], gpu["memory_used_bytes"]
    free = None if size is None or used is None else size - used
    return f"{_text(gpu['name'])} ({_text(gpu['gfx'])}{fits}), {_size(free)} of {_size(size)} free"


def _enough(section: Mapping[str, Any], name: str) -> str:
    return ", older than Mojo needs" if section[f"{name}_sufficient"] is False else ""


def _nvidia_line(gpu: Mapping[str, Any]) -> str:
    fits = "supported" if gpu["supported"] else "not supported by this Mojo"
    parts = [
        f"{gpu['name']} ({gpu['architecture']}, {fits})",
        f"{_size(gpu['free_bytes'])} of {_size(gpu['memory_bytes'])} free",
    ]
    if gpu["utilisation"] is not None:
        parts.append(f"{gpu['utilisation']:.0%} busy")
    if gpu["power_limit_watts"] is not None:
        parts.append(f"at most {gpu['power_limit_watts']:g} W")
    if gpu["mig"]:
        parts.append(f"MIG with {len(gpu['mig_instances_bytes'])} instances")
    return ", ".join(parts)


def _toolchain_rows(tools: Mapping[str, Any]) -> list[tuple[str, str]]:
    used = tools["mojo"]["used"]
    rows = [("mojo", tools["mojo"]["problem"] or "none")]
    if used:
        how = f"{used['reason']}, by {used['install_method'] or 'unknown means'}"
        rows = [("mojo", f"{used['version']} ({used['commit']}), {how}")]
    for program in tools["mojo"]["programs"]:
        version = f" {program['version']}" if program["version"] else ""
        mark = "used" if program["used"] else f"{program['kind']}{version}"
        rows.append(("", f"{mark}: {program['path']}"))
    pairing = tools["max"]["pairing"]
    fits = {True: "fits this mojo", False: "does not fit this mojo", None: "pairing unknown"}
    version = tools["max"]["version"]
    rows.append(("max", f"{version}, {fits[pairing['fits']]}" if version else "not installed"))
    for program in tools["max"]["programs"]:
        rows.append(("", f"{_text(program['version'], 'unknown version')}: {program['path']}"))
    rows += [("", line) for line in pairing["wrong"]]
    python = tools["python"]
    rows += [
        ("linker", _text(tools["linker"])),
        ("C compilers", ", ".join(tools["c_compilers"]) or "none (none is needed)"),
        ("C library", _text(tools["libc"])),
        ("Python", f"{python['implementation']} {python['version']}"),
        *((n, _text(python["packages"][n], "not installed")) for n in ("numpy", "torch")),
    ]
    return rows


def _kind(kind: Mapping[str, Any], place: int) -> str:
    """Return the name of a kind of cores; older systems tell none, but the fastest come first."""
    return kind["name"] or ("fastest" if place == 0 else "other")


def _several(nodes: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the nodes where there are several: a single one has all processors."""
    return list(nodes.items()) if len(nodes) > 1 else []


def _megahertz(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.0f} MHz"


def _cache_size(value: int | None) -> str:
    """Print a cache's size in binary units, as its maker does."""
    if value is None:
        return "unknown"
    return f"{value / (1 << 20):g} MiB" if value >= 1 << 20 else f"{value / 1024:g} KiB"


def _size(value: int | None) -> str:
    return "unknown" if value is None else format_bytes(value)


def _text(value: Any, missing: str = "unknown") -> str:
    if value is None:
        return missing
    return f"{value:g}" if isinstance(value, float) else str(value)
