"""A lock in one word: waiters sleep, and a forked child takes over what its parent held."""

from std.atomic import Atomic

from maccel.libc import (
    FUTEX_WAIT_PRIVATE,
    FUTEX_WAKE_PRIVATE,
    futex,
    process_id,
)
from maccel.types import Args


@no_inline
def acquire_lock(lock: Args):
    """Waits until the lock is free, and takes it.

    The word is 0 when free; otherwise four times the process that holds it, plus 1, or plus 2 when
    another thread may wait. Without waiters there is no system call but for the process. A forked
    child inherits locks that threads of its parent hold and that nobody would release there.
    """
    var held = Int64(process_id()) << 2 | 1
    var old = Int64(0)
    if Atomic[Int64].compare_exchange(lock, old, held):
        return
    while True:
        old = Atomic[Int64].load(lock)
        if old == 0 or old >> 2 != held >> 2:
            # Others may still wait: whoever has waited keeps the mark for them.
            if Atomic[Int64].compare_exchange(lock, old, held + 1):
                return
        elif old != held or Atomic[Int64].compare_exchange(lock, old, held + 1):
            futex(lock, FUTEX_WAIT_PRIVATE, Int(held + 1))


@no_inline
def release_lock(lock: Args):
    """Frees the lock and wakes a waiter if there may be one."""
    var held = Atomic[Int64].load(lock) & ~3 | 1
    if not Atomic[Int64].compare_exchange(lock, held, 0):
        Atomic[Int64].store(lock, 0)
        futex(lock, FUTEX_WAKE_PRIVATE, 1)
