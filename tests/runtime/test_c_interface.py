"""The C interface, through a model written by hand: no tracing, no PyTorch."""

import ctypes
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from mojoaccel.config import BuildOptions
from mojoaccel.products import MojoSource
from mojoaccel.runtime.native import Tensor
from mojoaccel.targets.probe import detect
from mojoaccel.toolchain.build import build
from mojoaccel.toolchain.mojo import find_compiler

pytestmark = pytest.mark.mojo

HANDMADE = Path(__file__).parent / "handmade" / "model.mojo"
HEADER = Path(__file__).parents[2] / "mojoaccel" / "artifact" / "include" / "maccel.h"
F32, I64 = 1, 5
BAD_DTYPE, BAD_RANK, BAD_SIZE, OUT_OF_RANGE, NO_DATA, BAD_INDEX = 10, 11, 12, 13, 14, 20
THREADS = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the library and weights of the handmade model."""
    place = tmp_path_factory.mktemp("handmade")
    source = MojoSource((("model.mojo", HANDMADE.read_text()),), (), (), "handmade")
    build(source, detect(), BuildOptions(), compiler=find_compiler(), out=place / "lib")
    weights = np.random.default_rng(0).standard_normal(784).astype(np.float32)
    weights[768:] = 0
    weights.tofile(place / "weights.bin")
    return place


@pytest.fixture(scope="module")
def weights(folder):
    """Table, first, second."""
    flat = np.fromfile(folder / "weights.bin", np.float32)
    return flat[:128].reshape(8, 16), flat[128:640].reshape(16, 32), flat[640:768].reshape(32, 4)


class Model:
    """The handmade model, called as C would."""

    def __init__(self, folder, threads=THREADS):
        self.dll = ctypes.CDLL(str(folder / "lib" / "model.so"))
        self.dll.maccel_signature.restype = ctypes.c_char_p
        self.handle = ctypes.c_void_p()
        self.status = self.dll.maccel_open(os.fsencode(folder), threads, ctypes.byref(self.handle))

    def run(self, inputs, outputs):
        return self.dll.maccel_run(self.handle, inputs, outputs)

    def shapes(self, inputs, outputs):
        return self.dll.maccel_output_shapes(self.handle, inputs, outputs)

    def error(self):
        found = (ctypes.c_int64 * 5)()
        self.dll.maccel_last_error(self.handle, found)
        return tuple(found)

    def reset(self):
        assert self.dll.maccel_reset(self.handle) == 0

    def close(self):
        self.dll.maccel_close(self.handle)

    def __enter__(self):
        assert self.status == 0
        return self

    def __exit__(self, *exception):
        self.close()


def describe(*arrays):
    """Inputs as C structures; the arrays are kept by the caller."""
    slots = (Tensor * len(arrays))()
    for slot, array in zip(slots, arrays, strict=True):
        slot.data = array.ctypes.data
        slot.shape[: array.ndim] = array.shape
        slot.rank = array.ndim
        slot.dtype = {"float32": F32, "int64": I64, "int32": 6}[array.dtype.name]
    return slots


def contents(tensor):
    """A copy of a float32 tensor that the library described."""
    shape = tuple(tensor.shape[: tensor.rank])
    count = int(np.prod(shape))
    flat = np.ctypeslib.as_array(ctypes.cast(tensor.data, ctypes.POINTER(ctypes.c_float)), (count,))
    return flat.reshape(shape).copy()


def sample(batch, seed=1):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((batch, 16)).astype(np.float32), rng.integers(-8, 8, batch)


def expected(weights, x, ids):
    table, first, second = (w.astype(np.float64) for w in weights)
    return np.maximum((x + table[ids]) @ first, 0) @ second


def test_signature_and_version(folder):
    with Model(folder) as model:
        assert model.dll.maccel_abi_version() == 1
        signature = json.loads(model.dll.maccel_signature())
    assert [t["name"] for t in signature["inputs"]] == ["x", "ids"]
    assert signature["dims"] == {"batch": [0, 4096]}


@pytest.mark.parametrize("batch", [0, 1, 2, 17, 4096])
def test_outputs_in_memory_of_the_session(folder, weights, batch):
    x, ids = sample(batch)
    with Model(folder) as model:
        outputs = (Tensor * 2)()
        assert model.run(describe(x, ids), outputs) == 0
        assert (outputs[0].rank, outputs[0].dtype) == (2, F32)
        np.testing.assert_allclose(contents(outputs[0]), expected(weights, x, ids), atol=1e-3)
        np.testing.assert_allclose(contents(outputs[1]), x.sum(0), atol=1e-2)


def test_outputs_in_memory_of_the_caller(folder, weights):
    x, ids = sample(5)
    y = np.full((7, 4), np.nan, np.float32)
    with Model(folder) as model:
        outputs = (Tensor * 2)()
        outputs[0].data = y.ctypes.data
        assert model.run(describe(x, ids), outputs) == 0
        assert outputs[0].data == y.ctypes.data
    np.testing.assert_allclose(y[:5], expected(weights, x, ids), atol=1e-4)
    assert np.isnan(y[5:]).all()


def test_tensors_of_the_last_run_may_be_passed_again(folder, weights):
    with Model(folder) as model:
        outputs = (Tensor * 2)()
        for batch in (1, 3000, 2, 4096):  # grows beyond what the first run was given
            x, ids = sample(batch)
            assert model.run(describe(x, ids), outputs) == 0
            np.testing.assert_allclose(contents(outputs[0]), expected(weights, x, ids), atol=1e-3)


def test_output_shapes_need_no_memory(folder):
    x, ids = sample(9)
    with Model(folder) as model:
        outputs = (Tensor * 2)()
        assert model.shapes(describe(x, ids), outputs) == 0
        assert [tuple(t.shape[: t.rank]) for t in outputs] == [(9, 4), (16,)]
        assert [t.data for t in outputs] == [None, None]


def test_errors_name_input_axis_and_sizes(folder):
    x, ids = sample(4)
    with Model(folder) as model:
        outputs = (Tensor * 2)()

        def fails(*arrays):
            status = model.run(describe(*arrays), outputs)
            found = model.error()
            assert status == found[0]
            return found

        assert fails(x, ids.astype(np.int32)) == (BAD_DTYPE, 1, -1, I64, 6)
        assert fails(x[0], ids) == (BAD_RANK, 0, -1, 2, 1)
        assert fails(x[:, :15].copy(), ids) == (BAD_SIZE, 0, 1, 16, 15)
        assert fails(x, ids[:3]) == (BAD_SIZE, 1, 0, 4, 3)
        assert fails(*sample(4097)) == (OUT_OF_RANGE, 0, 0, 4096, 4097)
        inputs = describe(x, ids)
        inputs[1].data = None
        assert model.run(inputs, outputs) == NO_DATA
        assert model.error()[:2] == (NO_DATA, 1)
        assert fails(x, np.array([0, 1, 8, 2]))[0] == BAD_INDEX
        assert model.run(describe(x, ids), outputs) == 0
        assert model.error()[0] == 0


def test_state_lasts_until_reset(folder):
    x, ids = sample(3)
    with Model(folder) as model, Model(folder) as other:
        outputs = (Tensor * 2)()
        for turn in range(1, 4):
            assert model.run(describe(x, ids), outputs) == 0
            np.testing.assert_allclose(contents(outputs[1]), turn * x.sum(0), atol=1e-4)
        assert other.run(describe(x, ids), outputs) == 0  # a session's state is its own
        np.testing.assert_allclose(contents(outputs[1]), x.sum(0), atol=1e-4)
        model.reset()
        outputs = (Tensor * 2)()
        assert model.run(describe(x, ids), outputs) == 0
        np.testing.assert_allclose(contents(outputs[1]), x.sum(0), atol=1e-4)


def test_missing_and_short_weights(folder, tmp_path):
    shutil.copytree(folder / "lib", tmp_path / "lib")
    assert Model(tmp_path).status == 2
    (tmp_path / "weights.bin").write_bytes(bytes(3135))
    assert Model(tmp_path).status == 3


@pytest.mark.parametrize("threads", [-1, 0, 1, 2, 64, 10_000])
def test_answers_do_not_depend_on_the_threads(folder, threads):
    x, ids = sample(300)
    with Model(folder, 1) as one, Model(folder, threads) as many:
        first, second = (Tensor * 2)(), (Tensor * 2)()
        assert one.run(describe(x, ids), first) == 0
        assert many.run(describe(x, ids), second) == 0
        for a, b in zip(first, second, strict=True):
            np.testing.assert_array_equal(contents(a), contents(b))


def test_threads_of_the_caller_take_turns(folder, weights):
    x, ids = sample(40)
    truth = expected(weights, x, ids)
    wrong = []

    def work(model):
        y, total = np.empty((40, 4), np.float32), np.empty(16, np.float32)
        outputs = (Tensor * 2)()
        outputs[0].data, outputs[1].data = y.ctypes.data, total.ctypes.data
        inputs = describe(x, ids)
        for turn in range(100):
            y.fill(0)
            status = model.run(inputs, outputs)
            model.shapes(inputs, outputs)
            if status or not np.allclose(y, truth, atol=1e-4):
                wrong.append((turn, status))

    with Model(folder) as model, Model(folder) as other:
        threads = [threading.Thread(target=work, args=(m,)) for m in [model] * 8 + [other] * 2]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        outputs = (Tensor * 2)()
        assert model.run(describe(x, ids), outputs) == 0
        np.testing.assert_allclose(contents(outputs[1]), 801 * x.sum(0), rtol=2e-3, atol=0.1)
    assert not wrong


SCRIPT = """
import ctypes, os, signal, sys, threading, time
sys.path.insert(0, {here!r})
from pathlib import Path
from test_c_interface import Model, Tensor, contents, describe, sample
signal.alarm(60)
model = Model(Path({folder!r}), {threads})
x, ids = sample(300)
def answer():
    outputs = (Tensor * 2)()
    assert model.run(describe(x, ids), outputs) == 0
    return contents(outputs[0])
first = answer()
"""


def in_python(folder, body, threads=THREADS, prefix=()):
    """Run `body` after SCRIPT in a process of its own; return its standard output."""
    head = SCRIPT.format(here=str(Path(__file__).parent), folder=str(folder), threads=threads)
    done = subprocess.run(
        [*prefix, sys.executable, "-c", head + body],
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # no threads but the session's
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_forked_children_run_and_close(folder):
    body = """
busy = threading.Event()
def run_on():
    while not busy.is_set():
        answer()
thread = threading.Thread(target=run_on)
thread.start()
for turn in range(8):  # the lock is often held at the moment of the fork
    child = os.fork()
    if child == 0:
        import faulthandler
        faulthandler.dump_traceback_later(20, exit=True)
        ok = all((answer() == first).all() for _ in range(3))
        grandchild = os.fork()
        if grandchild == 0:
            os._exit(0 if (answer() == first).all() else 1)
        ok = ok and os.waitpid(grandchild, 0)[1] == 0
        model.close()
        os._exit(0 if ok else 1)
    assert os.waitpid(child, 0)[1] == 0, turn
busy.set()
thread.join()
assert (answer() == first).all()
child = os.fork()
if child == 0:  # closes a session that it never ran
    model.close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
model.close()
print("done")
"""
    assert in_python(folder, body).strip() == "done"


@pytest.mark.skipif(shutil.which("taskset") is None, reason="needs taskset")
@pytest.mark.parametrize("threads", [0, 4])
def test_one_processor_is_enough(folder, threads):
    body = """
start = time.perf_counter()
for _ in range(300):
    answer()
print(time.perf_counter() - start, len(os.listdir("/proc/self/task")))
model.close()
"""
    processor = str(min(os.sched_getaffinity(0)))
    answered = in_python(folder, body, threads, ("taskset", "-c", processor)).split()
    assert float(answered[0]) < 20
    assert answered[1] == str(max(threads, 1))


def test_idle_session_uses_no_processor_time(folder):
    body = """
time.sleep(0.05)
before = time.process_time()
time.sleep(0.5)
print(time.process_time() - before)
"""
    assert float(in_python(folder, body)) < 0.05


def test_workers_leave_signals_to_the_program(folder):
    body = """
masks = []
for task in os.listdir("/proc/self/task"):
    if int(task) != os.getpid():
        status = Path(f"/proc/self/task/{task}/status").read_text()
        masks += [int(l.split()[1], 16) for l in status.splitlines() if l.startswith("SigBlk")]
blocked = [[bool(m >> (s - 1) & 1) for m in masks] for s in (signal.SIGTERM, signal.SIGSEGV)]
print(blocked, len(signal.pthread_sigmask(signal.SIG_BLOCK, [])))
"""
    workers = THREADS - 1
    assert in_python(folder, body).strip() == f"{[[True] * workers, [False] * workers]} 0"


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_header_compiles_as_c_and_cpp(tmp_path):
    for name, flags in (("a.c", ["-std=c99", "-pedantic"]), ("a.cpp", ["-x", "c++"])):
        source = tmp_path / name
        source.write_text('#include "maccel.h"\nint f(maccel_tensor *t) { return t->rank; }\n')
        command = ["cc", *flags, "-Wall", "-Wextra", "-Werror", "-c", "-I", str(HEADER.parent)]
        done = subprocess.run(
            [*command, str(source), "-o", str(tmp_path / "a.o")], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
