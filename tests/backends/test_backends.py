"""The Python API as it is described: real compiles, live endpoints, and the SDK hidden."""

from __future__ import annotations

import asyncio
import contextlib
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

import mojoaccel
from mojoaccel import (
    MaxBackend,
    ModularBackend,
    ModularEnvironment,
    MojoBackend,
    register_model,
)
from mojoaccel.backends import mojo as mojo_module
from mojoaccel.backends.models import name_of

MLP = Path(__file__).parents[2] / "examples" / "mlp.py"


@pytest.fixture(scope="module")
def env() -> ModularEnvironment:
    return ModularEnvironment()


@pytest.fixture
def hidden() -> ModularEnvironment:
    """An environment whose compiler cannot be found."""
    mojo_module._warned.clear()
    return ModularEnvironment(mojo="/nonexistent/mojo")


def test_environment_is_what_detect_finds(env: ModularEnvironment) -> None:
    found = env.inventory
    assert env.mojo_available and env.modular_version == "1.2.0"
    assert env.max_available == (found["toolchain"]["max"]["version"] is not None)
    cpu = env.devices[0]
    assert cpu["type"] == "cpu" and cpu["cores"] == found["cpu"]["usable_cores"]
    assert cpu["memory_mb"] > 100 and cpu["simd_width"] in (128, 256, 512)
    assert {"float32", "bfloat16", "int64"} <= set(cpu["supported_dtypes"])


@pytest.mark.parametrize(
    ("model_id", "name"),
    [
        ("models/net.py:factory", "net"),
        ("models/net.onnx", "net"),
        ("models/net.pt2", "net"),
        ("net.maccel", "net"),
        ("all-MiniLM-L6-v2/", "all-MiniLM-L6-v2"),
        ("small", "small"),
    ],
)
def test_models_are_named_by_their_ids(model_id: str, name: str) -> None:
    register_model("small", factory)
    assert name_of(model_id) == name


def test_hidden_compiler_is_told(hidden: ModularEnvironment) -> None:
    assert not hidden.mojo_available
    assert hidden.modular_version is None


@pytest.mark.mojo
def test_compile_deploy_infer_undeploy(env: ModularEnvironment, tmp_path: Path) -> None:
    async def main() -> None:
        made = await MojoBackend(env).compile_model(
            str(MLP), str(tmp_path / "mlp.maccel"), optimization="O2", target_device="auto"
        )
        assert made.success, made.error_message
        assert made.compiled_path == str(tmp_path / "mlp.maccel") and not made.simulated
        assert made.compilation_time is not None and made.compilation_time > 0
        assert made.optimizations_applied["pack_weights"] == 3
        backend = MaxBackend(env)
        assert await backend.initialize()
        told = await backend.deploy_model(str(made.compiled_path), "mlp", "cpu", threads=1)
        assert told.success, told.error_message
        assert told.endpoint_url is not None and told.endpoint_url.startswith("http://127.0.0.1:")
        assert told.allocated_resources["memory_mb"] > 10
        assert told.allocated_resources["threads"] >= 1
        x = np.random.default_rng(0).standard_normal((3, 784)).astype(np.float32)
        with mojoaccel.load(str(made.compiled_path), 1) as session:
            expected = session(x)
        found = await backend.infer("mlp", {"input": x})
        np.testing.assert_array_equal(found["output"], expected)
        outside = pytest.importorskip("tritonclient.http")
        given = outside.InferInput("input", list(x.shape), "FP32")
        given.set_data_from_numpy(x)
        with outside.InferenceServerClient(told.endpoint_url.removeprefix("http://")) as client:
            answer = await asyncio.to_thread(client.infer, "mlp", [given])
        np.testing.assert_array_equal(answer.as_numpy("output"), expected)
        httpx = pytest.importorskip("httpx")
        assert httpx.get(f"{told.endpoint_url}/v2/models/mlp/ready").status_code == 200
        again = await backend.deploy_model(str(MLP), "mlp")
        assert not again.success and "already" in str(again.error_message)
        assert [m["model_id"] for m in await backend.list_models()] == ["mlp"]
        assert await backend.undeploy("mlp") and not await backend.undeploy("mlp")
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{told.endpoint_url}/v2/health/live")
        await backend.close()

    asyncio.run(main())


def factory() -> mojoaccel.Example:
    import torch
    from torch import nn

    torch.manual_seed(0)
    return mojoaccel.Example(nn.Sequential(nn.Linear(6, 4), nn.ReLU()), (torch.randn(2, 6),))


@pytest.mark.mojo
def test_several_at_once_never_block_the_loop(env: ModularEnvironment, tmp_path: Path) -> None:
    register_model("small", factory)

    async def main() -> tuple[float, float]:
        backend = MojoBackend(ModularEnvironment())  # has not looked at the machine yet
        longest = 0.0

        async def watch() -> None:
            nonlocal longest
            while True:
                began = time.perf_counter()
                await asyncio.sleep(0.01)
                longest = max(longest, time.perf_counter() - began)

        await MojoBackend(env).compile_model("small", tmp_path / "first.maccel")
        watching = asyncio.create_task(watch())
        names = ("a", "b", "c")
        began = time.perf_counter()
        made = await asyncio.gather(
            *(backend.compile_model("small", tmp_path / f"{n}.maccel") for n in names)
        )
        whole = time.perf_counter() - began
        watching.cancel()
        assert all(m.success for m in made), made
        return longest, whole

    longest, whole = asyncio.run(main())
    assert longest < whole / 3  # even one of the three compiles would hold it up for longer


@pytest.mark.mojo
def test_cancelling_a_compile_stops_the_compiler(env: ModularEnvironment, tmp_path: Path) -> None:
    model = tmp_path / "own.py"
    model.write_text(MLP.read_text().replace("512", "508"))

    started: set[int] = set()

    async def main() -> None:
        task = asyncio.create_task(
            MojoBackend(env).compile_model(str(model), tmp_path / "own.maccel")
        )
        for _ in range(600):
            await asyncio.sleep(0.05)
            started.update(family(str(model)))
            if len(started) > 1:  # the command, and the compiler below it
                break
        else:
            raise AssertionError("the compiler was never started")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert not any(Path(f"/proc/{pid}").exists() for pid in started)
    assert not (tmp_path / "own.maccel").exists()


def family(word: str) -> set[int]:
    """Return the processes whose command line has a word, and everything below them."""
    parents: dict[int, int] = {}
    found: set[int] = set()
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            pid = int(place.name)
            parents[pid] = int((place / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if word in (place / "cmdline").read_text(errors="replace"):
                found.add(pid)
    while more := {p for p, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def test_failures_are_results(env: ModularEnvironment, tmp_path: Path) -> None:
    async def main() -> None:
        backend = MojoBackend(env)
        gone = await backend.compile_model("no/such.py", tmp_path / "x.maccel")
        assert not gone.success and "MA201" in str(gone.error_message)
        gpu = await backend.compile_model(str(MLP), tmp_path / "x.maccel", target_device="gpu")
        assert not gpu.success and "GPU" in str(gpu.error_message)
        level = await backend.compile_model(str(MLP), tmp_path / "x.maccel", optimization="O7")
        assert not level.success and "MA903" in str(level.error_message)
        deployed = await MaxBackend(env).deploy_model(str(tmp_path / "none.maccel"), "none")
        assert not deployed.success and deployed.error_message
        deployed = await MaxBackend(env).deploy_model(str(tmp_path / "x.maccel"), "x", "gpu")
        assert not deployed.success and "GPU" in str(deployed.error_message)

    asyncio.run(main())


def test_without_the_sdk_everything_is_simulated(
    hidden: ModularEnvironment, tmp_path: Path
) -> None:
    register_model("small", factory)

    async def main() -> None:
        backend = ModularBackend(hidden)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            made = await backend.compile_mojo("small", output_path=tmp_path / "small")
            deployed = await backend.deploy_max(str(made.compiled_path), name="small")
        assert made.success and made.simulated, made.error_message
        assert len([w for w in told if "simulated" in str(w.message)]) == 1
        assert not await backend.initialize()
        assert deployed.success and deployed.simulated and deployed.endpoint_url is None
        x = np.ones((2, 6), np.float32)
        found = await backend.max.infer("small", {"input": x})
        import torch

        with torch.no_grad():
            expected = factory().module(torch.from_numpy(x)).numpy()
        np.testing.assert_allclose(found["output"], expected, atol=1e-6)
        measured = await backend.benchmark_modular(str(made.compiled_path), seconds=0.2)
        assert measured["simulated"] and measured["comparison_vs_baseline"] is None
        assert measured["latency_ms"]["p50"] > 0
        health = await backend.health_check()
        assert health["components"]["mojo"] == "fail" and health["components"]["python"] != "fail"
        await backend.close()

    asyncio.run(main())


@pytest.mark.mojo
def test_log_tells_what_is_detected_and_run(
    env: ModularEnvironment, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    register_model("small", factory)

    async def main() -> None:
        with caplog.at_level("INFO", "mojoaccel"):
            made = await MojoBackend(env).compile_model("small", tmp_path / "small.maccel")
        assert made.success, made.error_message

    asyncio.run(main())
    said = [r.getMessage() for r in caplog.records]
    assert all(r.name == "mojoaccel" for r in caplog.records)
    ours = next(i for i, s in enumerate(said) if s.startswith("runs ") and " compile " in s)
    inside = said[ours + 1 :]  # what the command detected and ran in its own process
    assert any(s.startswith("target cpu:") for s in inside)
    assert any(s.startswith("found mojo 1.2.0 ") for s in inside)
    assert any(s.startswith("runs ") and s.endswith("mojo --version") for s in inside)
    assert said[-1] == "exit 0"


def test_a_compiler_of_ones_own_compiles_what_is_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    chosen = tmp_path / "mojo"
    chosen.write_text("#!/bin/sh\nexit 0\n")
    chosen.chmod(0o755)
    backend = ModularBackend(ModularEnvironment(mojo=str(chosen)))
    monkeypatch.setattr(ModularEnvironment, "mojo_available", True)
    with pytest.raises(RuntimeError, match=f"MA10[12]: .*{chosen}"):
        asyncio.run(backend.benchmark_modular(str(MLP), seconds=0.1))


@pytest.mark.mojo
@pytest.mark.slow
def test_benchmark_and_health(env: ModularEnvironment, hidden: ModularEnvironment) -> None:
    register_model("small", factory)

    async def main() -> None:
        reference = await ModularBackend(hidden).benchmark_modular("small", seconds=0.1)
        assert reference["simulated"] and reference["latency_ms"]["p50"] > 0
        backend = ModularBackend(env)
        measured = await backend.benchmark_modular(str(MLP), seconds=1)
        assert measured["latency_ms"]["p50"] > 0 and measured["memory_usage_mb"] > 10
        assert measured["comparison_vs_baseline"]["speedup"] > 0
        assert -10 < measured["comparison_vs_baseline"]["memory_reduction"] < 1
        assert measured["throughput_items_per_sec"] > 0
        assert measured["throughput_tokens_per_sec"] is None and not measured["simulated"]
        health = await backend.health_check()
        assert health["components"]["mojo"] in ("pass", "warn")
        assert {"system", "python", "mojo", "cache"} <= set(health["components"])
        info = await backend.get_hardware_info()
        assert info["devices"][0]["type"] == "cpu" and info["cpu"]["usable_cores"] >= 1
        with pytest.raises(ValueError, match="workload_type"):
            await backend.benchmark_modular(str(MLP), "training")

    asyncio.run(main())
