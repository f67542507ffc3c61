"""The live path: pure cores (sessions, mixes, drift) and a thin Faust shell around them.

Each room uses only those above it:

    broker/      what lies in Kafka, and how it is read, written and acknowledged
    sessions/    session windows: events in, sessions out (pure)
    mixes/       a merchant's mix of buyer types, counted and decayed
    drift/       has it changed? (pure)
    store/       what lies in ClickHouse: the only writer, and what reads it back
    codebooks/   encoders on their way to the workers
    hops/        the two hops of a click, and what drives them
    event_logs/  between event logs and the stream: replay, the offline pass, recovery

A worker (``worker.py``, ``app.py``) puts them together.
"""

import schemas.kernel_cache as _kernel_cache  # noqa: F401 - must come before numba
