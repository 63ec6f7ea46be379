"""The answer to a request that cannot be served; the transports turn it into their own form."""

from __future__ import annotations


class Refusal(Exception):
    """A request is refused, with an HTTP status.

    Attributes:
        status: HTTP status, 4xx or 503 or 504.
        message: What was wrong: what was expected and what came.
        retry_after: Seconds after which trying again makes sense; 0 if it does not.
        allow: The methods that there are, where it is the method that is refused.
    """

    def __init__(
        self, status: int, message: str, retry_after: int = 0, allow: tuple[str, ...] = ()
    ) -> None:
        """Keep the reason."""
        super().__init__(message)
        self.status = status
        self.message = message
        self.retry_after = retry_after
        self.allow = allow


def bad(message: str) -> Refusal:
    """Return the refusal of a request that is wrong in itself."""
    return Refusal(400, message)
