"""States and what they marshal to."""

from dataclasses import replace

import pytest

from shared import llb
from shared.llb.caps import Cap
from shared.llb.exec_vertex import ExecVertex
from shared.llb.vertices import FileVertex
from shared.model import Platform

LINUX = Platform(os="linux", architecture="amd64")
ARM = Platform(os="linux", architecture="arm64")
DEFAULTS = llb.MarshalDefaults(platform=LINUX, local_unique_id="unique")


def ops(state: llb.State) -> list[llb.Op]:
    return [llb.decode_op(data) for data in llb.marshal(state, DEFAULTS).data.values()]


def caps(state: llb.State) -> set[str]:
    definition = llb.marshal(state, DEFAULTS)
    assert definition.result is not None
    return set(definition.about(definition.result.digest).caps)


def image(platform: Platform | None = LINUX) -> llb.State:
    return llb.image_source("docker.io/library/x:latest", llb.Constraints(platform=platform))


def run(state: llb.State, options: llb.RunOptions | None = None, **process: object) -> llb.State:
    return state.run(replace(state.process, args=("x",), **process), options or llb.RunOptions(), llb.Constraints())  # type: ignore[arg-type]


def exec_op(state: llb.State) -> llb.ExecOp:
    kind = ops(state)[-1].kind
    assert isinstance(kind, llb.ExecOp)
    return kind


def file_op(state: llb.State) -> tuple[llb.FileOp, tuple[llb.Input, ...]]:
    op = ops(state)[-1]
    assert isinstance(op.kind, llb.FileOp)
    return op.kind, op.inputs


def test_the_environment_lasts_and_run_options_do_not() -> None:
    state = image().with_env("A", "1").with_env("B", "2").with_env("A", "3").with_directory("/w").with_directory("x").with_user("u")
    first = run(state.with_hostname("h"), hostname="other", network=llb.NetMode.HOST)

    meta = exec_op(run(first)).meta

    assert (meta.env, meta.cwd, meta.user, meta.hostname) == (("B=2", "A=3"), "/w/x", "u", "h")
    assert exec_op(run(first)).network is llb.NetMode.SANDBOX


def test_platforms_come_from_the_state_then_from_the_defaults() -> None:
    assert ops(run(image(ARM)))[-1].platform == ARM
    assert ops(run(llb.scratch()))[-1].platform == LINUX
    assert ops(run(image().with_platform(ARM)))[-1].platform == ARM


def test_mounts_are_sorted_and_numbered() -> None:
    other = image(ARM)
    mounts = (
        llb.TreeMount(target="/z", source=other.output, readonly=True, selector="/s"),
        llb.TreeMount(target="/a", source=None),
        llb.TreeMount(target="/c", cache=llb.CacheOpt(id="c")),
        llb.TreeMount(target="/t", tmpfs_size=5),
        llb.TreeMount(target="/n", source=other.output, no_output=True),
    )
    state = run(image(), llb.RunOptions(mounts=mounts))

    found = [(m.dest, m.input, m.output) for m in exec_op(state).mounts]

    assert found == [("/", 0, 0), ("/a", -1, 1), ("/c", -1, -1), ("/n", 1, -1), ("/t", -1, -1), ("/z", 1, -1)]
    assert {"exec.mount.selector", "exec.mount.cache", "exec.mount.tmpfs.size", "exec.mount.bind"} <= caps(state)


def test_secrets_and_ssh_come_last() -> None:
    options = llb.RunOptions(
        secrets=(llb.RunSecret(id="a", target="/s"), llb.RunSecret(id="b", target=None, env="B")),
        ssh=(llb.RunSsh(id="k"), llb.RunSsh(id="l", target="/sock", optional=True)),
        devices=(llb.Device(name="d"),),
        proxy_env=llb.ProxyEnv(http="p"),
    )
    state = run(
        image(), options, security=llb.SecurityMode.INSECURE, ulimits=(llb.Ulimit(name="core", soft=1, hard=1),), valid_exit_codes=(1,)
    )

    kind = exec_op(state)

    assert [m.dest for m in kind.mounts] == ["/", "/s", "/run/buildkit/ssh_agent.0", "/sock"]
    assert [m.type for m in kind.mounts[1:]] == [llb.MountType.SECRET, llb.MountType.SSH, llb.MountType.SSH]
    assert kind.meta.env == ("SSH_AUTH_SOCK=/run/buildkit/ssh_agent.0",)
    assert kind.secret_env == (llb.SecretEnv(id="b", name="B"),)
    assert {Cap.EXEC_MOUNT_SSH.value, Cap.EXEC_SECRET_ENV.value, Cap.EXEC_META_CDI.value, Cap.EXEC_META_SECURITY.value} <= caps(state)


def test_file_actions_chain_and_share_inputs() -> None:
    source = llb.local_source("x", llb.Constraints(), session="s")
    steps = [
        llb.FileStep(action=llb.Copy(src="a", dest="b/"), source=source.output),
        llb.FileStep(action=llb.Copy(src="/c/.", dest="/."), source=source.output),
        llb.FileStep(action=llb.MkDir(path="d", owner=llb.Chown(user=llb.Owner(name="u")))),
    ]
    kind, inputs = file_op(image().with_directory("/w").file(steps, llb.Constraints()))

    assert len(inputs) == 2
    assert [(a.input, a.secondary_input, a.output) for a in kind.actions] == [(0, 1, -1), (2, 1, -1), (3, -1, 0)]
    first, second, third = (a.action for a in kind.actions)
    assert isinstance(first, llb.Copy)
    assert (first.src, first.dest) == ("/a", "/w/b/")
    assert isinstance(second, llb.Copy)
    assert (second.src, second.dest) == ("/c", "/.")
    assert isinstance(third, llb.MkDir)
    assert third.owner == llb.Chown(user=llb.Owner(name="u", input=0))


def test_files_on_scratch_have_no_input() -> None:
    kind, inputs = file_op(llb.scratch().file([llb.FileStep(action=llb.MkFile(path="f"))], llb.Constraints()))

    assert inputs == ()
    assert kind.actions[0].input == llb.EMPTY
    assert kind.actions[0].action == llb.MkFile(path="/f")


def test_merging_leaves_out_empty_trees() -> None:
    one, two = image(), image(ARM)

    assert llb.merge([llb.scratch(), llb.scratch()], llb.Constraints()).output is None
    assert llb.merge([llb.scratch(), one], llb.Constraints()) is one
    merged = ops(llb.merge([one, llb.scratch(), two], llb.Constraints()))[-1]
    assert merged.kind == llb.MergeOp(inputs=(0, 1))
    assert merged.platform is None


def test_equal_operations_are_one_and_their_names_are_joined() -> None:
    twice = llb.merge([run(image()), run(image())], llb.Constraints())

    assert len(llb.marshal(twice, DEFAULTS).data) == 3


def test_promised_outputs_are_found_when_marshaled() -> None:
    later = llb.Later()
    state = run(llb.new_state(later))
    later.set(image().output)
    found = run(llb.new_state(llb.Later(lambda: image().output)))

    assert ops(state) == ops(found)
    assert later.platform is None


def test_local_sources_without_a_session_are_unique() -> None:
    kind = ops(llb.local_source("x", llb.Constraints(), follow_paths=["<a>"]))[0].kind

    assert kind == llb.SourceOp(identifier="local://x", attrs={"local.followpaths": '["\\u003ca\\u003e"]', "local.unique": "unique"})


def test_sources_have_their_attributes() -> None:
    c = llb.Constraints
    for state, attrs in (
        (
            llb.image_source("x", c(), resolve_mode="pull", record_type="internal"),
            {"image.resolvemode": "pull", "image.recordtype": "internal"},
        ),
        (llb.oci_layout_source("x", c(), session="s", store="t"), {"oci.session": "s", "oci.store": "t"}),
        (llb.http_source("https://x", c(), filename="f", checksum="sha256:0"), {"http.filename": "f", "http.checksum": "sha256:0"}),
        (
            llb.local_source("x", c(), session="s", exclude_patterns=["a"], shared_key_hint="h", differ_none=True),
            {"local.session": "s", "local.excludepatterns": '["a"]', "local.sharedkeyhint": "h", "local.differ": "none"},
        ),
        (
            llb.git_source("h/p#r", "https://h/p", c(), keep_git_dir=True, checksum="c", ssh=True, known_hosts="k"),
            {
                "git.authheadersecret": "GIT_AUTH_HEADER",
                "git.authtokensecret": "GIT_AUTH_TOKEN",
                "git.checksum": "c",
                "git.fullurl": "https://h/p",
                "git.keepgitdir": "true",
                "git.knownsshhosts": "k",
                "git.mountsshsock": "default",
            },
        ),
        (llb.source("x://y", {"a": "b"}, c()), {"a": "b"}),
    ):
        kind = ops(state)[0].kind
        assert isinstance(kind, llb.SourceOp)
        assert dict(kind.attrs) == attrs


def test_long_chains_need_no_deep_stack() -> None:
    state = image()
    for _ in range(3000):
        state = run(state)

    assert len(llb.marshal(state, DEFAULTS).data) == 3001


def test_env_keeps_the_order_of_the_last_setting() -> None:
    env = llb.env_with(llb.env_with({"A": "1", "B": "2"}, "A", "3"), "C", "4")

    assert list(env.items()) == [("B", "2"), ("A", "3"), ("C", "4")]
    assert list(llb.env_without(env, "A")) == ["B", "C"]


@pytest.mark.parametrize(
    ("path", "cleaned"),
    [("", "."), ("/", "/"), ("//a//b/", "/a/b"), ("a/../..", ".."), ("/../a", "/a"), ("./a/.", "a"), ("a/b/../c", "a/c")],
)
def test_paths_are_cleaned(path: str, cleaned: str) -> None:
    assert llb.clean_path(path) == cleaned


def test_paths_are_joined_and_split() -> None:
    assert llb.join_path("/a", "", "../b") == "/b"
    assert llb.join_path("", "") == ""
    assert [llb.base_path(p) for p in ("", "/", "a/b/")] == [".", "/", "b"]
    assert [llb.parent_path(p) for p in ("a", "a/b", "/a")] == [".", "a", "/"]
    assert llb.is_absolute("/a")


def test_vertices_tell_their_inputs() -> None:
    assert FileVertex(None, "/", [], llb.Constraints()).inputs() == []
    assert ExecVertex(None, llb.Process(args=("x",)), llb.RunOptions(), llb.Constraints()).inputs() == []
