"""Reads Intel's GPUs through Level Zero's loader; run as a program it prints what it found.

Only what the loader's C interface (``ze_api.h``, version 1.0 and its PCI extension) tells; nothing
is allocated on a device.
"""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable
from ctypes import POINTER, Structure, byref, c_char, c_int32, c_int64, c_uint32, c_uint64, c_void_p
from typing import Any

LIBRARY = "libze_loader.so.1"
GPU_ONLY = 1
UNINITIALIZED = 0x78000001
"""What the loader answers where no driver of Level Zero is installed, or none may open a GPU."""


class Head(Structure):
    """What every structure begins with: its kind, and a place for extensions."""

    _fields_ = [("stype", c_uint32), ("pNext", c_void_p)]


class DeviceProperties(Head):
    """``ze_device_properties_t``."""

    STYPE = 0x3
    _fields_ = [
        *((n, c_uint32) for n in ("type", "vendorId", "deviceId", "flags", "subdeviceId")),
        ("coreClockRate", c_uint32),
        ("maxMemAllocSize", c_uint64),
        *((n, c_uint32) for n in ("maxHardwareContexts", "maxCommandQueuePriority")),
        *((n, c_uint32) for n in ("numThreadsPerEU", "physicalEUSimdWidth", "numEUsPerSubslice")),
        *((n, c_uint32) for n in ("numSubslicesPerSlice", "numSlices")),
        ("timerResolution", c_uint64),
        *((n, c_uint32) for n in ("timestampValidBits", "kernelTimestampValidBits")),
        ("uuid", c_char * 16),
        ("name", c_char * 256),
    ]


class MemoryProperties(Head):
    """``ze_device_memory_properties_t``."""

    STYPE = 0x7
    _fields_ = [
        *((n, c_uint32) for n in ("flags", "maxClockRate", "maxBusWidth")),
        ("totalSize", c_uint64),
        ("name", c_char * 256),
    ]


class PciProperties(Head):
    """``ze_pci_ext_properties_t``, its nested structures unfolded."""

    STYPE = 0x10008
    _fields_ = [
        *((n, c_uint32) for n in ("domain", "bus", "device", "function")),
        *((n, c_int32) for n in ("genVersion", "width")),
        ("maxBandwidth", c_int64),
    ]


class Refused(Exception):
    """Level Zero answered something else than success.

    Attributes:
        result: Its ``ze_result_t``.
    """

    def __init__(self, result: int) -> None:
        """Keep the answer."""
        super().__init__(f"Level Zero answered {result:#x}")
        self.result = result


def read_devices() -> dict[str, Any]:
    """Return a status, a sentence that explains it, and the devices with their PCI address."""
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError:
        return _answer("no-library", f"{LIBRARY} is not installed")
    try:
        _call(library.zeInit, c_uint32(GPU_ONLY))
        drivers = _handles(library.zeDriverGet)
        devices = [_read(library, d) for driver in drivers for d in _handles(_of(library, driver))]
    except Refused as e:
        if e.result == UNINITIALIZED:
            return _answer("no-driver", "Level Zero has no driver here that may open a GPU")
        return _answer("failed", str(e))
    except AttributeError as e:  # an older loader
        return _answer("failed", f"Level Zero lacks a function: {e}")
    return {**_answer("found", f"{len(devices)} told by Level Zero"), "devices": devices}


def _answer(status: str, explanation: str) -> dict[str, Any]:
    return {"status": status, "explanation": explanation, "devices": []}


def _of(library: ctypes.CDLL, driver: c_void_p) -> Callable[..., int]:
    return lambda count, handles: library.zeDeviceGet(driver, count, handles)


def _handles(function: Callable[..., int]) -> list[c_void_p]:
    """Return handles from a function that is called once for their number, once for themselves."""
    count = c_uint32(0)
    _call(function, byref(count), POINTER(c_void_p)())
    handles = (c_void_p * count.value)()
    if count.value:
        _call(function, byref(count), handles)
    return [c_void_p(h) for h in handles]


def _read(library: ctypes.CDLL, device: c_void_p) -> dict[str, Any]:
    about = DeviceProperties(stype=DeviceProperties.STYPE)
    _call(library.zeDeviceGetProperties, device, byref(about))
    return {
        "name": about.name.decode(errors="replace") or None,
        "device_id": f"{about.deviceId:#06x}",
        "memory_bytes": _memory(library, device),
        "address": _address(library, device),
    }


def _memory(library: ctypes.CDLL, device: c_void_p) -> int | None:
    """Return the sum of a device's memories; those of an integrated one are the host's."""
    count = c_uint32(0)
    _call(library.zeDeviceGetMemoryProperties, device, byref(count), POINTER(MemoryProperties)())
    kinds = (MemoryProperties * count.value)()
    for kind in kinds:
        kind.stype = MemoryProperties.STYPE
    _call(library.zeDeviceGetMemoryProperties, device, byref(count), kinds)
    return sum(kind.totalSize for kind in kinds) or None


def _address(library: ctypes.CDLL, device: c_void_p) -> str | None:
    """Return where a device is on the PCI bus; None where the driver does not tell."""
    place = PciProperties(stype=PciProperties.STYPE)
    try:
        _call(library.zeDevicePciGetPropertiesExt, device, byref(place))
    except (Refused, AttributeError):
        return None
    return f"{place.domain:04x}:{place.bus:02x}:{place.device:02x}.{place.function:x}"


def _call(function: Callable[..., int], *arguments: Any) -> None:
    result = function(*arguments) & 0xFFFFFFFF
    if result:
        raise Refused(result)


if __name__ == "__main__":
    print(json.dumps(read_devices()))
