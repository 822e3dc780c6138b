"""Who asked what."""

from services.solver.core.provenance.callers import Caller, Producers, Request
from services.solver.core.provenance.request import Asked, asked
from services.solver.core.provenance.sources import ImageSource, Sources


def build(**options: str) -> tuple[Caller, Caller]:
    """A client that runs a frontend."""
    client = Caller(root=Request(options=options))
    frontend = client.frontend("f", Request(frontend="dockerfile.v0", options={"build-arg:A": "1"}))
    client.below.append(frontend)
    return client, frontend


def test_a_result_belongs_to_the_innermost_that_has_it() -> None:
    client, frontend = build()
    client.handles, frontend.handles = ["own", "shared"], ["shared"]

    assert client.owner("shared") is frontend
    assert client.owner("own") is client
    assert client.owner("unknown") is None
    assert list(client.all_handles()) == ["own", "shared", "shared"]


def test_images_of_all_below_count() -> None:
    client, frontend = build()
    client.images, frontend.images = [ImageSource(ref="a")], [ImageSource(ref="b")]

    assert [image.ref for image in client.all_images()] == ["a", "b"]
    assert [image.ref for image in frontend.all_images()] == ["b"]


def test_the_clients_own_solves_have_no_request() -> None:
    client, _ = build(**{"build-arg:X": "1"})

    assert client.asked(Sources(), Producers()) == Asked()


def test_the_builds_own_request_is_the_root_unless_it_says_nothing_new() -> None:
    _, frontend = build(**{"build-arg:X": "1"})
    _, plain = build(**{"attest:provenance": "mode=max"})
    same = Caller(request=Request(frontend="f"), root=Request(frontend="f"))

    root = frontend.asked(Sources(), Producers()).root
    assert root is not None
    assert root.args == {"build-arg:X": "1"}
    assert plain.asked(Sources(), Producers()).root is None
    assert same.asked(Sources(), Producers()).root is None


def test_inputs_are_told_by_who_made_them() -> None:
    producers = Producers()
    made = producers.add("sha256:1", Asked(frontend="maker", root=Asked(frontend="r")))
    caller = Caller(request=Request(frontend="f", inputs={"in": "sha256:1", "other": "sha256:2"}))

    assert caller.asked(Sources(), producers).inputs == {"in": Asked(frontend="maker")}
    producers.add("sha256:1", Asked(frontend="another"))
    assert caller.asked(Sources(), producers).inputs == {}
    producers.forget(made)
    assert caller.asked(Sources(), producers).inputs == {"in": Asked(frontend="another")}


def test_the_context_becomes_the_config_source() -> None:
    sources = Sources(git={"https://example.org/x.git#v1": "c" * 40}, http={"https://example.org/f": "sha256:ab"})

    git = asked("dockerfile.v0", {"context": "https://example.org/x.git#v1:sub", "filename": "D", "platform": "p"}, sources)
    http = asked("dockerfile.v0", {"context": "https://example.org/f"}, sources)
    renamed = asked("f", {"contextkey": "ctx", "ctx": "https://me:pw@example.org/f2"}, sources)

    assert git.source.to_json() == {"uri": "https://example.org/x.git#v1:sub", "digest": {"sha1": "c" * 40}, "path": "D"}
    assert git.args == {}
    assert http.source.to_json() == {"uri": "https://example.org/f", "digest": {"sha256": "ab"}}
    assert renamed.source.to_json() == {"uri": "https://xxxxx:xxxxx@example.org/f2"}
    assert renamed.args == {"contextkey": "ctx"}


def test_scrubbing_drops_arguments_and_labels_everywhere() -> None:
    request = Asked(args={"build-arg:A": "1", "target": "t"}, inputs={"i": Asked(args={"label:l": "v"})}, root=Asked(args={"x": "y"}))

    shown, lost = request.scrubbed()

    assert lost
    assert shown.args == {"target": "t"}
    assert shown.inputs["i"].args == {}
    assert shown.root == Asked(args={"x": "y"})
    assert Asked(args={"target": "t"}).scrubbed() == (Asked(args={"target": "t"}), False)


def test_the_repository_is_shown_without_credentials_wherever_a_request_stands() -> None:
    """As an input or the root of another one, too."""
    shown = asked("f", {"vcs:source": "https://me:canary@host/repo", "context": "https://me:canary@host/repo.git"}, Sources())

    assert "canary" not in str(Asked(inputs={"in": shown}, root=shown).request_json())
