"""What ``simpersona simulate --adapt`` does before the run: a storefront adapter from the storefront's own sessions."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent_runtime.simulators.adapter import Adapter
    from agent_runtime.simulators.simulator import Simulator
    from agent_runtime.storefront.shop import Shop

#: Backends whose scores an adapter can be added to.
ADAPTED = ("local", "text", "markov")


def adapter_of(simulator: "Simulator", backend: str, events: list[Path], gap_ms: int, shop: "Shop") -> "Adapter":
    """Return the adapter of a shop for one of the simulator's backends, types told by the encoder of the settings.

    Raises ArtefactError without the encoder, ModelError when it is not the simulator's, EventLogError,
    TrainingDataError or PopulationError when the logs show no session of the shop.
    """
    from agent_runtime.backends import Backend
    from agent_runtime.errors import ModelError
    from agent_runtime.simulators.adapter import learn_adapter
    from encoders.serving import Encoder
    from encoders.sessionise import read_sessions
    from schemas.settings import settings

    dials, played_by = settings(), simulator.backend(backend)
    if not isinstance(played_by, Backend):
        raise ModelError(f"--adapt cannot read sessions out to --backend {backend}; choose markov.")
    encoder = Encoder.load(dials.encoder)
    log = read_sessions(events, gap_ms, dials.session_max_events)
    return learn_adapter(played_by, simulator.vocabulary, log, encoder, shop)
