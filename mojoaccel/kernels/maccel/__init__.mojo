"""Kernels of mojoaccel: hand-written Mojo that emitted models call.

Every public function computes one thread's share of a kernel (see `team.mojo`), takes raw
pointers and sizes, never raises, never allocates and needs nothing but libc at run time.
"""
