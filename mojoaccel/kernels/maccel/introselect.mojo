"""Partial orders with the ties that PyTorch's CPU kernels leave.

Where values are equal, which position PyTorch returns follows from its algorithms: the heap
selection and introspective selection and sort of C++ libraries (Musser 1997, "Introspective
sorting and selection algorithms") for topk, median and mode, and the median-of-three quickselect
of Sedgewick for kthvalue. The same choices of pivots and the same exchanges are made here, so
positions agree element by element. Pairs (value, position) lie in two arrays.
"""

from maccel.sorting import before
from maccel.types import Ptr

comptime SMALL_RUN = 16
"""Runs up to this length are left to one final insertion sort."""


@fieldwise_init
struct Pairs[dt: DType, descending: Bool](
    Copyable, Movable, TrivialRegisterPassable
):
    """Values with their positions, ordered by `before`."""

    var values: Ptr[Self.dt]
    var places: Ptr[DType.int64]

    @always_inline
    def value(self, i: Int) -> Scalar[Self.dt]:
        """Returns value i."""
        return self.values[unsafe_offset=i]

    @always_inline
    def place(self, i: Int) -> Int64:
        """Returns the position value i came from."""
        return self.places[unsafe_offset=i]

    @always_inline
    def put(self, i: Int, value: Scalar[Self.dt], place: Int64):
        """Writes pair i."""
        self.values[unsafe_offset=i] = value
        self.places[unsafe_offset=i] = place

    @always_inline
    def move(self, source: Int, target: Int):
        """Copies pair `source` over pair `target`."""
        self.put(target, self.value(source), self.place(source))

    @always_inline
    def swap(self, i: Int, j: Int):
        """Exchanges two pairs."""
        var value = self.value(i)
        var place = self.place(i)
        self.move(j, i)
        self.put(j, value, place)

    @always_inline
    def less(self, i: Int, j: Int) -> Bool:
        """Whether pair i comes strictly before pair j."""
        return before[Self.dt, Self.descending](self.value(i), self.value(j))

    @always_inline
    def moved(self, start: Int) -> Self:
        """Returns the pairs from `start` on."""
        return Self(
            self.values.unsafe_offset(start), self.places.unsafe_offset(start)
        )


def sift[
    dt: DType, descending: Bool
](
    pairs: Pairs[dt, descending],
    start: Int,
    count: Int,
    value: Scalar[dt],
    place: Int64,
):
    """Fills the hole at `start` of a heap of `count` pairs with a new pair.

    The hole goes down to a leaf along the later children, then the pair rises.
    """
    var hole = start
    var child = start
    while child < (count - 1) // 2:
        child = 2 * (child + 1)
        if pairs.less(child, child - 1):
            child -= 1
        pairs.move(child, hole)
        hole = child
    if count % 2 == 0 and child == (count - 2) // 2 and count >= 2:
        child = 2 * (child + 1)
        pairs.move(child - 1, hole)
        hole = child - 1
    while hole > start:
        var parent = (hole - 1) // 2
        if not before[dt, descending](pairs.value(parent), value):
            break
        pairs.move(parent, hole)
        hole = parent
    pairs.put(hole, value, place)


def make_heap[
    dt: DType, descending: Bool
](pairs: Pairs[dt, descending], count: Int):
    """Orders `count` pairs as a heap whose top comes last."""
    for k in range(count // 2):
        var parent = count // 2 - 1 - k
        sift(pairs, parent, count, pairs.value(parent), pairs.place(parent))


def sort_heap[
    dt: DType, descending: Bool
](pairs: Pairs[dt, descending], count: Int):
    """Sorts a heap."""
    for k in range(count - 1):
        var last = count - 1 - k
        var value = pairs.value(last)
        var place = pairs.place(last)
        pairs.move(0, last)
        sift(pairs, 0, last, value, place)


def heap_select[
    dt: DType, descending: Bool
](pairs: Pairs[dt, descending], middle: Int, count: Int):
    """Makes a heap of the first `middle` of `count` pairs."""
    make_heap(pairs, middle)
    for i in range(middle, count):
        if pairs.less(i, 0):
            var value = pairs.value(i)
            var place = pairs.place(i)
            pairs.move(0, i)
            sift(pairs, 0, middle, value, place)


def insertion_sort[
    dt: DType, descending: Bool
](pairs: Pairs[dt, descending], begin: Int, end: Int):
    """Sorts pairs [begin, end) stably."""
    for i in range(begin + 1, end):
        var value = pairs.value(i)
        var place = pairs.place(i)
        var j = i
        while j > begin and before[dt, descending](value, pairs.value(j - 1)):
            pairs.move(j - 1, j)
            j -= 1
        pairs.put(j, value, place)


@always_inline
def partition[
    dt: DType, descending: Bool
](pairs: Pairs[dt, descending], begin: Int, end: Int) -> Int:
    """Splits pairs [begin, end), more than three, around a median of three; returns the cut.
    """
    var a = begin + 1
    var b = begin + (end - begin) // 2
    var c = end - 1
    if pairs.less(a, b):
        if pairs.less(b, c):
            pairs.swap(begin, b)
        elif pairs.less(a, c):
            pairs.swap(begin, c)
        else:
            pairs.swap(begin, a)
    elif pairs.less(a, c):
        pairs.swap(begin, a)
    elif pairs.less(b, c):
        pairs.swap(begin, c)
    else:
        pairs.swap(begin, b)
    var first = begin + 1
    var last = end
    while True:
        while pairs.less(first, begin):
            first += 1
        last -= 1
        while pairs.less(begin, last):
            last -= 1
        if first >= last:
            return first
        pairs.swap(first, last)
        first += 1


def depth_limit(count: Int) -> Int:
    """Returns twice the logarithm of `count`: how often a range may be split.
    """
    var log = 0
    var n = count
    while n > 1:
        n //= 2
        log += 1
    return 2 * log


def nth_element[
    dt: DType, descending: Bool
](pairs: Pairs[dt, descending], nth: Int, count: Int):
    """Puts the pair that sorting would put at `nth` there, earlier ones before it.
    """
    if count == 0 or nth == count:
        return
    var begin = 0
    var end = count
    var depth = depth_limit(count)
    while end - begin > 3:
        if depth == 0:
            heap_select(pairs.moved(begin), nth + 1 - begin, end - begin)
            pairs.swap(begin, nth)
            return
        depth -= 1
        var cut = partition(pairs, begin, end)
        if cut <= nth:
            begin = cut
        else:
            end = cut
    insertion_sort(pairs, begin, end)


def split_runs[
    dt: DType, descending: Bool
](pairs: Pairs[dt, descending], begin: Int, end: Int, depth: Int):
    """Partitions until runs are short."""
    var last = end
    var left = depth
    while last - begin > SMALL_RUN:
        if left == 0:
            var rest = pairs.moved(begin)
            heap_select(rest, last - begin, last - begin)
            sort_heap(rest, last - begin)
            return
        left -= 1
        var cut = partition(pairs, begin, last)
        split_runs(pairs, cut, last, left)
        last = cut


def introsort[
    dt: DType, descending: Bool
](pairs: Pairs[dt, descending], count: Int):
    """Sorts pairs; equal ones stay in the order that introspective sort leaves.
    """
    if count > 1:
        split_runs(pairs, 0, count, depth_limit(count))
        insertion_sort(pairs, 0, count)


def quickselect[dt: DType](pairs: Pairs[dt, True], k: Int, count: Int):
    """Puts the k-th smallest pair (from 0) at k; `less` of the pairs means greater.
    """
    var left = 0
    var right = count - 1
    while right > left:
        if right == left + 1:
            if pairs.less(left, right):
                pairs.swap(left, right)
            return
        pairs.swap(left + (right - left) // 2, left + 1)
        if pairs.less(left + 1, right):
            pairs.swap(left + 1, right)
        if pairs.less(left, right):
            pairs.swap(left, right)
        if pairs.less(left + 1, left):
            pairs.swap(left + 1, left)
        var i = left + 1
        var j = right
        while True:
            i += 1
            while pairs.less(left, i):
                i += 1
            j -= 1
            while pairs.less(j, left):
                j -= 1
            if j < i:
                break
            pairs.swap(i, j)
        pairs.swap(left, j)
        if j <= k:
            left = i
        if j >= k:
            right = j - 1
