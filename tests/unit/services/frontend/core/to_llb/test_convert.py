"""Rules of single instructions that golden cases don't show well, and errors with their places."""

import json

import pytest

from services.frontend.core.context import Contexts
from services.frontend.core.dockerfile.commands import Pair
from services.frontend.core.dockerfile.linter import LintWarning
from services.frontend.core.failure import DockerfileError, line_spans
from services.frontend.core.image import Image
from services.frontend.core.options import parse_options
from services.frontend.core.to_llb.base_images import COMMON_IMAGES
from services.frontend.core.to_llb.checks import check_secret_name
from services.frontend.core.to_llb.configure import set_env, with_shell
from services.frontend.core.to_llb.convert import Conversion, Converted, convert, make_linter
from services.frontend.core.to_llb.copying import dispatch_copy
from services.frontend.core.to_llb.dispatch import dispatch
from services.frontend.core.to_llb.epoch import commit_time
from services.frontend.core.to_llb.expose import dispatch_expose
from services.frontend.core.to_llb.global_args import automatic_args
from services.frontend.core.to_llb.history import commit, rfc3339
from services.frontend.core.to_llb.modes import parse_mode
from services.frontend.core.to_llb.names import prefixed, shown_command
from services.frontend.core.to_llb.outline_capture import OutlineCapture
from services.frontend.core.to_llb.owners import parse_owner
from services.frontend.core.to_llb.remote_sources import check_digest, http_filename, is_http
from services.frontend.core.to_llb.run_mounts import collect_mounts
from services.frontend.core.to_llb.running import PIPES
from services.frontend.core.to_llb.sbom import mark_scans
from services.frontend.core.to_llb.setting import source_ranges
from services.frontend.core.to_llb.signals import is_signal
from services.frontend.core.to_llb.stage_state import follow_paths, used_path
from services.frontend.core.to_llb.stage_table import add_step
from services.frontend.core.to_llb.workdir import set_workdir
from services.frontend.core.to_llb.workdirs import is_absolute_for, normalize_path, normalize_workdir, to_slash, without_drive
from shared.llb import Chown, ExecOp, MarshalDefaults, Owner, SourceMap, decode_op, marshal
from shared.model import Platform
from tests.kit.dockerfile_images import fake_images
from tests.kit.fake_bridge import FakeBridge

AMD64 = Platform(os="linux", architecture="amd64")


def converted(text: str, warnings: list[LintWarning] | None = None, **raw: str) -> Converted:
    options = parse_options({k.replace("__", ":"): v for k, v in raw.items()}, session="s", build_platform=AMD64)
    contexts = Contexts(options, MarshalDefaults(platform=AMD64))
    conversion = Conversion(
        contexts=contexts,
        source_map=SourceMap(filename="Dockerfile", language="Dockerfile", data=text.encode()),
        platform=None,
        new_id=lambda: "id",
        warn=None if warnings is None else warnings.append,
        build_args=dict(options.build_args),
    )
    done: Converted = FakeBridge(images=fake_images()).run(convert(conversion))
    return done


def history(text: str) -> list[str]:
    return [entry.created_by for entry in converted(text).stage.image.history]


def execs(text: str) -> list[ExecOp]:
    done = converted(text)
    kinds = [decode_op(data).kind for data in marshal(done.stage.state, done.defaults).data.values()]
    return [kind for kind in kinds if isinstance(kind, ExecOp)]


def test_history_shows_values_as_go_prints_them() -> None:
    assert history(
        'FROM scratch\nCMD ["a", "\\"b"]\nEXPOSE 80 1-2/udp\nVOLUME a b\nHEALTHCHECK --interval=1m CMD x y\nSHELL ["s", "-c"]\n'
    ) == [
        'CMD ["a" "\\"b"]',
        "EXPOSE [1/udp 2/udp 80/tcp]",
        "VOLUME [a b]",
        "HEALTHCHECK {Test:[CMD-SHELL x y] Interval:1m0s Timeout:0s StartPeriod:0s StartInterval:0s Retries:0}",
        "SHELL [s -c]",
    ]


def test_run_history_counts_the_args_in_scope() -> None:
    assert history("FROM scratch\nARG A=1 B\nARG A=2\nENV B=e\nRUN x\n")[-1] == "RUN |2 A=2 B=e /bin/sh -c x # buildkit"


def test_scripts_are_mounted_and_other_heredocs_go_to_the_shell() -> None:
    script, plain, mixed = execs("FROM scratch\nRUN <<E\n#!/x\ny\nE\nRUN <<-E\n\tz\n\tE\nRUN a <<E && b\nc\nE\n")

    assert (script.meta.args, script.mounts[1].dest) == (("/bin/sh", "-c", PIPES + "E"), PIPES)
    assert plain.meta.args[-1] == "z\n"
    assert mixed.meta.args[-1] == "a <<E && b\nc\nE"


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("FROM scratch\nCOPY --chmod=8 a b\n", "invalid chmod parameter: '8'. it should be octal string and between 0 and 07777", 2),
        ("FROM scratch\nADD --checksum=x a b\n", "checksum requires HTTP(S) or Git sources", 2),
        ("FROM scratch\nADD --checksum=x https://a https://b c\n", "checksum can't be specified for multiple sources", 2),
        ("FROM scratch\nADD --checksum=x https://a b\n", "invalid checksum digest format", 2),
        ("FROM scratch\nCOPY https://a b\n", "source can't be a URL for COPY", 2),
        ("FROM scratch\nCOPY https://a/b.git c\n", "source can't be a git ref for COPY", 2),
        ("FROM scratch\nADD https://a/b.git?x=1 c\n", 'unexpected query "x"', 2),
        ("FROM scratch\nADD --keep-git-dir https://a/b.git?keep-git-dir=0 c\n", "inconsistent keep-git-dir configuration", 2),
        ("FROM scratch\nADD --checksum=a https://a/b.git?checksum=b c\n", 'checksum mismatch "a" != "b"', 2),
        ("FROM scratch\nRUN --mount=target=/ x\n", 'invalid mount target "/"', 2),
        ("FROM scratch\nRUN --mount=type=ssh,source=x y\n", "ssh does not support source", 2),
        (
            "FROM scratch AS a\nRUN --mount=from=b,target=/b x\nFROM scratch AS b\nFROM a\n",
            'cannot mount from stage "b" to "/b", stage needs to be defined before current command',
            2,
        ),
        ("FROM scratch\nEXPOSE 2-1\n", "invalid containerPort: 2-1", 2),
        ("FROM scratch\nEXPOSE 1:2-3\n", "invalid ranges specified for container and host Ports: 2-3 and 1", 2),
        ("FROM scratch\nEXPOSE x:1:2\n", "invalid IP address: x", 2),
        ("FROM scratch\nEXPOSE 1/x\n", 'invalid port: "1/x": invalid proto: x', 2),
        ("FROM scratch\nEXPOSE /tcp\n", 'invalid port: "/tcp": no port specified', 2),
        ("FROM scratch\nVOLUME $X\n", "VOLUME specified can not be an empty string", 2),
    ],
)
def test_mistakes_carry_their_line(text: str, message: str, line: int) -> None:
    with pytest.raises(DockerfileError) as caught:
        converted(text)

    assert caught.value.message == message
    assert caught.value.locations == [line_spans(line, line)]


def test_stages_that_are_not_needed_are_not_built() -> None:
    assert converted("FROM nosuch AS unused\nRUN x\nFROM scratch\n").stage.image.history == []


def test_an_onbuild_loop_between_images_ends() -> None:
    bridge_images = fake_images()
    config = json.loads(next(iter(bridge_images["docker.io/library/onb:latest"].configs.values())))
    assert config["config"]["OnBuild"]
    names = [step.command.name for step in converted("FROM onb\n").stage.steps]
    assert names == ["COPY", "RUN", "ENV", "COPY", "ARG"]


def test_check_options_are_refused_with_their_place_in_the_options() -> None:
    with pytest.raises(DockerfileError, match='failed to parse check options: invalid check option "x"'):
        converted("# check=x\nFROM scratch\n")


def test_undefined_variables_are_reported_with_a_suggestion() -> None:
    warnings: list[LintWarning] = []
    converted("FROM alpine\nARG FOOBAR\nWORKDIR /$FOOBAZ/$PATTH/$FOOBAR\n", warnings)

    assert [w.message for w in warnings] == [
        "Usage of undefined variable '$FOOBAZ'",
        "Usage of undefined variable '$PATTH' (did you mean $PATH?)",
    ]


@pytest.mark.parametrize(
    ("key", "secret"), [("API_KEY", True), ("TOKEN", True), ("PUBLIC_KEY", False), ("KEYBOARD", False), ("AUTH_FILE", False)]
)
def test_names_of_secrets_are_noticed(key: str, secret: bool) -> None:
    warnings: list[LintWarning] = []
    linter = make_linter(b"FROM x", _conversion(warnings))
    check_secret_name("ENV", key, (), linter)

    assert bool(warnings) == secret


def _conversion(warnings: list[LintWarning]) -> Conversion:
    contexts = Contexts(parse_options({}, session="s", build_platform=AMD64), MarshalDefaults(platform=AMD64))
    source_map = SourceMap(filename="f", language="l", data=b"")
    return Conversion(contexts=contexts, source_map=source_map, platform=None, new_id=lambda: "", warn=warnings.append)


@pytest.mark.parametrize(
    ("parent", "path", "os", "keep", "result"),
    [
        ("/a", "b", "linux", False, "/a/b"),
        ("/a", "", "linux", False, "/a"),
        ("/a", "/c/", "linux", True, "/c/"),
        ("/a", "./", "linux", True, "/a/"),
        ("/a", "b/.", "linux", True, "/a/b/."),
        ("a", "b", "linux", False, "/a/b"),
        ("", "\\x\\y\\", "windows", True, "/x/y/"),
        ("C:\\a", "C:b", "windows", False, "/a/b"),
    ],
)
def test_paths_are_normalized(parent: str, path: str, os: str, keep: bool, result: str) -> None:
    assert normalize_path(parent, path, os, keep_slash=keep) == result


def test_windows_paths_are_checked() -> None:
    assert normalize_workdir("", "c:\\x", "windows") == "\\x"
    assert is_absolute_for("C:\\x", "windows")
    assert not is_absolute_for("D:\\x", "windows")
    assert to_slash("a\\b", "linux") == "a\\b"
    for path in ("C:", "D:\\x", "\\\\unc\\x"):
        with pytest.raises(DockerfileError):
            without_drive(path, "windows", keep_slash=False)


def test_modes_are_octal_or_symbolic() -> None:
    assert parse_mode("0755") == (0o755, "")
    assert parse_mode("u+x,go=") == (0, "u+x,go=")
    for text in ("10000", "9", "u", "u+y", "rwx", "u+x,", "0x1"):
        with pytest.raises(DockerfileError):
            parse_mode(text)


def test_owners_are_numbers_or_names() -> None:
    assert parse_owner("root:5") == Chown(user=Owner(id=0), group=Owner(id=5))
    assert parse_owner("me") == Chown(user=Owner(name="me"))
    assert parse_owner("-1").user == Owner(id=4294967295)


def test_signals_have_names_and_numbers() -> None:
    assert [is_signal(s) for s in ("9", "SIGTERM", "term", "RTMIN+3", "0", "FOO", "")] == [True, True, True, True, False, False, False]


def test_urls_have_file_names() -> None:
    assert [http_filename(u) for u in ("https://x/a/b%41?c", "https://x/", "https://x", "https://[")] == [
        "bA",
        "__unnamed__",
        "__unnamed__",
        "__unnamed__",
    ]
    assert is_http("https://x/a")
    assert not is_http("https://x/a.git")
    assert is_http("https://x/a.git?bad=1")
    check_digest("sha256:" + "0" * 64)
    for text, message in (("x", "format"), ("md5:x", "unsupported"), ("sha256:x", "length"), ("sha256:" + "x" * 64, "format")):
        with pytest.raises(DockerfileError, match=message):
            check_digest(text)


def test_commit_times_are_read() -> None:
    assert commit_time(b"tree x\nauthor a <b> 1 +0000\ncommitter c <d@e> 1700000000 +0200\n\nmessage") == 1700000000
    with pytest.raises(DockerfileError, match="invalid git commit object"):
        commit_time(b"tree x\n\ncommitter c <d@e> 1 +0000\n")


def test_names_count_and_align() -> None:
    stage = converted("FROM alpine AS base\n" + "RUN x\n" * 10).stage
    stage.command_index, stage.command_total, stage.shown_name, stage.prefix_platform = 0, 1000, "b", True

    arm = Platform(os="linux", architecture="arm64")
    assert prefixed(stage, "X", {"TARGETPLATFORM": "linux/arm/v7"}, arm) == "[linux/arm64->arm/v7 b    1/1000] X"
    assert prefixed(stage, "X", {"TARGETOS": "windows"}, arm) == "[linux/arm64->windows/arm64 b    2/1000] X"
    assert prefixed(stage, "X", {"TARGETPLATFORM": "???", "TARGETARCH": "arm64"}, None) == "[b    3/1000] X"
    stage.in_onbuild = True
    assert prefixed(stage, "X", {}, None).endswith("] ONBUILD X")
    assert shown_command("run 'x", {}, converted("FROM scratch\n").setting.words) == "RUN 'x"


def test_history_times_are_utc() -> None:
    image = Image()
    commit(image, "x", 0, layer=True, marked=True)

    assert (image.history[0].created, image.history[0].created_by) == ("1970-01-01T00:00:00Z", "x # buildkit")
    assert rfc3339(1 << 60) == ""


def test_outlines_follow_dependencies() -> None:
    capture = OutlineCapture()
    capture.use(["a"])
    capture.use_dependencies()

    assert list(capture.copy().used_args) == ["a"]


def test_small_parts() -> None:
    env = ["A=1", "B"]
    set_env(env, Pair(key="B", value="2"))
    set_env(env, Pair(key="C", value="3"))
    assert env == ["A=1", "B=2", "C=3"]
    assert with_shell(Image(platform=Platform(os="windows", architecture="amd64")), ("a", "b")) == ["cmd", "/S", "/C", "a b"]
    assert follow_paths({"/b": None, "/a": None}) == ["a", "b"]
    assert follow_paths({"/": None, "/a": None}) == []
    assert used_path("a/../b") == "/b"
    assert source_ranges(line_spans(1, 2))[1].start.line == 2
    assert automatic_args(AMD64, AMD64, {"TARGETARCH": "x"}, "")["TARGETARCH"] == "x"
    assert "alpine" in COMMON_IMAGES
    assert all(callable(f) for f in (add_step, collect_mounts, dispatch, dispatch_copy, dispatch_expose, mark_scans, set_workdir))


def test_variables_that_grow_without_end_are_refused() -> None:
    with pytest.raises(DockerfileError, match="variables expand to too much text"):
        converted("FROM scratch\nENV A=0123456789\n" + "ENV A=$A$A\n" * 60)
    with pytest.raises(DockerfileError, match="variables expand to too much text"):
        converted("FROM scratch\nENV A=" + "a" * 60_000 + "\nENV B=${A//a/" + "b" * 60_000 + "}\n")


@pytest.mark.slow
def test_triggers_that_multiply_without_end_are_refused() -> None:
    with pytest.raises(DockerfileError, match="more than 50000 instructions"):
        converted(
            "FROM scratch AS a\n"
            + "ONBUILD USER x\n" * 9_000
            + "FROM a\n"
            + "".join(f"FROM a AS s{n}\nCOPY --from=s{n - 1} / /\n" if n else "FROM a AS s0\n" for n in range(6))
        )
