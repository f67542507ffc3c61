"""Errors of the simulators' room."""

from schemas.errors import SimpersonaError


class AgentError(SimpersonaError):
    """Root of this package's errors."""


class TraceError(AgentError):
    """Events and assignments do not fit together, or hold too little to learn from."""


class ModelError(AgentError):
    """A simulator's folder is absent, incomplete, altered, or made for another codebook."""


class ShopError(AgentError):
    """A merchant's storefront cannot be built: unknown merchant, or no product was ever seen there."""


class PopulationError(AgentError):
    """There is no mix of buyer types to draw from, or the store that holds it cannot be read."""


class EndpointError(AgentError):
    """The model behind an endpoint does not answer, or no endpoint is set."""


class VariantError(AgentError):
    """A storefront variant cannot be read, or cannot be tried on this storefront or with this simulator."""


class PublishError(AgentError):
    """The broker does not take the simulated clicks."""


class BrowserError(AgentError):
    """Chromium or Playwright is not there or does not start, or the storefront's pages do not answer."""
