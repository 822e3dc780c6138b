"""The plan of a FileOp, for any graph of actions."""

from hypothesis import given
from hypothesis import strategies as st

from services.executor.core.fileop import clean_path, plan_file_op
from shared.errors import InvalidInput
from shared.llb import EMPTY, SKIP, Copy, FileAction, FileOp, MkDir

indexes = st.integers(-2, 7)


@st.composite
def ops(draw: st.DrawFn) -> FileOp:
    count = draw(st.integers(1, 5))
    outputs = draw(st.permutations([*range(draw(st.integers(0, count))), *[SKIP] * count]))[:count]
    return FileOp(
        actions=tuple(
            FileAction(
                input=draw(indexes),
                secondary_input=draw(indexes),
                output=output,
                action=draw(st.sampled_from([MkDir(path="/"), Copy(src="/", dest="/")])),
            )
            for output in outputs
        )
    )


@given(op=ops(), inputs=st.integers(0, 2))
def test_any_op_is_planned_or_refused(op: FileOp, inputs: int) -> None:
    """Each step comes after those it needs; nobody extends what somebody else sees; nothing runs twice."""
    try:
        plan = plan_file_op(op, inputs)
    except InvalidInput:
        return
    done: dict[int, bool] = {}
    extended: set[int] = set()
    for step in plan.steps:
        index = inputs + step.number
        assert index not in done
        for needed in (step.base, step.source):
            assert needed == EMPTY or needed < inputs or needed in done
        if step.source >= inputs:
            assert done[step.source], "a source is final when it is read"
        if step.extends:
            assert step.base not in extended and not done[step.base] and step.base not in plan.outputs
            extended.add(step.base)
        elif step.base >= inputs:
            assert done[step.base]
        done[index] = step.commit
    assert all(index in done and done[index] for index in plan.outputs if index >= inputs)


def test_a_chain_is_one_snapshot() -> None:
    chain = FileOp(actions=tuple(FileAction(input=n, output=0 if n == 3 else SKIP, action=MkDir(path=f"/{n}")) for n in range(4)))
    plan = plan_file_op(chain, 1)

    assert [step.extends for step in plan.steps] == [False, True, True, True]
    assert [step.commit for step in plan.steps] == [False, False, False, True]


def test_clean_paths_keep_what_says_directory() -> None:
    pairs = {"a": "/a", "/a/": "/a/", "/a/.": "/a/.", "../../x/": "/x/", "/": "/", "": "/", ".": "/", "//a//b": "/a/b", "/a/../..": "/"}

    assert {path: clean_path(path) for path in pairs} == {**pairs, ".": "/"}
