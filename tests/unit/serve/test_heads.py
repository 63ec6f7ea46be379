"""Heads of requests that came before are found by their bytes, and by nothing less."""

from mojoaccel.serve.heads import KEPT, MAX_BYTES, Head, Heads

BYTES = b"POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n"
HEAD = Head("m", "", "/v2/models/m/infer", {"host": "x", "content-length": "5"}, 5)


def test_a_head_is_known_with_other_bodies_of_its_length():
    heads = Heads()
    assert heads.find(BYTES + b"12345") is None
    heads.keep(BYTES + b"12345", HEAD)
    assert heads.find(BYTES + b"\r\n\r\n!") == (HEAD, b"\r\n\r\n!")
    for other in (b"1234", b"123456", b""):
        assert heads.find(BYTES + other) is None
    assert heads.find(BYTES.replace(b"Host", b"host") + b"12345") is None
    assert heads.find(BYTES[:-1]) is None


def test_what_is_no_single_request_is_not_kept():
    """Two requests in one piece, and a head that the parser took from elsewhere."""
    heads = Heads()
    heads.keep(BYTES + b"12345" + BYTES + b"12345", HEAD)
    heads.keep(b"", HEAD)
    heads.keep(b"12345", HEAD)
    assert heads._known == {}


def test_memory_is_bounded():
    heads = Heads()
    for number in range(KEPT + 10):
        heads.keep(b"%d" % number + BYTES + b"12345", HEAD)
    assert len(heads._known) <= KEPT
    large = b"X: " + b"x" * MAX_BYTES + b"\r\n" + BYTES
    heads.keep(large + b"12345", HEAD)
    assert heads.find(large + b"12345") is None
