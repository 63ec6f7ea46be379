"""Every check, in the order they run: what others need comes first, what takes long last."""

from __future__ import annotations

from mojoaccel.doctor import cache, gpu, max, mojo, python, retired, runtime, serving, system

CHECKS = (
    *system.CHECKS,
    *python.CHECKS,
    *mojo.CHECKS,
    *retired.CHECKS,
    *max.CHECKS,
    *gpu.CHECKS,
    *cache.CHECKS,
    *runtime.CHECKS,
    *serving.CHECKS,
)
