"""API keys, for HTTP and gRPC alike."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence

from mojoaccel.serve.refusal import Refusal


class Keys:
    """The keys that a server accepts; without any, nobody needs one."""

    def __init__(self, accepted: Sequence[bytes]) -> None:
        """Keep the digests of the keys."""
        self._digests = [hashlib.sha256(k).digest() for k in accepted]

    def check(self, headers: Mapping[str, str]) -> None:
        """Look for a key in ``authorization: Bearer KEY`` or ``x-api-key: KEY``.

        Args:
            headers: HTTP headers, or a call's metadata, by lower-case name.

        Raises:
            Refusal: There is none, or none that is accepted (401).
        """
        if not self._digests:
            return
        scheme, _, key = headers.get("authorization", "").partition(" ")
        given = key if scheme.lower() == "bearer" else headers.get("x-api-key", "")
        digest = hashlib.sha256(given.strip().encode("utf-8", "surrogateescape")).digest()
        # Every key is compared, whichever fits: the time tells nothing.
        if not sum([hmac.compare_digest(digest, k) for k in self._digests]):
            raise Refusal(401, "missing or unknown API key")
