"""Checks of what `mojoaccel deploy` needs."""

from __future__ import annotations

import re
import socket
from importlib import metadata

from mojoaccel.doctor.check import Check, Facts, Outcome, passed, skipped, warned
from mojoaccel.doctor.python import installed

PORT = 8000


def packages(facts: Facts) -> Outcome:
    """Look for the packages of the serve extra."""
    needed = extra("serve")
    if not needed:
        return skipped("this version of mojoaccel has no server")
    missing = [name for name in needed if installed(name) is None]
    if missing:
        return warned(
            "the packages of the server are not installed",
            *(f"{name} is not installed" for name in missing),
            expected="them, if models are to be served from here",
            fix='pip install "mojoaccel[serve]"',
        )
    return passed("the server's packages are installed", *needed)


def port(facts: Facts) -> Outcome:
    """See whether the server's usual port is free."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", PORT))
        except OSError as e:
            return warned(
                f"port {PORT} is in use: {e.strerror}",
                expected="a free port, if models are to be served from here",
                fix=f"ss -ltnp 'sport = :{PORT}'",
            )
    return passed(f"port {PORT} is free")


def extra(name: str) -> list[str]:
    """Return the packages that an extra of mojoaccel asks for."""
    try:
        lines = metadata.requires("mojoaccel") or []
    except metadata.PackageNotFoundError:
        return []
    wanted = [li for li in lines if re.search(rf"extra == ['\"]{name}['\"]", li)]
    names = [re.match(r"[\w.-]+", li) for li in wanted]
    return [match[0] for match in names if match and match[0] != "mojoaccel"]


CHECKS = (
    Check("serving.packages", "server", packages),
    Check("serving.port", "port 8000", port, ("serving.packages",)),
)
