"""Runs PyTorch's operator database through the compiled path.

``python -m tests.opdb [--ops NAME ...] [--dtypes float32 ...] [--most N] [--jobs N]
[--out FILE [--resume]]``
prints what is wrong and what is refused, and the share of samples of supported operators that
agree. An operator is supported if any of its samples compiles. The exit status is 1 if fewer than
98 % of them agree.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.opdb.samples import DTYPES, read_database

Results = dict[str, dict[str, Any]]


def run_chunk(pairs: list[str], most: int, limit: float) -> Results:
    """Run some operators in a process of their own; one that dies is run again one by one."""
    command = [sys.executable, "-m", "tests.opdb.worker", str(most), *pairs]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit)
        if done.returncode == 0:
            return dict(json.loads(done.stdout.splitlines()[-1]))
        why = f"exit {done.returncode}: {done.stderr[-300:]}"
    except subprocess.TimeoutExpired:
        why = f"not done in {limit:.0f} s"
    if len(pairs) > 1:
        half = len(pairs) // 2
        return {**run_chunk(pairs[:half], most, limit), **run_chunk(pairs[half:], most, limit)}
    return {pairs[0]: {"pass": 0, "wrong": [[-1, why]], "refused": {}}}


def report(results: Results) -> tuple[str, float]:
    """Return the table and the share of samples of supported operators that agree."""
    lines, right, total = [], 0, 0
    unsupported: Counter[str] = Counter()
    for pair, row in sorted(results.items()):
        refused = sum(row["refused"].values())
        name = pair.split(":")[0]
        supported = any(r["pass"] for p, r in results.items() if p.split(":")[0] == name)
        if not supported and not row["wrong"]:
            unsupported[name] += refused
            continue
        right += row["pass"]
        total += row["pass"] + len(row["wrong"]) + refused
        lines += [f"wrong    {pair} #{number}: {why}" for number, why in row["wrong"][:4]]
        lines += [f"refused  {pair} x{n}: {why}" for why, n in row["refused"].items()]
    names = ", ".join(n for n, count in sorted(unsupported.items()) if count)
    share = right / total if total else 1.0
    lines.append(f"not supported: {names}")
    lines.append(f"{right} of {total} samples of supported operators agree ({share:.1%})")
    return "\n".join(lines), share


def main() -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ops", nargs="*", help="names in the database; all by default")
    parser.add_argument("--dtypes", nargs="*", default=list(DTYPES))
    parser.add_argument("--most", type=int, default=10_000, help="samples of one operator and type")
    parser.add_argument("--chunk", type=int, default=16, help="operators of one process")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--limit", type=float, default=1200, help="seconds of one process")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--resume", action="store_true", help="keep what --out's file has")
    given = parser.parse_args()
    if given.resume and not given.out:
        parser.error("--resume needs --out")
    database = read_database()
    pairs = [
        f"{name}:{dtype}"
        for name in given.ops or database
        for dtype in given.dtypes
        if database[name].supports_dtype(DTYPES[dtype], "cpu")
    ]
    results: Results = {}
    if given.resume and given.out.exists():
        results.update(json.loads(given.out.read_text()))
    left = [pair for pair in pairs if pair not in results]
    chunks = [left[i : i + given.chunk] for i in range(0, len(left), given.chunk)]

    def take(chunk: list[str]) -> None:
        results.update(run_chunk(chunk, given.most, given.limit))
        print(f"{len(results)} of {len(pairs)}", file=sys.stderr, flush=True)
        if given.out:
            given.out.write_text(json.dumps(results, indent=1) + "\n")

    with ThreadPoolExecutor(given.jobs) as pool:
        list(pool.map(take, chunks))
    text, share = report(results)
    print(text)
    return 0 if share >= 0.98 else 1


if __name__ == "__main__":
    sys.exit(main())
