"""What each identity may hold at one of several solvers, so that shares are even in the whole fleet.

Solvers tell each other how much each identity wants; from the same numbers all of them compute the same division (max-min fairness by
weight), and each takes the part of an identity's share that the identity wants there.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from math import ceil

__all__ = ["portions"]

Wants = Mapping[str, int]  # identity → work that it has given to a pool, or would


def portions(capacity: int, own: Wants, others: Iterable[Wants], weights: Mapping[str, float]) -> dict[str, int]:
    """How much each identity of `own` may hold here, at least one, of what a pool takes in all."""
    total = Counter(own)
    for wants in others:
        total.update(wants)
    shares = _divided(capacity, total, weights)
    return {identity: max(1, ceil(shares[identity] * wanted / total[identity] - 1e-9)) for identity, wanted in own.items() if wanted > 0}


def _divided(capacity: float, wanted: Wants, weights: Mapping[str, float]) -> dict[str, float]:
    """What is left over by those who want less than their share goes to the others, by weight."""
    left = {identity: max(weights.get(identity, 1.0), 0.001) for identity, number in wanted.items() if number > 0}
    shares: dict[str, float] = {}
    while left:
        level = capacity / sum(left.values())
        content = [identity for identity, weight in left.items() if wanted[identity] <= level * weight]
        if not content:
            return shares | {identity: level * weight for identity, weight in left.items()}
        for identity in content:
            shares[identity] = wanted[identity]
            capacity -= wanted[identity]
            del left[identity]
    return shares
