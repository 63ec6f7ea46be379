"""Compiles every model of a suite and compares it with PyTorch, each in a process of its own.

``python -m tests.models.sweep --suite SUITE.py [--only NAME ...] [--smoke]
[--dynamic | --sequence] [--dynamo] [--jobs N] [--out results.json] [--resume]``. A suite is a
Python file with ``names()`` and ``load(name)``, which returns the module, its positional and
keyword inputs and its dynamic shapes. The exit status is 1 if a model fails that ``allowed.toml``
does not name with a reason.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

try:
    import tomllib
except ImportError:  # Python 3.10
    import tomli as tomllib  # type: ignore[no-redef]

ALLOWED = Path(__file__).with_name("allowed.toml")


def run_one(suite: str, name: str, given: argparse.Namespace) -> dict[str, Any]:
    """Run the worker for one model; a worker that dies or hangs is a failure of its own."""
    command = [sys.executable, "-m", "tests.models.one", suite, name]
    command += ["--threads", str(given.threads)] + (["--dynamic"] if given.dynamic else [])
    command += ["--sequence"] if given.sequence else []
    command += ["--dynamo"] if given.dynamo else []
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True
    ) as worker:
        try:
            out, err = worker.communicate(timeout=given.limit)
        except subprocess.TimeoutExpired:
            end(worker)
            late = f"not done in {given.limit:.0f} s"
            return {"status": "fail", "stage": "time", "reason": [late]}
    if worker.returncode or not out:
        tail = err.splitlines()[-3:]
        return {"status": "fail", "stage": f"exit {worker.returncode}", "reason": tail}
    return dict(json.loads(out.splitlines()[-1]))


def end(worker: subprocess.Popen[str]) -> None:
    """End a worker, which ends its compiler in turn, unless it hangs."""
    worker.terminate()
    try:
        worker.communicate(timeout=10)
    except subprocess.TimeoutExpired:
        worker.kill()


def line(name: str, result: dict[str, Any]) -> str:
    """Write one row of the table."""

    def number(key: str, form: str) -> str:
        value = result.get(key)
        return "-" if value is None else format(value, form)

    cells = [
        f"{name:32}",
        f"{result['status']:5}",
        f"{number('compile_seconds', '.1f'):>6}",
        f"{number('cpu_seconds', '.1f'):>6}",
        f"{number('memory_mb', '.0f'):>6}",
        f"{number('error', '.1e'):>8}",
        f"{number('own', '.1e'):>8}",
        "" if result.get("strict", True) else "not at 1e-4",
        f"{result['compiled']} compiled" if result.get("compiled") else "",
    ]
    if result["status"] != "pass":
        cells += [str(result.get("stage", "")), str(result.get("code", ""))]
        cells += [str(r)[:160] for r in result.get("reason", [])[:3]]
    return " ".join(cells).rstrip()


def summary(results: dict[str, dict[str, Any]], allowed: dict[str, str]) -> str:
    """Write the closing lines: counts, compile times, what is not allowed to fail."""
    counts = {s: sum(r["status"] == s for r in results.values()) for s in ("pass", "fail", "skip")}
    lines = [f"{counts['pass']} pass, {counts['fail']} fail, {counts['skip']} skipped"]
    for key, word in (("compile_seconds", "s"), ("cpu_seconds", "s of processor time")):
        seconds = [r[key] for r in results.values() if key in r]
        if seconds:
            middle, most = statistics.median(seconds), max(seconds)
            lines.append(f"compile: median {middle:.1f} {word}, longest {most:.1f} {word}")
    loose = [n for n, r in results.items() if r["status"] == "pass" and not r.get("strict", True)]
    if loose:
        lines.append(f"accepted at 1e-3 but not at 1e-4: {', '.join(loose)}")
    lines += [
        f"allowed to fail: {n}: {allowed[n]}" for n in unexpected(results, {}) if n in allowed
    ]
    return "\n".join(lines)


def unexpected(results: dict[str, dict[str, Any]], allowed: dict[str, str]) -> list[str]:
    """Return the models that fail and may not."""
    return [n for n, r in results.items() if r["status"] == "fail" and n not in allowed]


def main() -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suite", required=True, help="Python file of models")
    parser.add_argument("--only", nargs="*", help="names of models")
    parser.add_argument("--smoke", action="store_true", help="the suite's SMOKE list")
    parser.add_argument("--dynamic", action="store_true", help="dynamic batch, at 1, 2, 3, 5, 8")
    parser.add_argument("--sequence", action="store_true", help="dynamic length, at three of them")
    parser.add_argument("--dynamo", action="store_true", help="through torch.compile")
    parser.add_argument("--family", nargs="*", help="families of models")
    parser.add_argument("--jobs", type=int, default=1, help="models at once")
    parser.add_argument("--threads", type=int, default=1, help="threads of each session")
    parser.add_argument("--limit", type=float, default=300, help="seconds for one model")
    parser.add_argument("--out", type=Path, help="results as JSON, kept up to date")
    parser.add_argument("--resume", action="store_true", help="only what --out lacks or has failed")
    given = parser.parse_args()

    from tests.models.one import load_suite

    suite = load_suite(given.suite)
    names = given.only or (suite.SMOKE if given.smoke else suite.names())
    if given.family:
        names = [n for n in names if suite.family(n) in given.family]
    allowed = tomllib.loads(ALLOWED.read_text())[
        "sequence" if given.sequence else "dynamic" if given.dynamic else "static"
    ]
    results: dict[str, dict[str, Any]] = {}
    if given.resume and given.out and given.out.exists():
        before = json.loads(given.out.read_text())
        results = {n: r for n, r in before.items() if n not in names or r["status"] != "fail"}
        names = [n for n in names if n not in results]

    def take(name: str) -> None:
        results[name] = run_one(given.suite, name, given)
        print(line(name, results[name]), flush=True)
        if given.out:
            given.out.write_text(json.dumps(results, indent=1) + "\n")

    print(f"{'model':32} {'':5} {'s':>6} {'cpu s':>6} {'MB':>6} {'error':>8} {'PyTorch':>8}")
    with ThreadPoolExecutor(given.jobs) as pool:
        list(pool.map(take, names))
    print(summary(results, allowed))
    return 1 if unexpected(results, allowed) else 0


if __name__ == "__main__":
    sys.exit(main())
