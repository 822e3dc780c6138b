"""From nodes to typed instructions."""

from typing import TypeVar

import pytest

from services.frontend.core.dockerfile import commands as c
from services.frontend.core.dockerfile.flags import FlagKind, parse_flags
from services.frontend.core.dockerfile.health import parse_healthcheck
from services.frontend.core.dockerfile.instructions import common, parse_command
from services.frontend.core.dockerfile.mounts import MountType, Sharing, parse_mount
from services.frontend.core.dockerfile.parser import parse
from services.frontend.core.dockerfile.run import parse_run
from services.frontend.core.dockerfile.transfers import parse_add, parse_copy
from services.frontend.core.failure import DockerfileError

T = TypeVar("T", bound=c.Command)


def command(text: str, kind: type[T]) -> T:
    found = parse_command(parse(text.encode()).nodes[0])
    assert isinstance(found, kind)
    return found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ENV", "ENV requires at least one argument"),
        ("LABEL =x", "LABEL names can not be blank"),
        ("MAINTAINER", "MAINTAINER requires exactly one argument"),
        ("WORKDIR", "WORKDIR requires exactly one argument"),
        ("COPY a", "COPY requires at least two arguments, but only one was provided. Destination could not be determined"),
        ("ADD a <<E\nE", "ADD cannot accept a heredoc as a destination"),
        ("COPY --frm=x a b", "unknown flag: --frm (did you mean from?)"),
        ("COPY --link=maybe a b", "expecting boolean value for flag --link, not: maybe"),
        ("COPY --link= a b", "missing a value on flag: --link"),
        ("COPY --chown a b", "missing a value on flag: --chown"),
        ("COPY --chown=1 --chown=2 a b", "duplicate flag specified: --chown"),
        ("RUN --network=x y", 'invalid network mode "x"'),
        ("RUN --security=x y", 'security "x" is not valid'),
        ("RUN --mount=from=$X,target=/y z", "'from' doesn't support variable expansion, define alias stage instead"),
        ("ONBUILD ONBUILD RUN x", "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"),
        ("ONBUILD FROM x", "FROM isn't allowed as an ONBUILD trigger"),
        ('VOLUME [" "]', "VOLUME specified can not be an empty string"),
        ("ARG =x", "ARG names can not be blank"),
        ("SHELL x", "SHELL requires the arguments to be in JSON form"),
        ("SHELL []", "SHELL requires at least one argument"),
        ("HEALTHCHECK NONE x", "HEALTHCHECK NONE takes no arguments"),
        ("HEALTHCHECK FOO x", 'Unknown type "FOO" in HEALTHCHECK (try CMD)'),
        ("HEALTHCHECK CMD", "Missing command after HEALTHCHECK CMD"),
        ("HEALTHCHECK --interval=1ns CMD x", 'Interval "interval" cannot be less than 1ms'),
        ("HEALTHCHECK --interval=5 CMD x", 'time: missing unit in duration "5"'),
        ("HEALTHCHECK --retries=-1 CMD x", "--retries cannot be negative (-1)"),
        ("FRM x", "unknown instruction: FRM (did you mean FROM?)"),
        ("rnu x", "unknown instruction: rnu (did you mean run?)"),
    ],
)
def test_mistakes_are_named(text: str, message: str) -> None:
    node = parse(text.encode()).nodes[0]

    with pytest.raises(DockerfileError) as caught:
        parse_command(node)

    assert caught.value.message == message


def test_expanding_leaves_the_original_alone() -> None:
    env = command("ENV A=$B", c.Env)

    expanded = env.expanded(lambda word: word.replace("$B", "b"))

    assert [str(p) for p in expanded.pairs] == ["A=b"]
    assert [str(p) for p in env.pairs] == ["A=$B"]


def test_copy_keeps_flags_paths_and_heredocs_apart() -> None:
    copy = command("COPY --from=x --exclude=a --exclude=b p <<E <<'F' /d\n1\nE\n2\nF\n", c.Copy)

    assert (copy.source_stage, copy.excludes, copy.sources, copy.dest) == ("x", ("a", "b"), ("p",), "/d")
    assert [(i.path, i.data, i.expand) for i in copy.contents] == [("E", "1\n", True), ("F", "2\n", False)]
    upper = copy.with_contents(str.upper)
    assert [i.data for i in upper.contents] == ["1\n", "2\n"]


def test_flags_not_given_differ_from_false() -> None:
    assert command("ADD a b", c.Add).unpack is None
    assert command("ADD --unpack=false a b", c.Add).unpack is False
    assert command("ADD --unpack a b", c.Add).unpack is True


def test_mounts_are_read_when_the_run_is_expanded() -> None:
    run = command("RUN --mount=type=cache,target=$T,sharing=locked,id=k x", c.Run)

    (mount,) = run.expanded(lambda word: word.replace("$T", "/t")).mounts

    assert (mount.type, mount.target, mount.sharing, mount.id, mount.read_only) == (MountType.CACHE, "/t", Sharing.LOCKED, "k", False)
    assert run.mounts[0].type is MountType.BIND


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("type=chache", 'unsupported mount type "chache" (did you mean cache?)'),
        ("type=cache,sharing=x", 'unsupported sharing value "x"'),
        ("type=cache,trget=/x", "unexpected key 'trget' in 'trget=/x' (did you mean target?)"),
        ("foo", "invalid field 'foo' must be a key=value pair"),
        ("required", "unexpected key 'required' for mount type 'bind'"),
        ("type=tmpfs,size=x", "invalid value for size: x"),
        ("size=1m", "unexpected key 'size' for mount type 'bind'"),
        ("mode=0700", 'mode not allowed for "bind" type mounts'),
        ("type=cache,mode=9", "invalid value 9 for mode"),
        ("type=secret", "invalid secret mount. one of source, target required"),
        ("type=secret,id=a,source=b", "both source and id can't be set"),
        ("type=secret,id=a,from=b", "secret mount should not have a from"),
        ("type=ssh,sharing=locked", "invalid cache sharing set for ssh mount"),
        ('a"b', 'failed to parse csv mounts: parse error on line 1, column 2: bare " in non-quoted-field'),
    ],
)
def test_bad_mounts_are_named(text: str, message: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        parse_mount(text, str)

    assert caught.value.message == message


def test_mount_defaults_follow_the_type() -> None:
    assert parse_mount("target=/x", str).read_only
    assert not parse_mount("target=/x,rw", str).read_only
    assert not parse_mount("type=tmpfs,target=/x,size=1.5k", str).read_only
    assert parse_mount("type=tmpfs,size=2MiB", str).size == 2 << 20
    assert parse_mount("type=secret,id=a,required,mode=0440,uid=7,env=E", str).env == "E"


def test_devices_may_be_named_with_or_without_a_key() -> None:
    run = command("RUN --device=v.com/d=x,required --device=name=y x", c.Run)

    assert [(d.name, d.required) for d in run.devices] == [("v.com/d=x", True), ("y", False)]


def test_a_healthcheck_has_nanoseconds() -> None:
    node = parse(b'HEALTHCHECK --interval=1m30s --timeout=1.5s --retries=3 CMD ["a"]').nodes[0]

    health = parse_healthcheck(node.args, node.flags, node.json, common(node)).health

    assert (health.test, health.interval, health.timeout, health.retries) == (("CMD", "a"), 90 * 10**9, 1_500_000_000, 3)


def test_parsers_of_families_can_be_used_alone() -> None:
    copy, add, run = parse(b"COPY a b\nADD a b\nRUN x\n").nodes

    assert parse_copy(copy, common(copy)).dest == "b"
    assert parse_add(add, common(add)).sources == ("a",)
    assert parse_run(run, common(run)).args == ("x",)


def test_flags_stop_at_two_dashes() -> None:
    assert parse_flags(["--a=1", "--", "--b"], {"a": FlagKind.TEXT}).text("a") == "1"
    with pytest.raises(DockerfileError, match="arg should start with -- : x"):
        parse_flags(["x"], {})
