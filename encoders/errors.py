"""Errors of the encoders' room: event logs and raw logs."""

from schemas.errors import SimpersonaError


class EncodersError(SimpersonaError):
    """Root of this package's errors."""


class EventLogError(EncodersError):
    """An event log is absent, damaged, unsorted, lacks a column or cannot be written."""


class EmptyLogError(EventLogError):
    """An event log, or a raw log after import, holds no event."""


class RawLogError(EncodersError):
    """A raw log is absent, truncated, of another format or unknown."""


class TrainingDataError(EncodersError):
    """The event logs hold too little, or nothing usable, to train an encoder on."""


class CheckpointError(EncodersError):
    """An interrupted training cannot be gone on with: asked otherwise, damaged, in use, or its folder unwritable."""


class ArtefactError(EncodersError):
    """An encoder folder is absent, incomplete, altered or made for other features than this release computes."""


class GeneratorError(EncodersError):
    """A generator run has a size that makes no sense, or one of its files cannot be written."""
