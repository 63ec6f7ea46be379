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
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.opdb.samples import DTYPES, USUAL, read_database

Results = dict[str, dict[str, Any]]


def run_chunk(pairs: dict[str, list[int]], most: int, limit: int) -> Iterator[Results]:
    """Run some operators in a process of their own; yield what each of its builds tells.

    Args:
        pairs: Operators and types, with the numbers of the samples that are done.
        most: Samples of each.
        limit: Seconds a build and its run may take.
    """
    command = [sys.executable, "-m", "tests.opdb.worker", str(most), str(limit)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as worker:
        assert worker.stdin is not None and worker.stdout is not None
        worker.stdin.write(json.dumps(pairs))
        worker.stdin.close()
        for line in worker.stdout:
            yield json.loads(line)
    if worker.returncode:
        print(f"exit {worker.returncode} after {', '.join(pairs)}", file=sys.stderr)


def join(before: dict[str, Any] | None, row: dict[str, Any]) -> dict[str, Any]:
    """Add what a later run found out about an operator and type to what was known."""
    if before is None:
        return row
    counts = {k: dict(Counter(before[k]) + Counter(row[k])) for k in ("left_out", "refused")}
    return {
        "all": row["all"] or before["all"],
        "taken": sorted({*before["taken"], *row["taken"]}),
        "pass": before["pass"] + row["pass"],
        "wrong": before["wrong"] + row["wrong"],
        **counts,
    }


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
    taken = sum(len(r["taken"]) for r in results.values())
    known = sum(r["all"] for r in results.values())
    lines.append(f"{taken} of the {known} samples of these operators and types were taken")
    lines.append(f"{right} of {total} samples of supported operators agree ({share:.1%})")
    return "\n".join(lines), share


def share_out(
    pairs: Sequence[str], results: Results, most: int, size: int
) -> Iterator[dict[str, list[int]]]:
    """Yield operators for one process after the other, each about `size` samples.

    An operator that has not run yet counts as `most` samples: nobody knows how many it has.
    """
    chunk: dict[str, list[int]] = {}
    samples = 0
    for pair in pairs:
        row = results.get(pair, {"all": most, "taken": []})
        left = min(most, row["all"]) - len(row["taken"])
        if left <= 0:
            continue
        chunk[pair] = row["taken"]
        samples += left
        if samples >= size:
            yield chunk
            chunk, samples = {}, 0
    if chunk:
        yield chunk


def main() -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ops", nargs="*", help="names in the database; all by default")
    parser.add_argument("--dtypes", nargs="*", choices=list(DTYPES), default=list(USUAL))
    parser.add_argument("--most", type=int, default=10_000, help="samples of an operator and type")
    parser.add_argument("--chunk", type=int, default=4000, help="samples of one process, about")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--limit", type=int, default=1200, help="seconds of one build")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--resume", action="store_true", help="keep what --out's file has, and add")
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

    def take(chunk: dict[str, list[int]]) -> None:
        for rows in run_chunk(chunk, given.most, given.limit):
            for pair, row in rows.items():
                results[pair] = join(results.get(pair), row)
            if given.out and any(r["pass"] for r in rows.values()):
                save()

    def save() -> None:
        print(f"{len(results)} of {len(pairs)}", file=sys.stderr, flush=True)
        part = given.out.with_suffix(".part")
        part.write_text(json.dumps(results) + "\n")
        part.replace(given.out)

    chunks = share_out(pairs, results, given.most, given.chunk)
    with ThreadPoolExecutor(given.jobs) as pool:
        list(pool.map(take, chunks))
    if given.out:
        save()
    text, share = report(results)
    print(text)
    return 0 if share >= 0.98 else 1


if __name__ == "__main__":
    sys.exit(main())
