"""What every snapshot store must do, whatever the disk. `store` is a fresh, empty one; `clock` moves its time."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from services.executor.adapters.snapshots import DiskSnapshots
from services.executor.core.snapshots import LayerStyle, RecordType
from shared.errors import RefLost


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def write(path: str, text: str = "x") -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(text)


def build(store: DiskSnapshots, parent: str | None, change: Callable[[str], None], *, key: str = "") -> str:
    made = store.prepare(parent)
    with store.mount(made.id, writable=True) as path:
        change(path)
    return store.commit(made.id, key=key).id


def tree(store: DiskSnapshots, id: str) -> dict[str, str]:
    found = {}
    with store.mount(id) as root:
        for at, _, files in os.walk(root):
            for name in files:
                full = os.path.join(at, name)
                with open(full) as file:
                    found[os.path.relpath(full, root)] = file.read()
    return found


class SnapshotContract:
    """Inherit, and give `store` and `reopen` fixtures."""

    def test_child_sees_parent_and_parent_does_not_change(self, store: DiskSnapshots) -> None:
        base = build(store, None, lambda p: write(f"{p}/a", "1"))
        top = build(store, base, lambda p: (write(f"{p}/b", "2"), write(f"{p}/a", "3"))[0])

        assert tree(store, base) == {"a": "1"}
        assert tree(store, top) == {"a": "3", "b": "2"}

    def test_a_layer_made_on_scratch_is_laid_on_another(
        self, store: DiskSnapshots, reopen: Callable[[DiskSnapshots], DiskSnapshots]
    ) -> None:
        """Where layers lie apart; its parent stays as long as it does."""
        base = build(store, None, lambda p: write(f"{p}/a", "1"), key="base")
        made = store.prepare(None)
        with store.mount(made.id, writable=True) as path:
            write(f"{path}/b", "2")
        if store.style is LayerStyle.FULL:
            with pytest.raises(ValueError):
                store.rebase(made.id, base)
            return
        with pytest.raises(RefLost):
            store.rebase(made.id, "nope")
        store.rebase(made.id, base)
        with pytest.raises(ValueError):
            store.rebase(made.id, base)
        top = store.commit(made.id, key="top").id
        assert tree(store, top) == {"a": "1", "b": "2"}
        assert store.remove([base]) == ()
        again = reopen(store)
        assert tree(again, top) == {"a": "1", "b": "2"}
        with pytest.raises(ValueError):
            again.rebase(top, base)

    def test_deletion_hides_what_lies_below(self, store: DiskSnapshots) -> None:
        base = build(store, None, lambda p: (write(f"{p}/a"), write(f"{p}/d/x"))[0])
        top = build(store, base, lambda p: os.unlink(f"{p}/a"))

        assert tree(store, top) == {"d/x": "x"}

    def test_root_directory_keeps_owner_and_mode(self, store: DiskSnapshots) -> None:
        base = build(store, None, lambda p: os.chmod(p, 0o1770))
        top = build(store, base, lambda p: write(f"{p}/b"))

        with store.mount(top) as path:
            assert os.stat(path).st_mode & 0o7777 == 0o1770

    def test_unknown_ids_are_lost_refs(self, store: DiskSnapshots) -> None:
        for call in (store.get, store.layers, store.prepare):
            with pytest.raises(RefLost):
                call("nope")
        with pytest.raises(RefLost):
            store.hold("lease", ["nope"])

    def test_immutable_is_never_mounted_writable(self, store: DiskSnapshots) -> None:
        base = build(store, None, lambda p: write(f"{p}/a"))

        with pytest.raises(ValueError), store.mount(base, writable=True):
            pass

    def test_ids_are_not_guessable(self, store: DiskSnapshots) -> None:
        ids = {store.prepare(None).id for _ in range(20)}

        assert len(ids) == 20
        assert all(len(id) >= 25 for id in ids)

    def test_two_commits_of_one_key_end_as_one(self, store: DiskSnapshots) -> None:
        first = build(store, None, lambda p: write(f"{p}/a", "1"), key="chain:x")
        second = store.prepare(None, lease="l")

        assert store.commit(second.id, key="chain:x").id == first
        assert store.find("chain:x").id == first
        with pytest.raises(RefLost):
            store.get(second.id)
        store.hold("other", [first])
        store.release("other")
        assert store.remove([first]) == ()  # lease `l` holds it now

    def test_merge_stacks_in_order(self, store: DiskSnapshots) -> None:
        a = build(store, None, lambda p: (write(f"{p}/d/x", "a"), write(f"{p}/only-a"))[0])
        b = build(store, None, lambda p: (write(f"{p}/d/x", "b"), write(f"{p}/d/y", "b"))[0])

        assert tree(store, store.merge([a, b]).id) == {"d/x": "b", "d/y": "b", "only-a": "x"}
        assert tree(store, store.merge([b, a]).id) == {"d/x": "a", "d/y": "b", "only-a": "x"}
        assert store.merge([a]).id == a

    def test_merge_applies_deletions_of_later_layers(self, store: DiskSnapshots) -> None:
        base = build(store, None, lambda p: (write(f"{p}/gone"), write(f"{p}/kept"))[0])
        less = build(store, base, lambda p: os.unlink(f"{p}/gone"))
        other = build(store, None, lambda p: (write(f"{p}/gone", "o"), write(f"{p}/o"))[0])
        deletion = store.diff(base, less)

        assert tree(store, store.merge([other, deletion.id]).id) == {"o": "x"}

    def test_merge_takes_over_deletions_by_name_only(self, store: DiskSnapshots) -> None:
        """A directory that was removed and made anew does not hide what other inputs have in it."""
        base = build(store, None, lambda p: (write(f"{p}/d/old"), write(f"{p}/d/sub/old"), write(f"{p}/d/sub/keep/old"))[0])

        def anew(path: str) -> None:
            shutil.rmtree(f"{path}/d")
            write(f"{path}/d/sub/new")

        top = build(store, base, anew)
        other = build(store, None, lambda p: (write(f"{p}/d/mine"), write(f"{p}/d/old", "o"), write(f"{p}/d/sub/old", "o"))[0])
        merged = store.merge([other, top])

        assert tree(store, top) == {"d/sub/new": "x"}
        assert tree(store, merged.id) == {"d/mine": "x", "d/sub/new": "x"}
        assert tree(store, build(store, merged.id, lambda p: write(f"{p}/d/z"))) == {"d/mine": "x", "d/sub/new": "x", "d/z": "x"}

    def test_deletions_never_show_as_names(self, store: DiskSnapshots) -> None:
        """Not even where the deletion is the only thing known of its directory."""
        base = build(store, None, lambda p: (write(f"{p}/a/b/gone"), write(f"{p}/a/b/kept"))[0])
        less = build(store, base, lambda p: os.unlink(f"{p}/a/b/gone"))
        other = build(store, None, lambda p: write(f"{p}/o"))
        cut = store.diff(base, less)
        unrelated = build(store, None, lambda p: write(f"{p}/a/b/kept"))
        walked = store.diff(base, unrelated)

        for id in (cut.id, store.merge([other, cut.id]).id, walked.id, store.merge([other, walked.id]).id):
            with store.mount(id) as path:
                assert os.listdir(f"{path}/a/b") in ([], ["kept"]), id

    def test_what_was_only_touched_is_no_difference(self, store: DiskSnapshots) -> None:
        base = build(store, None, lambda p: (write(f"{p}/etc/a"), write(f"{p}/usr/b"), write(f"{p}/c"))[0])

        def come_and_go(path: str) -> None:
            write(f"{path}/etc/stub")
            os.unlink(f"{path}/etc/stub")
            os.chmod(f"{path}/c", os.stat(f"{path}/c").st_mode)
            write(f"{path}/usr/new")

        cut = store.diff(base, build(store, base, come_and_go))
        with store.mount(cut.id) as path:
            assert os.listdir(path) == ["usr"]
        other = build(store, None, lambda p: (write(f"{p}/etc/o"), os.chmod(f"{p}/etc", 0o700))[0])
        with store.mount(store.merge([other, cut.id]).id) as path:
            assert os.stat(f"{path}/etc").st_mode & 0o777 == 0o700

    def test_deletions_of_a_walked_diff_are_told_to_whoever_packs_it(self, store: DiskSnapshots) -> None:
        one = build(store, None, lambda p: (write(f"{p}/gone"), write(f"{p}/kept"))[0])
        two = build(store, None, lambda p: write(f"{p}/kept"))
        (layer,) = store.layers(store.diff(one, two).id)

        assert any(os.path.exists(f"{lower}/gone") for lower in layer.lowers)

    def test_composed_snapshots_survive_a_restart(self, store: DiskSnapshots, reopen: Callable[[DiskSnapshots], DiskSnapshots]) -> None:
        base = build(store, None, lambda p: (write(f"{p}/d/old"), write(f"{p}/d/more/old"))[0])

        def anew(path: str) -> None:
            shutil.rmtree(f"{path}/d")
            write(f"{path}/d/more/new")

        top = build(store, base, anew)
        merged = store.merge([build(store, None, lambda p: write(f"{p}/d/mine")), top])
        cut = store.diff(base, top)
        expected = {id: tree(store, id) for id in (merged.id, cut.id, top)}

        again = reopen(store)

        assert {id: tree(again, id) for id in expected} == expected
        assert expected[merged.id] == {"d/mine": "x", "d/more/new": "x"}

    def test_diff_of_a_chain_and_its_beginning(self, store: DiskSnapshots) -> None:
        base = build(store, None, lambda p: write(f"{p}/a"))
        top = build(store, base, lambda p: write(f"{p}/b"))

        assert tree(store, store.diff(base, top).id) == {"b": "x"}
        assert tree(store, store.diff(None, top).id) == {"a": "x", "b": "x"}
        assert tree(store, store.diff(top, top).id) == {}

    def test_diff_of_unrelated_trees(self, store: DiskSnapshots) -> None:
        one = build(store, None, lambda p: (write(f"{p}/same/f", "1"), write(f"{p}/gone"))[0])
        two = build(store, None, lambda p: (write(f"{p}/same/f", "22"), write(f"{p}/new"))[0])
        made = store.diff(one, two)

        assert tree(store, made.id) == {"same/f": "22", "new": "x"}
        assert tree(store, store.merge([one, made.id]).id) == {"same/f": "22", "new": "x"}

    def test_a_snapshot_can_grow_on_a_merge(self, store: DiskSnapshots) -> None:
        a = build(store, None, lambda p: write(f"{p}/a"))
        b = build(store, None, lambda p: write(f"{p}/b"))
        top = build(store, store.merge([a, b]).id, lambda p: write(f"{p}/c"))

        assert tree(store, top) == {"a": "x", "b": "x", "c": "x"}
        assert len(store.layers(top)) == 3

    def test_frozen_view_is_lost_when_its_directory_is_taken_up_again(self, store: DiskSnapshots) -> None:
        live = store.prepare(None, record_type=RecordType.LOCAL_SOURCE)
        store.put(live.id, "local:x")
        with store.mount(live.id, writable=True) as path:
            write(f"{path}/f", "1")
        frozen = store.freeze(live.id, lease="build")

        assert tree(store, frozen.id) == {"f": "1"}
        assert store.claim("local:x") is None  # the build still needs it as it is
        store.release("build")
        again = store.claim("local:x")
        assert again is not None and again.id == live.id
        with pytest.raises(RefLost):
            store.get(frozen.id)

    def test_claim_gives_a_directory_to_one_at_a_time(self, store: DiskSnapshots) -> None:
        live = store.prepare(None)
        store.put(live.id, "k")

        assert store.claim("k") is None  # whoever prepared it still has it
        store.unclaim(live.id)
        assert store.claim("k").id == live.id
        assert store.claim("k") is None
        store.unclaim(live.id)
        assert store.claim("k").id == live.id

    def test_unclaimed_without_key_is_gone(self, store: DiskSnapshots) -> None:
        made = store.prepare(None)
        store.unclaim(made.id)

        with pytest.raises(RefLost):
            store.get(made.id)

    def test_writers_of_one_snapshot_share_a_mount(self, store: DiskSnapshots) -> None:
        base = build(store, None, lambda p: write(f"{p}/a"))
        live = store.prepare(base)
        with store.mount(live.id, writable=True) as one, store.mount(live.id, writable=True) as two:
            write(f"{one}/f", "1")
            assert os.path.exists(f"{two}/f")

    def test_remove_takes_only_what_nobody_needs(self, store: DiskSnapshots) -> None:
        base = build(store, None, lambda p: write(f"{p}/a"))
        top = build(store, base, lambda p: write(f"{p}/b"))
        held = build(store, None, lambda p: write(f"{p}/c"))
        store.hold("lease", [held])

        assert store.remove([base]) == ()
        assert {gone.id for gone in store.remove([base, top, held])} == {base, top}
        with store.mount(held):
            store.release("lease")
            assert store.remove([held]) == ()
        assert [gone.id for gone in store.remove([held])] == [held]

    def test_lease_expires_without_renewal(self, store: DiskSnapshots, clock: Clock) -> None:
        held = build(store, None, lambda p: write(f"{p}/c"))
        store.hold("lease", [held])
        clock.now += 50
        store.renew(["lease"])
        clock.now += 50
        assert store.sweep() == ()
        clock.now += 11

        assert store.sweep() == ("lease",)
        assert len(store.remove([held])) == 1

    def test_in_use_counts_children_that_are_needed(self, store: DiskSnapshots) -> None:
        base = build(store, None, lambda p: write(f"{p}/a"))
        top = build(store, base, lambda p: write(f"{p}/b"))
        assert not any(snapshot.in_use for snapshot in store.all())
        store.hold("lease", [top])

        assert all(snapshot.in_use for snapshot in store.all())

    def test_sizes_are_counted_once_they_are_asked_for(self, store: DiskSnapshots) -> None:
        made = build(store, None, lambda p: write(f"{p}/a", "x" * 100_000))
        assert store.get(made).size == -1

        assert store.sizes([made])[made] >= 100_000
        assert store.get(made).size >= 100_000

    def test_restart_keeps_committed_and_keyed_only(self, store: DiskSnapshots, reopen: Callable[[DiskSnapshots], DiskSnapshots]) -> None:
        base = build(store, None, lambda p: write(f"{p}/a"), key="chain:a")
        top = build(store, base, lambda p: write(f"{p}/b"))
        loose = store.prepare(base)
        cache = store.prepare(None, record_type=RecordType.CACHE_MOUNT)
        store.put(cache.id, "cache:x")
        store.set_note(top, "blob", b"digest")
        frozen = store.freeze(cache.id, lease="b")

        again = reopen(store)

        assert tree(again, top) == {"a": "x", "b": "x"}
        assert again.find("chain:a").id == base
        assert again.claim("cache:x").id == cache.id
        assert again.note(top, "blob") == b"digest"
        for id in (loose.id, frozen.id):
            with pytest.raises(RefLost):
                again.get(id)
        assert not os.path.exists(again._dir(loose.id))

    def test_many_layers(self, store: DiskSnapshots) -> None:
        id = None
        for number in range(130):
            id = build(store, id, lambda p, n=number: write(f"{p}/f{n}"))

        assert len(tree(store, id)) == 130

    def test_threads(self, store: DiskSnapshots) -> None:
        base = build(store, None, lambda p: write(f"{p}/a"))
        made: list[str] = []

        def work(number: int) -> None:
            made.append(build(store, base, lambda p: write(f"{p}/t{number}")))

        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert len(made) == 8
        assert all(len(tree(store, id)) == 2 for id in made)
        assert store.statistics() == {"snapshots": 9, "claimed": 0, "mounts": 0, "leases": 0}
