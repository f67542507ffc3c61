"""``simpersona simulate --backend openai``: a model behind an endpoint, and its price before it is asked."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent_runtime.crowds.simulation import Plan
    from agent_runtime.models.endpoint import Endpoint
    from agent_runtime.simulators.simulator import Simulator
    from agent_runtime.storefront.shop import Shop

OPENAI = "openai"


def endpoint_of(simulator: "Simulator") -> "Endpoint":
    """Return the backend that the settings name. Raises EndpointError when they name none."""
    from agent_runtime.errors import EndpointError
    from agent_runtime.models.endpoint import Address, Endpoint
    from encoders.artefact import read_personas
    from encoders.errors import ArtefactError
    from schemas.settings import settings

    dials = settings()
    if not dials.endpoint or not dials.endpoint_model:
        raise EndpointError(
            "No endpoint is set; name one with SIMPERSONA_ENDPOINT (like http://127.0.0.1:8000/v1) and its model with "
            "SIMPERSONA_ENDPOINT_MODEL."
        )
    try:
        personas = read_personas(dials.encoder)["codes"]
    except ArtefactError:  # types then go by their names alone
        personas = []
    return Endpoint(
        Address(dials.endpoint, dials.endpoint_model, dials.endpoint_key, dials.endpoint_at_once),
        simulator.chain(),
        {str(persona["code_path"]): str(persona["sentence"]) for persona in personas},
    )


def price(endpoint: "Endpoint", plan: "Plan", shop: "Shop") -> str:
    """Return in one sentence what a plan's run would take and cost."""
    from agent_runtime.models.cost import Prices, preview
    from agent_runtime.population.population import quotas
    from agent_runtime.storefront.storefront import Storefront
    from agent_runtime.walk.rollout import Span
    from schemas.settings import settings

    span = Span(plan.start_ms, plan.start_ms + plan.span_ms)
    prices = Prices(settings().endpoint_price_in, settings().endpoint_price_out)
    codes = quotas(plan.mix, plan.buyers, plan.seed)
    return preview(endpoint, Storefront(shop), codes, span, plan.gap_ms, prices, plan.buyers).sentence()
