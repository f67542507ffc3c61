"""Simulated buyers: persona tokens, fine-tuning, population sampling, storefronts and simulators."""

import schemas.kernel_cache as _kernel_cache  # noqa: F401 - must come before numba
