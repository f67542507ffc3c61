"""Simulated buyers: persona tokens, fine-tuning, population sampling, storefronts and simulators.

Each room uses only those above it:

    storefront/  a storefront as shoppers meet it: what can be done next, and the click that comes of it
    walk/        a crowd walked through a storefront, compiled
    traces/      real sessions as actions, to learn from and to be judged by
    population/  who walks in: mixes of buyer types and the shoppers drawn from them
    models/      what decides for shoppers: language models, a Markov chain, replay, an endpoint
    text/        language models that read sessions as text
    simulators/  trained simulators as folders, and how they are trained and adapted
    crowds/      single runs, living populations, and their clicks on the way into the stream
    alignment/   do simulated buyers behave like real ones?
    variants/    storefront changes tried on simulated buyers
    goals/       find and buy
    browser/     shoppers on real web pages

``backends.py`` is the seam between them: whatever decides, decides through it.
"""

import schemas.kernel_cache as _kernel_cache  # noqa: F401 - must come before numba
