"""What can go wrong around the product: its broker, its store, its processes and its pages."""

from schemas.errors import SimpersonaError


class InfraError(SimpersonaError):
    """The root of this package's errors."""


class PortInUseError(InfraError):
    """A port that was asked for belongs to another program."""


class FolderLockedError(InfraError):
    """Another run already works in the data folder."""


class FolderUnusableError(InfraError):
    """The data folder cannot be written: the disk is full, or it is not ours to write."""


class ServiceFailedError(InfraError):
    """A supervised process did not come up, or ended by itself."""


class BrokerUnreachableError(InfraError):
    """No Kafka broker answers at the address."""


class StoreUnreachableError(InfraError):
    """No ClickHouse answers at the address, or it refuses us."""


class MigrationError(InfraError):
    """A migration file could not be applied, or was changed after it had been applied."""


class JavaMissingError(InfraError):
    """Java or Maven is needed for Apache Kafka and is not here."""


class CatalogueError(InfraError):
    """A merchant's catalogue for the demo storefront is missing or broken."""


class ClickError(InfraError):
    """A click that came over HTTP has a field that cannot be used."""


class ArgumentError(InfraError):
    """A command's option has a value that cannot be meant."""


class DemoError(InfraError):
    """A step of the demo failed or took too long."""


class BenchError(InfraError):
    """A benchmarked program failed, or took too long."""
