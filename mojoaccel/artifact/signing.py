"""Signs artifacts, and refuses those that a given key has not signed.

The signature (ed25519) is over manifest.json, which holds the hashes of everything that is loaded.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mojoaccel.artifact.archive import open_folder
from mojoaccel.errors import error
from mojoaccel.paths import cache_root

SIGNATURE = "manifest.sig"


def sign(folder: Path, key: Path) -> None:
    """Write the signature of an artifact folder.

    Args:
        folder: The artifact.
        key: A private ed25519 key, PEM without a password.

    Raises:
        MojoaccelError: MA712, the key cannot be used.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    found = _read_key(key, lambda data: load_pem_private_key(data, None))
    if not isinstance(found, Ed25519PrivateKey):
        raise error("MA712", f"{key} holds no private ed25519 key")
    signature = found.sign((folder / "manifest.json").read_bytes())
    (folder / SIGNATURE).write_bytes(base64.b64encode(signature) + b"\n")


def signature_check(key: Path) -> Callable[[Path], None]:
    """Return a function that raises for an artifact that `key` has not signed.

    Args:
        key: A public ed25519 key, PEM.

    Raises:
        MojoaccelError: MA712, the key cannot be used; the function raises MA713.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    public = _read_key(key, load_pem_public_key)
    if not isinstance(public, Ed25519PublicKey):
        raise error("MA712", f"{key} holds no public ed25519 key")

    def check(path: Path) -> None:
        folder = open_folder(path, cache_root() / "unpacked")
        try:
            signature = base64.b64decode((folder / SIGNATURE).read_bytes().strip(), validate=True)
            public.verify(signature, (folder / "manifest.json").read_bytes())
        except OSError as e:
            raise error("MA713", f"{path.name} is not signed") from e
        except (InvalidSignature, ValueError) as e:
            raise error("MA713", f"{path.name}: the signature is not of {key.name}") from e

    return check


def _read_key(path: Path, read: Callable[[bytes], Any]) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        return read(path.read_bytes())
    except OSError as e:
        raise error("MA712", f"{path} cannot be read: {e.strerror or e}") from e
    except (ValueError, TypeError, UnsupportedAlgorithm) as e:
        raise error("MA712", f"{path} holds no key that can be used: {e}") from e
