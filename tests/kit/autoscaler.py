"""A stand-in for the Nomad Autoscaler, whose program can't be had where these tests run: what it does with a policy that Nomad has.

By its source (0.5): each check asks Prometheus for a range, a strategy makes a wish of the answer, the wishes of a group of checks
compete (more, before fewer; one without a wish counts only where none has one), and the count is kept within the policy's bounds. Between
groups «no wish» wins over «fewer».
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tests.kit.clients import ClientFailed
from tests.kit.parts.nomad import Nomad

TOLERANCE: Final = 0.01
"""Of target-value: a factor this near to 1 asks for nothing."""

Ask = Callable[[str, float], list[float]]
"""(query, seconds back) -> the values of its only series, a second apart."""


@dataclass(slots=True, kw_only=True)
class Autoscaler:
    """Follows the only scaling policy of a job. `scaled` are the counts that it asked for."""

    nomad: Nomad
    ask: Ask
    job: str
    group: str
    scaled: list[int] = field(default_factory=list)
    _next: float = 0.0
    _rest: float = 0.0

    def policy(self) -> dict[str, Any]:
        [found] = self.nomad.api(f"scaling/policies?job={self.job}")
        policy: dict[str, Any] = self.nomad.api(f"scaling/policy/{found['ID']}")
        return policy

    def look(self) -> None:
        """An evaluation when it is time for one; while the policy's cooldown lasts it changes nothing."""
        if time.monotonic() < self._next:
            return
        policy = self.policy()
        rules: dict[str, Any] = policy["Policy"]
        self._next = time.monotonic() + seconds(rules["evaluation_interval"])
        count = int(self.nomad.api(f"job/{self.job}/scale")["TaskGroups"][self.group]["Desired"])
        wish = decide(rules["check"], count, self.ask)
        if wish is None or time.monotonic() < self._rest:
            return
        wanted = min(max(wish, policy["Min"]), policy["Max"])
        if wanted != count and self._asked_for(wanted):
            self.scaled.append(wanted)
            self._rest = time.monotonic() + seconds(rules["cooldown"])

    def _asked_for(self, count: int) -> bool:
        """False while a deployment goes on: then it is tried again at the next evaluation."""
        try:
            self.nomad.call("job", "scale", "-detach", self.job, self.group, str(count))
        except ClientFailed as error:
            if "active deployment" not in str(error):
                raise
            return False
        return True


def decide(checks: Sequence[Mapping[str, Any]], count: int, ask: Ask) -> int | None:
    """The wish that wins: None = to stay."""
    groups: dict[str, list[int | None]] = {}
    for named in checks:
        for name, [rule] in named.items():
            values = ask(rule["query"], seconds(rule["query_window"]))
            assert values, f"{name}: no answer; the autoscaler gives its evaluation up"
            [strategy] = rule["strategy"]
            groups.setdefault(rule.get("group", ""), []).append(wish_of(strategy, count, values))
    wishes = [_winner([w for w in wishes if w is not None] if group else wishes, count) for group, wishes in groups.items()]
    return _winner(wishes, count)


def _winner(wishes: list[int | None], count: int) -> int | None:
    """More before staying before fewer."""
    best = max((count if wish is None else wish for wish in wishes), default=count)
    return None if best == count else best


def wish_of(strategy: Mapping[str, Any], count: int, values: list[float]) -> int | None:
    """None = no wish."""
    [(name, [settings])] = strategy.items()
    match name:
        case "target-value":
            factor = values[-1] / float(settings["target"])
            return None if abs(factor - 1) <= TOLERANCE else math.ceil(count * factor)
        case "threshold":
            within = [v for v in values if float(settings["lower_bound"]) <= v < float(settings["upper_bound"])]
            return count + int(settings["delta"]) if len(within) >= int(settings["within_bounds_trigger"]) else None
    raise AssertionError(f"a strategy that is not used here: {name}")


def seconds(text: str) -> float:
    """`30s`."""
    assert text.endswith("s"), text
    return float(text[:-1])
