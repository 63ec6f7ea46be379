"""``deploy --check``: everything that can be checked without loading or listening."""

from __future__ import annotations

from mojoaccel.artifact.archive import open_folder
from mojoaccel.artifact.manifest import read_manifest
from mojoaccel.paths import cache_root
from mojoaccel.runtime.session import check_files, check_platform
from mojoaccel.serve.options import ServeOptions
from mojoaccel.serve.repository import Repository
from mojoaccel.serve.server import check_tls


def check_options(options: ServeOptions) -> list[str]:
    """Return the names of the models that would be served.

    Raises:
        MojoaccelError: What would keep the server from starting.
    """
    check_tls(options)
    repository = Repository(options)
    repository.look()
    for entry in repository.entries.values():
        folder = open_folder(entry.path, cache_root() / "unpacked")
        manifest = read_manifest(folder)
        check_platform(manifest)
        check_files(folder, manifest)
    return sorted({e.name for e in repository.entries.values()})
