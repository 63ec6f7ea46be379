"""Sessions: answers, structures, input checks, states, threads, forks (against PyTorch)."""

import gc
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import counting_model as model
import numpy as np
import pytest
import torch

from mojoaccel.errors import MojoaccelError
from mojoaccel.runtime.session import load

pytestmark = pytest.mark.mojo


def inputs(batch, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 24, generator=g), torch.randint(0, 11, (batch,), generator=g)


def leaves(result):
    return [result["logits"], result["next"], *result["state"], result["active"]]


def check(got, expected):
    for mine, truth in zip(leaves(got), leaves(expected), strict=True):
        assert mine.shape == truth.shape
        assert mine.dtype == truth.dtype
        torch.testing.assert_close(mine, truth, rtol=1e-5, atol=1e-5)


@pytest.fixture
def session(small):
    with load(small, threads=2) as opened:
        yield opened


@pytest.mark.parametrize("batch", [1, 2, 3, 7, 16])
def test_answers_are_those_of_pytorch_at_every_batch(session, batch):
    with torch.no_grad():
        check(session(*inputs(batch)), model.factory().module(*inputs(batch)))


def test_tensors_give_tensors_and_arrays_give_arrays(session):
    x, ids = inputs(4)
    tensors = session(x, ids)
    session.reset()
    arrays = session(x.numpy(), ids.numpy())
    assert list(tensors) == list(arrays) == ["logits", "next", "state", "active"]
    assert isinstance(arrays["state"], tuple)
    for mine, truth in zip(leaves(arrays), leaves(tensors), strict=True):
        assert isinstance(mine, np.ndarray)
        assert isinstance(truth, torch.Tensor)
        np.testing.assert_array_equal(mine, truth.numpy())


def test_arguments_may_be_named_and_mixed(session):
    x, ids = inputs(2)
    first = session(x, ids=ids)["logits"]
    assert torch.equal(first, session(ids=ids, x=x)["logits"])
    assert torch.equal(first, session(x.numpy(), ids)["logits"])


def test_layout_and_byte_order_of_arrays_do_not_matter(session):
    x, ids = (t.numpy() for t in inputs(5))
    expected = session(x, ids)["logits"]
    raw = np.zeros(x.nbytes + 1, np.uint8)
    shifted = raw[1:].view(np.float32).reshape(x.shape)
    shifted[:] = x
    assert not shifted.flags.aligned
    for other in (np.asfortranarray(x), x.astype(">f4"), shifted, np.stack([x, x], 2)[..., 1]):
        np.testing.assert_array_equal(session(other, ids)["logits"], expected)
    np.testing.assert_array_equal(session(x, ids[::-1].copy()[::-1])["logits"], expected)


def test_tensors_that_need_gradients_are_read(session):
    x, ids = inputs(2)
    expected = session(x, ids)["logits"]
    assert torch.equal(session(x.requires_grad_(), ids)["logits"], expected)


def test_results_do_not_share_memory_between_runs(session):
    first = session(*inputs(3))["logits"]
    kept = first.clone()
    session(*inputs(3, seed=1))
    assert torch.equal(first, kept)


def test_signature_names_inputs_outputs_and_dims(session):
    assert session.signature["inputs"] == [
        {"name": "x", "dtype": "float32", "shape": ["batch", 24]},
        {"name": "ids", "dtype": "int64", "shape": ["batch"]},
    ]
    assert session.signature["dims"] == {"batch": [1, 16]}
    assert [o["dtype"] for o in session.signature["outputs"]] == [
        *("float32", "int64", "int64", "float32", "bool")
    ]


WRONG = {
    "dtype": (
        lambda x, i: ((x.double(), i), {}),
        "input x: expected float32, got float64",
    ),
    "dtype of indices": (
        lambda x, i: ((x, i.int()), {}),
        "input ids: expected int64, got int32",
    ),
    "rank": (
        lambda x, i: ((x[0], i), {}),
        "input x: expected shape [batch, 24], got [24]",
    ),
    "size": (
        lambda x, i: ((x[:, 1:], i), {}),
        "input x: expected shape [batch, 24], got [3, 23] (axis 1 must be 24)",
    ),
    "two sizes of one dim": (
        lambda x, i: ((x, i[1:]), {}),
        "input ids: expected shape [batch], got [2] (axis 0 must be 3)",
    ),
    "too large": (
        lambda x, i: ((x.repeat(6, 1), i.repeat(6)), {}),
        "input x, axis 0: dim batch is 18, allowed are 1 to 16",
    ),
    "too small": (
        lambda x, i: ((x[:0], i[:0]), {}),
        "input x, axis 0: dim batch is 0, allowed are 1 to 16",
    ),
    "missing": (lambda x, i: ((x,), {}), "input ids is missing"),
    "unknown": (lambda x, i: ((x, i), {"mask": x}), "no input is called mask"),
    "twice": (lambda x, i: ((x, i), {"x": x}), "argument x is given twice"),
    "too many": (lambda x, i: ((x, i, x), {}), "3 arguments, the model takes 2"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_inputs_are_named(session, case):
    change, message = WRONG[case]
    args, kwargs = change(*inputs(3))
    with pytest.raises(MojoaccelError) as caught:
        session(*args, **kwargs)
    assert (caught.value.code, caught.value.diagnostics[0].message) == ("MA702", message)


@pytest.mark.parametrize("bad", [11, 1 << 40, -12, -(1 << 62)])
def test_an_index_out_of_range_is_an_error_and_no_crash(session, bad):
    x, ids = inputs(3)
    ids[1] = bad
    with pytest.raises(MojoaccelError) as caught:
        session(x, ids)
    message = "an index is outside the tensor it selects from"
    assert (caught.value.code, caught.value.diagnostics[0].message) == ("MA703", message)
    session.reset()
    with torch.no_grad():
        check(session(*inputs(3)), model.factory().module(*inputs(3)))


def test_a_closed_session_says_so(small):
    session = load(small, threads=1)
    session.close()
    session.close()
    for use in (lambda: session(*inputs(2)), session.reset, lambda: session("no", "input")):
        with pytest.raises(MojoaccelError) as caught:
            use()
        assert (caught.value.code, caught.value.diagnostics[0].message) == (
            *("MA704", "the session is closed"),
        )


def test_states_last_from_run_to_run_until_reset(session):
    module = model.factory().module
    with torch.no_grad():
        for step in range(4):
            check(session(*inputs(3, step)), module(*inputs(3, step)))
        session.reset()
        check(session(*inputs(3)), model.factory().module(*inputs(3)))


def test_a_rejected_input_leaves_the_states_alone(session):
    session(*inputs(3))
    with pytest.raises(MojoaccelError):
        session(inputs(3)[0], inputs(2)[1])
    assert int(session(*inputs(3))["state"][0]) == 2


def test_sessions_of_one_process_are_independent(small):
    with load(small, threads=2) as one, load(small, threads=3) as two:
        for _ in range(3):
            one(*inputs(2))
        assert int(two(*inputs(2))["state"][0]) == 1
        assert int(one(*inputs(2))["state"][0]) == 4


def test_one_session_serves_many_python_threads(small, wide):
    module = model.wide().module
    rows = [1, 3, 64, 17, 130, 5, 96, 33]
    with torch.no_grad():
        cases = [(torch.randn(n, 512), n) for n in rows]
        expected = [module(x) for x, _ in cases]
    with load(wide, threads=3) as shared, load(small, threads=2) as counter:
        wrong = []

        def work(index):
            for _ in range(20):
                got = shared(cases[index][0])
                if not torch.allclose(got, expected[index], rtol=1e-4, atol=1e-6):
                    wrong.append(index)
                counter(*inputs(2))

        threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert not any(t.is_alive() for t in threads)
        assert wrong == []
        assert int(counter(*inputs(2))["state"][0]) == 161


def test_other_python_threads_run_while_the_model_does(wide):
    x = torch.randn(256, 512)
    with load(wide, threads=1) as session:
        stop, ticks = threading.Event(), []

        def tick():
            while not stop.is_set():
                ticks.append(time.perf_counter())
                time.sleep(0.0005)

        thread = threading.Thread(target=tick)
        thread.start()
        longest = 0.0
        deadline = time.perf_counter() + 20
        while not longest and time.perf_counter() < deadline:
            began = time.perf_counter()
            session(x)
            ended = time.perf_counter()
            inside = [t for t in list(ticks) if began < t < ended]
            if len(inside) >= 2:  # a held interpreter lock lets nobody in between
                longest = ended - began
        stop.set()
        thread.join()
    assert longest


def run_in_child(use, seconds=30):
    """Fork, run `use` in the child and return its exit code; a child that hangs gives None."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = 0 if use() else 2
        finally:
            os._exit(code)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    return None


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_a_forked_child_goes_on_using_the_session(wide):
    x = np.random.default_rng(0).standard_normal((128, 512), dtype=np.float32)
    with load(wide, threads=4) as session:
        expected = session(x)

        def use():
            same = [np.array_equal(session(x), expected) for _ in range(5)]
            session.close()
            return all(same)

        assert run_in_child(use) == 0
        np.testing.assert_array_equal(session(x), expected)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_a_child_forked_during_a_run_is_not_locked_out(wide):
    x = np.random.default_rng(0).standard_normal((200, 512), dtype=np.float32)
    with load(wide, threads=2) as session:
        expected = session(x)
        stop = threading.Event()

        def keep_busy():
            while not stop.is_set():
                session(x)

        busy = threading.Thread(target=keep_busy)
        busy.start()
        codes = [run_in_child(lambda: np.array_equal(session(x), expected)) for _ in range(8)]
        stop.set()
        busy.join()
    assert codes == [0] * 8


def test_more_threads_than_processors_do_not_hang(wide):
    """Four threads on one processor: every barrier needs a thread that is not running."""
    program = (
        "import os, sys, time; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "import numpy as np\n"
        "from mojoaccel.runtime.session import load\n"
        "x = np.ones((128, 512), np.float32)\n"
        "def clock(n):\n"
        "    with load(sys.argv[1], threads=n) as s:\n"
        "        s(x); began = time.perf_counter()\n"
        "        for _ in range(10): s(x)\n"
        "        return time.perf_counter() - began\n"
        "one, four = clock(1), clock(4)\n"
        "print(one, four)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(wide)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    one, four = map(float, done.stdout.split())
    assert four < 5 * one + 0.2, f"one thread {one:.3f} s, four threads {four:.3f} s"


def test_forgotten_sessions_end_their_threads(small):
    def count():
        return len(os.listdir("/proc/self/task"))

    before = count()
    session = load(small, threads=4)
    session(*inputs(2))
    assert count() == before + 3
    del session
    gc.collect()
    assert count() == before


def test_an_idle_session_uses_no_processor_time(wide):
    with load(wide, threads=4) as session:
        session(torch.randn(64, 512))
        time.sleep(0.05)
        began = time.process_time()
        time.sleep(0.3)
        assert time.process_time() - began < 0.03


def test_reloading_leaks_neither_threads_nor_files_nor_address_space(small):
    def usage():
        with open("/proc/self/statm") as file:
            pages = int(file.read().split()[0])
        return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task")), pages

    def once():
        with load(small, threads=3) as session:
            session(*inputs(2))

    once()
    files, threads, pages = usage()
    for _ in range(50):
        once()
    now = usage()
    assert now[:2] == (files, threads)
    assert now[2] - pages < 4096  # 16 MiB; one leaked arena alone would be 50 times 256 KiB


@pytest.fixture
def one_core_group():
    """A control group that gets one processor's worth of time; skips where none can be made."""
    base = Path("/sys/fs/cgroup")
    v2 = (base / "cgroup.controllers").exists()
    group = (base if v2 else base / "cpu") / f"mojoaccel-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as e:
        pytest.skip(f"no control group can be made: {e.strerror}")
    try:
        if v2:
            (group / "cpu.max").write_text("100000 100000")
        else:
            (group / "cpu.cfs_quota_us").write_text("100000")
        yield group
    except OSError as e:
        pytest.skip(f"the control group takes no quota: {e.strerror}")
    finally:
        group.rmdir()


def test_a_quota_of_one_core_neither_hangs_nor_errs(wide, one_core_group):
    program = (
        "import os, sys\n"
        "open(sys.argv[2], 'w').write(str(os.getpid()))\n"
        "import numpy as np\n"
        "from mojoaccel.artifact.host import usable_processors\n"
        "from mojoaccel.runtime.session import load\n"
        "assert usable_processors() == 1\n"
        "x = np.random.default_rng(0).standard_normal((128, 512), dtype=np.float32)\n"
        "with load(sys.argv[1], threads=1) as one, load(sys.argv[1], threads=4) as four:\n"
        "    expected = one(x)\n"
        "    assert all(np.array_equal(four(x), expected) for _ in range(100))\n"
    )
    command = [sys.executable, "-c", program, str(wide), str(one_core_group / "cgroup.procs")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
