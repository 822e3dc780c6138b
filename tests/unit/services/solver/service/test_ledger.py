"""Notes of who asks what."""

from services.solver.core.provenance.callers import Producers, Request
from services.solver.core.provenance.sources import Sources
from services.solver.service.ledger import Ledger, inputs_of
from shared.llb import Constraints, MarshalDefaults, decode_definition, encode_definition, marshal
from shared.llb.sources import local_source
from shared.model import parse_platform


class FakeHandle:
    """A result of this definition."""

    def __init__(self, id: str, head: str) -> None:
        self.id, self.head = id, head


def test_a_frontends_results_are_known_by_it_until_the_build_ends() -> None:
    producers = Producers()
    ledger = Ledger(Request(), producers)
    client = ledger.caller("")
    started = ledger.begin(client, Request(frontend="f"))
    handle = FakeHandle("h", "sha256:1")

    ledger.end(client, started, [handle])  # type: ignore[list-item]

    assert ledger.caller(started.id) is started
    assert client.owner("h") is started
    made = producers.of("sha256:1")
    assert made is not None
    assert made.frontend == "f"
    ledger.close()
    assert producers.of("sha256:1") is None


def test_who_is_not_known_is_taken_for_the_client() -> None:
    ledger = Ledger(Request(), Producers())

    assert ledger.caller("from another solver") is ledger.client
    assert ledger.client.asked(Sources(), Producers()).frontend == ""


def test_inputs_go_by_the_digest_of_their_last_op() -> None:
    raw = encode_definition(marshal(local_source("a", Constraints()), MarshalDefaults(platform=parse_platform("linux/amd64"))))
    result = decode_definition(raw).result
    assert result is not None

    assert inputs_of({"in": raw, "broken": b"\xff\xff", "empty": b""}) == {"in": result.digest}
