"""A storefront and its variant, peopled with the same shoppers: same types, same numbers drawn, one thing changed."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from agent_runtime.backends import Backend, Rowwise
from agent_runtime.errors import VariantError
from agent_runtime.models.response import Response, responding
from agent_runtime.population.population import Mix, quotas
from agent_runtime.storefront.session import PlayedSession
from agent_runtime.storefront.shop import Shop
from agent_runtime.storefront.storefront import Storefront
from agent_runtime.variants.effects import F64, Effect, Shift, effects, outcomes
from agent_runtime.variants.until_checkout import until_checkout
from agent_runtime.variants.variant import Variant
from agent_runtime.vocabulary import Vocabulary
from agent_runtime.walk.rollout import Span, play
from schemas.events import I32

#: Draws of how far a change moves shoppers between types, and of what each type answers: these are played, one a round,
#: an even number of them.
DRAWS, ROUNDS = 200, 8


@dataclass(frozen=True, slots=True)
class Crowd:
    """Who plays, and by what: everything that control and variant share.

    known  sessions that the mix was counted from
    """

    backend: Backend | Rowwise
    vocabulary: Vocabulary
    response: Response | None
    codes: I32
    known: float
    span: Span
    seed: int
    gap_ms: int

    @property
    def rounds(self) -> int:
        """How often both storefronts are played: once, where there are no answers to be in doubt of."""
        return 1 if self.response is None else ROUNDS


def crowd_of(
    backend: Backend | Rowwise,
    vocabulary: Vocabulary,
    response: Response | None,
    mix: Mix,
    buyers: int,
    span: Span,
    seed: int,
    gap_ms: int,
) -> Crowd:
    """Return ``buyers`` shoppers of a merchant's mix, by largest remainder."""
    return Crowd(backend, vocabulary, response, quotas(mix, buyers, seed), mix.n_effective, span, seed, gap_ms)


def visit(
    crowd: Crowd,
    shop: Shop,
    delay_ms: int = 0,
    done: Callable[[int], None] = lambda _: None,
    browsed: Shop | None = None,
) -> list[PlayedSession]:
    """Return the crowd's sessions in a storefront. ``done`` is told shoppers as they finish.

    ``browsed`` is the storefront as they know it until their checkout begins, if not the same. Who wants several of a
    product takes the mean quantity: the crates that a few buy would drown what a change does.
    """
    backend = _answering(crowd, shop)
    if browsed is not None and (flags := browsed.capabilities.flags()) != shop.capabilities.flags():
        backend = until_checkout(_answering(crowd, browsed), backend, crowd.vocabulary, flags)
    return play(
        backend,
        crowd.vocabulary,
        Storefront(replace(shop, quantities=evened(shop.quantities)), delay_ms),
        np.arange(len(crowd.codes)),
        crowd.codes,
        crowd.span,
        crowd.seed,
        crowd.gap_ms,
        done,
        coupled=True,
    ).sessions


def _answering(crowd: Crowd, shop: Shop) -> Backend | Rowwise:
    if crowd.response is None:
        return crowd.backend
    return responding(crowd.backend, crowd.vocabulary, crowd.response, shop)


def evened(quantities: tuple[int, ...]) -> tuple[int, ...]:
    """Return as many whole numbers of the same sum that differ by one at most, rising."""
    least, more = divmod(sum(quantities), len(quantities))
    return (least,) * (len(quantities) - more) + (least + 1,) * more


def outcomes_of(
    crowd: Crowd,
    shop: Shop,
    delay_ms: int = 0,
    done: Callable[[int], None] = lambda _: None,
    browsed: Shop | None = None,
) -> list[F64]:
    """Return a crowd's ``outcomes`` (n, M) in a storefront, round by round; ``done`` and ``browsed`` as in ``visit``.

    Every round draws other numbers and, where the simulator was told of conditions, answers of its own: by two and two
    as far off one way as the other, so that the rounds' mean is that of the answers as learnt (antithetic variates).
    """
    told = crowd.response
    if told is None:
        return [outcomes(visit(crowd, shop, delay_ms, done, browsed))]
    rounds = []
    for turn in range(crowd.rounds):
        answers = told.drawn(crowd.seed + 1 + turn // 2, mirrored=turn % 2 == 1)
        one = replace(crowd, response=answers, seed=crowd.seed + turn)
        rounds.append(outcomes(visit(one, shop, delay_ms, done, browsed)))
    return rounds


def visits_of(crowd: Crowd) -> int:
    """Return how many sessions it takes to try one variant on a crowd."""
    return 2 * len(crowd.codes) * crowd.rounds


def try_variant(
    crowd: Crowd,
    shop: Shop,
    variant: Variant,
    control: list[F64] | None = None,
    done: Callable[[int], None] = lambda _: None,
) -> list[Effect]:
    """Return what a variant does to a crowd; ``control`` is ``outcomes_of`` it without, where it was played already.

    Raises VariantError when the variant cannot be, or asks for what the simulator was never told of.
    """
    changed, browsed = variant.apply(shop), variant.browsed(shop)
    if variant.told and crowd.response is None:
        raise VariantError(
            f"{variant.name}: the simulator was not told of storefront conditions, so it cannot know what they change; "
            "finetune it with --storefronts."
        )
    before = outcomes_of(crowd, shop, 0, done) if control is None else control
    after = outcomes_of(crowd, changed, round(1000 * variant.page_delay_s), done, browsed)
    return effects(
        list(zip(before, after, strict=True)),
        [crowd.vocabulary.code_paths[code].partition(".")[0] for code in crowd.codes],
        # A type is read off whole sessions: without a step behind the checkout they only look like others' sessions.
        shift_of(crowd, shop, browsed),
        crowd.seed,
        crowd.known,
    )


def shift_of(crowd: Crowd, before: Shop, after: Shop) -> Shift:
    """Return how a change moves the crowd between types; nowhere, where the simulator was told of no conditions."""
    if crowd.response is None:
        return Shift(np.ones(len(crowd.codes)), np.empty((0, len(crowd.codes))))
    draws = [crowd.response.drawn(crowd.seed + 1 + turn).odds(before, after) for turn in range(DRAWS)]
    weights = crowd.response.odds(before, after)[crowd.codes]
    drawn = np.array(draws)[:, crowd.codes]
    return Shift(weights / weights.mean(), drawn / drawn.mean(axis=1, keepdims=True))
