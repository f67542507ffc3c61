"""Kafka topic names and keys: the contract between producers, workers and simulators."""

CLICKS_RAW = "clicks.raw"
CLICKS_SIMULATED = "clicks.simulated"
CLICKS_REJECTED = "clicks.rejected"
SESSIONS_ASSIGNED = "sessions.assigned"
PERSONAS_DISTRIBUTION = "personas.distribution"
PERSONAS_CODEBOOKS = "personas.codebooks"
SESSIONS_CHANGELOG = "sessions.changelog"

#: The source of real shoppers' sessions.
LIVE = "live"
#: Where a click topic's sessions come from, as written in ``session_assignments.source``.
SOURCE_OF_TOPIC = {CLICKS_RAW: LIVE, CLICKS_SIMULATED: "simulated"}

#: Topics that keep only the latest record of a key.
COMPACTED = frozenset({PERSONAS_DISTRIBUTION, PERSONAS_CODEBOOKS, SESSIONS_CHANGELOG})


def click_key(merchant_id: str, client_id: str) -> bytes:
    """Return the Kafka key of a click: one client at one merchant always lands in one partition."""
    return f"{merchant_id}|{client_id}".encode()
