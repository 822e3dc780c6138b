"""Which tree goes where, for `local` and `tar`; Go's values of attributes."""

import pytest

from services.exporter.core.options import Kind, Options
from services.exporter.core.tree_export import check_targets
from services.exporter.core.trees import planned_trees
from services.exporter.core.values import parse_bool, parse_flag, parse_int
from shared.errors import InvalidInput
from shared.model import Platform, Ref
from shared.oci.result_platforms import PLATFORMS_KEY, TargetPlatform

AMD, ARM = (TargetPlatform(id=f"linux/{arch}", platform=Platform(os="linux", architecture=arch)) for arch in ("amd64", "arm64"))
ONE, TWO = Ref(id="one", home="e"), Ref(id="two", home="e")
BOTH = {AMD.id: ONE, ARM.id: TWO}


def local(split: bool | None = None) -> Options:
    return Options(kind=Kind.LOCAL, platform_split=split)


def test_a_single_tree_goes_to_the_root() -> None:
    (tree,) = planned_trees(local(), (AMD,), ONE, {}, is_map=False)

    assert (tree.ref, tree.prefix, tree.shared, tree.status_id) == (ONE, "", False, "copying files")


def test_platforms_go_to_folders_of_their_own() -> None:
    trees = planned_trees(local(), (AMD, ARM), None, BOTH, is_map=True)

    assert [(t.ref, t.prefix, t.shared) for t in trees] == [(ONE, "linux_amd64", False), (TWO, "linux_arm64", False)]
    assert trees[1].status_id == "copying files linux/arm64"


def test_platform_split_overrides_that_for_local_only() -> None:
    joined = planned_trees(local(split=False), (AMD, ARM), None, BOTH, is_map=True)
    single = planned_trees(local(split=True), (AMD,), ONE, {}, is_map=False)
    tar = planned_trees(Options(kind=Kind.TAR, platform_split=False), (AMD, ARM), None, BOTH, is_map=True)

    assert [(t.prefix, t.shared) for t in joined] == [("", True), ("", True)]
    assert [(t.prefix, t.shared) for t in single] == [("linux_amd64", False)]
    assert [t.prefix for t in tar] == ["linux_amd64", "linux_arm64"]


@pytest.mark.parametrize(
    ("targets", "metadata", "refs", "is_map", "says"),
    [
        ((AMD,), {}, BOTH, True, "missing platforms mapping"),
        ((AMD, ARM), {}, {}, False, "multiple platforms without map"),
        ((AMD, ARM), {PLATFORMS_KEY: b""}, {AMD.id: ONE}, True, "failed to find ref for ID linux/arm64"),
    ],
)
def test_results_that_do_not_fit_together(targets: object, metadata: object, refs: object, is_map: bool, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        check_targets(targets, metadata, refs, is_map=is_map)  # type: ignore[arg-type]


def test_results_that_do() -> None:
    check_targets((AMD,), {}, {}, is_map=False)
    check_targets((AMD, ARM), {PLATFORMS_KEY: b""}, BOTH, is_map=True)


@pytest.mark.parametrize(("text", "value"), [("1", True), ("T", True), ("true", True), ("0", False), ("FALSE", False), ("f", False)])
def test_booleans(text: str, value: bool) -> None:
    assert parse_bool("k", text) is parse_flag("k", text) is value


@pytest.mark.parametrize("text", ["yes", "tRue", " true", "2"])
def test_what_is_no_boolean_is_named(text: str) -> None:
    with pytest.raises(InvalidInput, match=f'push: strconv.ParseBool: parsing "{text}"'):
        parse_flag("push", text)


def test_an_empty_flag_is_true_and_an_empty_boolean_an_error() -> None:
    assert parse_flag("push", "") is True
    with pytest.raises(InvalidInput):
        parse_bool("push", "")


@pytest.mark.parametrize(("text", "says"), [("x", "non-int value 'x'"), ("", "non-int"), ("10", "out of range"), ("-1", "out of range")])
def test_numbers_out_of_range(text: str, says: str) -> None:
    assert parse_int("level", "9", low=0, high=9) == 9
    with pytest.raises(InvalidInput, match=says):
        parse_int("level", text, low=0, high=9)
