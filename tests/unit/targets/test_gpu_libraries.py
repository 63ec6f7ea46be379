"""NVML and Level Zero through their real interfaces: libraries built here, of recorded answers.

The C side says what real machines said (`recorded`); between it and us are the real
``nvidia-ml-py``, the dynamic loader, and the C layouts of Level Zero.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from mojoaccel.targets import drm, gpu_intel, level_zero, pci

HERE = Path(__file__).parent
CC = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
LEVEL_ZERO = ("libze1", "libze-dev")

pytestmark = [
    pytest.mark.skipif(CC is None, reason="no C compiler to build the libraries with"),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="libraries of Linux"),
]


def compile_c(source: Path, out: Path, *options: str) -> None:
    subprocess.run([str(CC), "-Wall", "-Werror", *options, "-o", out, source], check=True)


def mebibytes(node: ElementTree.Element, path: str) -> int:
    return int(node.findtext(path, "").removesuffix(" MiB")) << 20


def c_device(recorded: str, capability: tuple[int, int]) -> str:
    """Return a row of the stand-in's table; nvidia-smi prints all but the compute capability."""
    gpu = ElementTree.parse(HERE / "recorded" / recorded).getroot().find("gpu")
    assert gpu is not None
    parts = [mebibytes(p, "fb_memory_usage/total") for p in gpu.iter("mig_device")]
    busy = gpu.findtext("utilization/gpu_util", "")
    mig = {"Enabled": 1, "Disabled": 0, "N/A": -1}[gpu.findtext("mig_mode/current_mig", "")]
    fields = [
        json.dumps(gpu.findtext("product_name")),
        json.dumps(gpu.findtext("uuid")),
        *map(str, capability),
        *(f"{mebibytes(gpu, f'fb_memory_usage/{n}')}ull" for n in ("total", "free", "used")),
        str(mig),
        "-1" if busy == "N/A" else busy.removesuffix(" %"),
        str(round(1000 * float(gpu.findtext("*/current_power_limit", "").removesuffix(" W")))),
        str(len(parts)),
        "{" + ",".join(f"{p}ull" for p in parts or [0]) + "}",
    ]
    return "{" + ", ".join(fields) + "}"


@pytest.fixture(scope="module")
def nvml(tmp_path_factory):
    """A folder with a libnvidia-ml.so.1 of two recorded devices."""
    place = tmp_path_factory.mktemp("nvml")
    rows = [c_device("nvidia-smi-a100.xml", (8, 0)), c_device("nvidia-smi-pro-6000.xml", (12, 0))]
    root = ElementTree.parse(HERE / "recorded" / "nvidia-smi-a100.xml").getroot()
    cuda = root.findtext("cuda_version", "").split(".")
    (place / "devices.h").write_text(
        f'#define DRIVER "{root.findtext("driver_version")}"\n'
        f"#define CUDA {1000 * int(cuda[0]) + 10 * int(cuda[1])}\n"
        f"static const struct device devices[] = {{{', '.join(rows)}}};\n"
    )
    library = place / "libnvidia-ml.so.1"
    compile_c(HERE / "nvml_of_records.c", library, "-shared", "-fPIC", "-I", str(place))
    return place


RUN = """
import contextlib, io, json, sys
from mojoaccel.cli import main
said = []
for line in json.loads(sys.argv[1]):
    sys.argv = ["mojoaccel", *line]
    with contextlib.redirect_stdout(io.StringIO()) as out:
        with contextlib.suppress(SystemExit):
            main()
    said.append(out.getvalue())
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def shown(nvml):
    """What commands print where the library is found: one process, as it asks the processor too."""
    lines = [["detect", "--json"], ["detect"], ["doctor", "--check", "gpu.nvidia"]]
    env = {**os.environ, "PYTHONPATH": ":".join(p for p in sys.path if p)}
    done = subprocess.run(
        [sys.executable, "-c", RUN, json.dumps(lines)],
        env={**env, "LD_LIBRARY_PATH": str(nvml)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def test_nvidia_devices_as_recorded(shown):
    found = json.loads(shown[0])["gpus"]["nvidia"]
    assert (found["status"], found["driver"], found["cuda"]) == ("found", "535.54.03", "12.2")
    assert found["driver_sufficient"] is False
    assert found["devices"] == [
        {
            "name": "NVIDIA A100-SXM4-80GB",
            "architecture": "sm_80",
            "memory_bytes": 81920 << 20,
            "uuid": "GPU-513536b6-7d19-9063-b049-1e69664bb298",
            "free_bytes": 80999 << 20,
            "mig": True,
            "utilisation": None,
            "power_limit_watts": 500.0,
            "mig_instances_bytes": [19968 << 20] * 4,
            "supported": True,
        },
        {
            "name": "NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition",
            "architecture": "sm_120",
            "memory_bytes": 97887 << 20,
            "uuid": "GPU-12345678-aaaa-bbbb-cccc-0123456789ab",
            "free_bytes": 31531 << 20,
            "mig": None,
            "utilisation": 0.0,
            "power_limit_watts": 300.0,
            "mig_instances_bytes": None,
            "supported": True,
        },
    ]


def test_nvidia_devices_for_people(shown):
    text = " ".join(shown[1].split())
    for part in (
        "driver 535.54.03, CUDA 12.2, older than Mojo needs",
        "NVIDIA A100-SXM4-80GB (sm_80, supported), 84.9 GB of 85.9 GB free, at most 500 W, "
        "MIG with 4 instances",
        "(sm_120, supported), 33.1 GB of 102.6 GB free, 0% busy, at most 300 W",
    ):
        assert part in text
    assert shown[2].startswith("warn  gpu.nvidia")
    assert "fix:      sudo apt install nvidia-driver-580" in shown[2]


@pytest.mark.parametrize(
    ("code", "status"),
    [(4, "no-permission"), (9, "no-driver"), (15, "lost"), (18, "mismatch"), (999, "failed")],
)
def test_what_nvml_refuses_with(nvml, code, status):
    """The numbers are nvmlReturn_t's; the package makes exceptions of them."""
    script = "from mojoaccel.targets.gpu import read_gpus; print(read_gpus().status)"
    env = {"LD_LIBRARY_PATH": str(nvml), "NVML_INIT": str(code)}
    env["PYTHONPATH"] = ":".join(p for p in sys.path if p)
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True)
    assert done.stdout.strip() == status, done.stderr


@pytest.fixture
def loader(tmp_path_factory, monkeypatch):
    """A folder with a libze_loader.so.1, found by programs started from here."""
    place = tmp_path_factory.mktemp("level-zero")
    library = place / level_zero.LIBRARY
    compile_c(HERE / "level_zero_of_records.c", library, "-shared", "-fPIC")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(place))
    return place


@pytest.fixture
def arc(tmp_path, monkeypatch):
    """Sysfs of a machine with an Arc A770 and another card that Level Zero does not list."""
    monkeypatch.setattr(drm, "DRM", tmp_path / "drm")
    monkeypatch.setattr(pci, "NAMES", ())
    for number, address, device in ((0, "0000:00:02.0", "0x4680"), (1, "0000:03:00.0", "0x56a0")):
        place = tmp_path / address
        place.mkdir()
        (place / "vendor").write_text("0x8086\n")
        (place / "device").write_text(device + "\n")
        (tmp_path / "drm" / f"card{number}").mkdir(parents=True)
        (tmp_path / "drm" / f"card{number}" / "device").symlink_to(place)


def test_intel_devices_as_level_zero_tells_them(loader, arc):
    found = gpu_intel.intel()
    assert found["level_zero"] == "found"
    assert found["devices"] == [
        {"name": None, "device_id": "0x4680", "memory_bytes": None},
        {
            "name": "Intel(R) Arc(TM) A770 Graphics",
            "device_id": "0x56a0",
            "memory_bytes": 16225243136,
        },
    ]


def test_intel_devices_that_sysfs_does_not_show(loader, monkeypatch, tmp_path):
    """The Windows Subsystem for Linux has no card in sysfs."""
    for name in ("DRM", "DEVICES"):
        monkeypatch.setattr(drm, name, tmp_path)
    (tmp_path / gpu_intel.WSL).touch()
    (device,) = gpu_intel.intel()["devices"]
    assert device["name"] == "Intel(R) Arc(TM) A770 Graphics"


@pytest.mark.parametrize(
    ("result", "status", "says"),
    [
        ("0x78000001", "no-driver", "no driver here that may open a GPU"),
        ("0x70000003", "failed", "Level Zero answered 0x70000003"),
        ("crash", "failed", "crashed or did not answer"),
    ],
)
def test_level_zero_that_does_not_work(loader, arc, monkeypatch, result, status, says):
    monkeypatch.setenv("ZE_INIT", result)
    found = gpu_intel.intel()
    assert (found["status"], found["level_zero"]) == ("found", status)
    assert says in found["explanation"]
    assert len(found["devices"]) == 2


def test_level_zero_is_not_installed(arc, monkeypatch):
    monkeypatch.setattr(level_zero, "LIBRARY", "libnone.so.1")
    assert level_zero.read_devices()["explanation"] == "libnone.so.1 is not installed"


@pytest.fixture(scope="module")
def debian(tmp_path_factory):
    """The real loader and its headers, where Debian's packages can be had."""
    apt, dpkg = (shutil.which(n, path="/usr/bin") for n in ("apt-get", "dpkg"))
    if apt is None or dpkg is None:
        pytest.skip("no apt here")
    place = tmp_path_factory.mktemp("debian")
    options = {"cwd": place, "capture_output": True, "stdin": subprocess.DEVNULL, "timeout": 60}
    if subprocess.run([apt, "download", *LEVEL_ZERO], **options).returncode != 0:
        pytest.skip("the packages cannot be downloaded")
    for package in place.glob("*.deb"):
        subprocess.run([dpkg, "-x", package, place], check=True)
    return place


def test_layouts_are_those_of_the_real_header(debian, tmp_path):
    """Offsets and numbers as the vendor's header has them, told by a C compiler."""
    unfolded = {n: f"address.{n}" for n in ("domain", "bus", "device", "function")}
    unfolded |= {n: f"maxSpeed.{n}" for n in ("genVersion", "width", "maxBandwidth")}
    kinds = {
        "ze_device_properties_t": (level_zero.DeviceProperties, "DEVICE_PROPERTIES"),
        "ze_device_memory_properties_t": (level_zero.MemoryProperties, "DEVICE_MEMORY_PROPERTIES"),
        "ze_pci_ext_properties_t": (level_zero.PciProperties, "PCI_EXT_PROPERTIES"),
    }
    lines, ours = [], []
    for name, (kind, stype) in kinds.items():
        lines += [f"sizeof({name})", f"ZE_STRUCTURE_TYPE_{stype}"]
        ours += [level_zero.ctypes.sizeof(kind), kind.STYPE]
        for field in [f[0] for base in (level_zero.Head, kind) for f in base._fields_]:
            lines.append(f"offsetof({name}, {unfolded.get(field, field)})")
            ours.append(getattr(kind, field).offset)
    lines += ["ZE_INIT_FLAG_GPU_ONLY", "ZE_RESULT_ERROR_UNINITIALIZED"]
    ours += [level_zero.GPU_ONLY, level_zero.UNINITIALIZED]
    prints = "".join(f'printf("%zu\\n", (size_t)({line}));' for line in lines)
    headers = "".join(f"#include <{h}>\n" for h in ("level_zero/ze_api.h", "stddef.h", "stdio.h"))
    (tmp_path / "layout.c").write_text(f"{headers}int main(void) {{ {prints} return 0; }}\n")
    include = debian / "usr" / "include"
    compile_c(tmp_path / "layout.c", tmp_path / "layout", "-I", str(include))
    said = subprocess.run([tmp_path / "layout"], capture_output=True, text=True, check=True)
    assert dict(zip(lines, map(int, said.stdout.split()), strict=True)) == dict(
        zip(lines, ours, strict=True)
    )


def test_the_real_loader_without_a_driver(debian, monkeypatch):
    (library,) = debian.glob(f"usr/lib/*/{level_zero.LIBRARY}")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(library.parent))
    found = gpu_intel.ask_level_zero()
    if found["status"] == "found":
        pytest.skip("a driver of Level Zero is installed here")
    assert (found["status"], found["devices"]) == ("no-driver", [])
    assert re.search("no driver here", found["explanation"])
