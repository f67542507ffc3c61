"""Every error the live path raises on purpose: one branch of the product's tree."""

from schemas.errors import SimpersonaError


class StreamError(SimpersonaError):
    """Something about the live path that the user can mend."""


class RetryLater(StreamError):  # noqa: N818 - named for what to do, not for what went wrong
    """A store or broker is away for now; nothing is lost, the same call may be made again after ``retry_after_s``."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class SessionRuleError(StreamError):
    """A session rule (gap, lateness, cap) has a value that cannot be meant."""


class SessionStateError(StreamError):
    """A changelog record of open sessions was written by another release or is damaged."""


class StoreError(StreamError):
    """ClickHouse answered that it cannot do what was asked; trying again will not help."""


class UnknownMerchantError(StreamError):
    """Nothing is stored about a merchant that was asked for."""


class AssignmentLogError(StreamError):
    """A file of assignments cannot be written."""


class CodebookTopicError(StreamError):
    """The topic of published codebooks is not there, is empty, or holds something that cannot be served."""
