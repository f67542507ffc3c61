"""Contracts: Avro schemas, event taxonomy, columnar batches, codec and ClickHouse migrations."""

import schemas.kernel_cache as _kernel_cache  # noqa: F401 - must come before numba
