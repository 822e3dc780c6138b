"""What is remembered of hosts and askers: as long as it is of use, since each build is an asker of its own."""

from collections.abc import Sequence

from shared.registry.auth import Authorizer, Token
from shared.registry.challenge import Challenge


class Build:
    """Its client fetches tokens itself, or says a password."""

    def __init__(self, identity: str) -> None:
        self.identity = identity

    async def fetch_token(self, host: str, *, realm: str, service: str, scopes: Sequence[str]) -> Token | None:
        return Token(text=f"t-{self.identity}", expires_in=100.0)

    async def login(self, host: str) -> tuple[str, str]:
        return self.identity, "secret"


async def test_askers_are_forgotten() -> None:
    now = 0.0
    authorizer = Authorizer(lambda: None, clock=lambda: now)
    bearer, basic = Challenge(scheme="bearer", params={"realm": "https://r"}), Challenge(scheme="basic", params={})
    first, last = Build("first"), Build("last")

    assert await authorizer.answer("h", bearer, first, ["s"], refused="") == "Bearer t-first"
    assert authorizer.header("h", first, ["s"]) == "Bearer t-first"
    for number in range(2000):
        now += 1.0
        await authorizer.answer("h", bearer, Build(f"b{number}"), ["s"], refused="")
        await authorizer.answer("g", basic, Build(f"b{number}"), ["s"], refused="")
    await authorizer.answer("h", bearer, last, ["s"], refused="")
    await authorizer.answer("g", basic, last, ["s"], refused="")

    assert authorizer.header("h", first, ["s"]) == ""
    assert authorizer.header("h", last, ["s"]) == "Bearer t-last"
    assert authorizer.header("g", last, ["s"]).startswith("Basic ")
    assert authorizer.statistics() == {"tokens": 91, "passwords": 1000, "asking": 0}


async def test_no_token_is_for_ever() -> None:
    now = 0.0
    authorizer, build = Authorizer(lambda: None, clock=lambda: now), Build("b")
    build.fetch_token = lambda *_, **__: _forever()  # type: ignore[method-assign]
    await authorizer.answer("h", Challenge(scheme="bearer", params={"realm": "https://r"}), build, ["s"], refused="")
    assert authorizer.header("h", build, ["s"]) == "Bearer t"
    now = 86400.0
    assert authorizer.header("h", build, ["s"]) == ""


async def _forever() -> Token:
    return Token(text="t", expires_in=float("inf"))
