"""From raw clicks to a buyer type: logs, features, the VQ-VAE, training, artefacts and serving."""

import schemas.kernel_cache as _kernel_cache  # noqa: F401 - must come before numba
