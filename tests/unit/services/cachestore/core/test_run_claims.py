"""Claims: equal work meets whatever it is called by, unequal work never."""

from hypothesis import given, settings
from hypothesis import strategies as st

from services.cachestore.core.run_claims import LIFE, Claim, RunClaims


def claim(run: str) -> Claim:
    return Claim(solver=f"s-{run}", run=run)


def test_the_second_is_told_of_the_first() -> None:
    """By any name that both know."""
    claims = RunClaims()
    assert claims.claim([["a", "b"]], claim("1")) == claim("1")
    assert claims.claim([["b", "c"]], claim("2")) == claim("1")
    assert claims.claim([["c"]], claim("3")) == claim("3")


def test_every_input_has_to_agree() -> None:
    """One equal input is not enough."""
    claims = RunClaims()
    claims.claim([["0a"], ["1a"]], claim("1"))
    assert claims.claim([["0a"], ["1b"]], claim("2")) == claim("2")
    assert claims.claim([["0a"], ["1a", "1b"]], claim("3")) in (claim("1"), claim("2"))


def test_a_run_that_is_gone_is_taken_over_once() -> None:
    """The next one who says so finds the new one."""
    claims = RunClaims()
    claims.claim([["a"]], claim("1"))
    assert claims.claim([["a"]], claim("2"), gone="1") == claim("2")
    assert claims.claim([["a"]], claim("3"), gone="1") == claim("2")


def test_what_is_released_can_be_claimed_again() -> None:
    """And releasing twice is fine."""
    claims = RunClaims()
    claims.claim([["a"]], claim("1"))
    claims.release("1")
    claims.release("1")
    assert len(claims) == 0
    assert claims.claim([["a"]], claim("2")) == claim("2")


def test_the_oldest_are_forgotten() -> None:
    """A flood of claims doesn't grow the process."""
    claims = RunClaims(limit=2)
    for number in range(5):
        claims.claim([[f"n{number}"]], claim(str(number)))
    assert len(claims) == 2
    assert claims.find([["n0"]]) is None
    assert claims.find([["n4"]]) == claim("4")


NAMES = st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=2), min_size=1, max_size=2)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(NAMES, st.booleans()), max_size=12))
def test_a_claim_shares_a_name_with_every_input_and_nothing_leaks(steps: list[tuple[list[list[str]], bool]]) -> None:
    """Against a list that is searched."""
    claims = RunClaims()
    model: dict[str, set[str]] = {}
    for number, (names, keep) in enumerate(steps):
        tagged = [[f"{i}{name}" for name in alternatives] for i, alternatives in enumerate(names)]
        fits = {run for run, known in model.items() if all(known & set(alternatives) for alternatives in tagged)}
        got = claims.claim(tagged, claim(str(number)))
        assert got.run in fits if fits else got.run == str(number)
        if not fits:
            model[str(number)] = {name for alternatives in tagged for name in alternatives}
        if not keep:
            claims.release(got.run)
            del model[got.run]
    for run in list(model):
        claims.release(run)
    assert len(claims) == 0
    assert not claims._by_name


def test_claims_of_a_solver_that_fell_silent_end() -> None:
    """A killed solver releases nothing, and perhaps nobody ever wants the same again."""
    claims = RunClaims()
    for run, names in {"dead": "a", "alive": "b"}.items():
        claims.hear(f"s-{run}", 0.0)
        claims.claim([[names]], claim(run))
    claims.hear("s-alive", LIFE - 10)

    claims.expire(LIFE - 1)
    assert len(claims) == 2
    claims.expire(LIFE + 1)

    assert claims.claim([["b"]], claim("3")) == claim("alive")
    assert claims.claim([["a"]], claim("3")) == claim("3")
