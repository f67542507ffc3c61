"""Every error the live path raises on purpose: one branch of the product's tree."""

from schemas.errors import SimpersonaError


class StreamError(SimpersonaError):
    """Something about the live path that the user can mend."""


class RetryLater(StreamError):  # noqa: N818 - named for what to do, not for what went wrong
    """A store or broker is away for now; nothing is lost, the same call may be made again after ``retry_after_s``."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
