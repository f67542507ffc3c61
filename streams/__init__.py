"""The live path: pure cores (sessions, distribution, drift) and a thin Faust shell around them."""

import schemas.kernel_cache as _kernel_cache  # noqa: F401 - must come before numba
