"""`bench --server`: levels, percentiles, times from the scheduled moment, and what is refused."""

import asyncio
import contextlib
import csv
import io
import json
import subprocess
import threading

import pytest
from conftest import ROOT, command

pytest.importorskip("httptools")
from mojoaccel.bench.load import Level, closed_loop, open_loop
from mojoaccel.bench.load_report import is_behind
from mojoaccel.bench.wire import Place, prepare
from mojoaccel.cli.load import numbers, parse_shape
from mojoaccel.errors import MojoaccelError

SPEC = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]}
ANSWER = {"model_name": "m", "model_version": "7", "outputs": []}


@contextlib.contextmanager
def scripted(delay):
    """A server on a thread that answers after `delay(number of the request)` seconds."""
    loop = asyncio.new_event_loop()
    started = threading.Event()
    place, count = [], [0]

    async def talk(reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"\r\ncontent-length: ")[1].split(b"\r\n")[0])
                await reader.readexactly(length)
                status, data = 200, SPEC
                if head.startswith(b"POST"):
                    count[0] += 1
                    wait = delay(count[0])
                    status, data = (503, {"error": "full"}) if wait is None else (200, ANSWER)
                    await asyncio.sleep(wait or 0)
                body = json.dumps(data).encode()
                line = b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (status, len(body))
                writer.write(line + body)
        writer.close()

    async def main():
        server = await asyncio.start_server(talk, "127.0.0.1", 0)
        place.append(server.sockets[0].getsockname()[1])
        started.set()
        await asyncio.Event().wait()

    task = loop.create_task(main())
    thread = threading.Thread(target=lambda: run(loop, task), daemon=True)
    thread.start()
    started.wait(10)
    yield f"http://127.0.0.1:{place[0]}"
    loop.call_soon_threadsafe(task.cancel)
    thread.join(10)


def run(loop, task):
    with contextlib.suppress(asyncio.CancelledError):
        loop.run_until_complete(task)
    for left in asyncio.all_tasks(loop):
        left.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            loop.run_until_complete(left)


def ask(url, loop, *args):
    async def main():
        place = Place.of(url)
        question = await prepare(place, "m", {"x": (2, 4)}, binary=True)
        assert question.version == "7" and question.inputs == ("x FP32[2x4]",)
        return await loop(place, question, *args)

    return asyncio.run(main())


def test_clients_of_a_closed_loop_wait_for_their_answers():
    with scripted(lambda number: 0.02) as url:
        level = ask(url, closed_loop, 3, 0.6)
    assert 30 < level.answered <= 3 * 0.6 / 0.02 + 3
    assert level.latency.median >= 20
    assert level.latency.percentile(50) is not None and level.latency.percentile(99) is None


def test_times_of_an_open_loop_run_from_the_moment_a_request_was_due():
    """A stall counts for every request that it delays, not only for the one that met it."""
    stall = 0.3

    def delay(number):
        return stall if 40 <= number < 60 else 0.0

    with scripted(delay) as url:
        level = ask(url, open_loop, 200.0, 0.8, 1)
    assert 100 < level.answered < 220 and not level.failed
    assert level.latency.percentile(90) >= 250
    assert level.latency.median < 100
    assert level.late is not None


def test_a_server_that_falls_behind_is_named():
    def level(kind, answered, **failed):
        return Level(kind, 20.0, 4.0, answered, failed, None)

    assert is_behind(level("open", 50)) and not is_behind(level("open", 72))
    assert not is_behind(level("closed", 1)) and not is_behind(level("open", 1, **{"503": 79}))


def test_failures_are_counted_by_status_and_not_timed():
    with scripted(lambda number: None if number % 2 == 0 else 0.001) as url:
        level = ask(url, closed_loop, 1, 0.3)
    assert level.failed.keys() == {"503"}
    assert abs(level.failed["503"] - level.answered) <= 1


def bench(*args):
    done = subprocess.run(
        command("bench", *args), cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.mojo
def test_a_real_server(server, tmp_path):
    code, out, err = bench(
        "--server", server.url, "net", "--seconds", 0.3, "--clients", "1,4", "--rate", "100",
        "--shape", "x=3x32", "--json", "--html", tmp_path / "load.html",
    )  # fmt: skip
    assert code == 0, err
    load = json.loads(out)["load"]
    assert load["inputs"] == ["x FP32[3x32]"] and load["version"] == "1"
    assert [(x["kind"], x["asked"]) for x in load["levels"]] == [
        ("closed", 1), ("closed", 4), ("open", 100),
    ]  # fmt: skip
    assert all(x["answered"] and not x["failed"] for x in load["levels"])
    page = (tmp_path / "load.html").read_text()
    assert "open, 100/s" in page and "http" not in page.replace(server.url, "").replace("https", "")
    code, out, err = bench(
        "--server", server.url, "net", "--seconds", 0.2, "--clients", 1, "--wire", "json",
        "--csv", "-",
    )  # fmt: skip
    [row] = csv.DictReader(io.StringIO(out))
    assert row["wire"] == "json" and float(row["requests_per_second"]) > 0 and row["p50_ms"]


@pytest.mark.mojo
def test_what_cannot_be_measured(server):
    for args, text in (
        ((server.url,), "name one of the server's models"),
        ((server.url, "nobody"), "unknown model"),
        ((server.url, "net", "--shape", "y=1"), "unknown input: y"),
        ((server.url, "net", "--shape", "x=1x31"), "does not fit [-1, 32]"),
        (("http://127.0.0.1:9", "net"), "cannot be asked"),
        (("ftp://x", "net"), "is not http://host:port"),
        ((server.url, "net", "--clients", "0"), "positive"),
        ((server.url, "net", "--wire", "xml"), "binary or json"),
    ):
        code, out, err = bench("--server", *args)
        assert code in (2, 3) and not out and text in err, err


def test_options_are_read():
    assert numbers("1,8,32", "--clients") == [1, 8, 32]
    assert parse_shape("ids=1x128") == ("ids", (1, 128))
    for text in ("x", "-1", "1.5"):
        with pytest.raises(MojoaccelError):
            numbers(text, "--clients")
    for text in ("ids", "ids=", "=1", "ids=axb"):
        with pytest.raises(MojoaccelError):
            parse_shape(text)
