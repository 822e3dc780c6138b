"""Cache mounts that are warm on every executor: where a step's mount begins, and what becomes of it when the step ended well (adr/0055).

What a step has left is set aside by making it immutable and giving the next user a new layer over it: that copies nothing, and what is
packed afterwards is what was there at the end of the step, whoever uses the mount meanwhile.
"""

import asyncio
import json
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass

from services.executor.adapters.materialise import Materialise
from services.executor.adapters.mount_records import MountName, MountRecords
from services.executor.adapters.mount_snapshots import Job, MountSnapshots
from services.executor.adapters.publishing import Silent
from services.executor.core.settings import WarmMountSettings
from services.executor.core.snapshots import LayerStyle, RecordType
from services.executor.ports import SnapshotStore
from shared.blobs.threads import Pool
from shared.errors import BuildmeshError, RefLost
from shared.llb import Sharing
from shared.model import KeptMount, Ref
from shared.oci import chain_ids
from shared.telemetry import Log
from shared.wire.messages import Scope

__all__ = ["Fresh", "Place", "WarmMounts"]

NOTE = "mount.turn"
LOOK = 0.1
SHORT = 5.0  # seconds: so long at most a mount that isn't locked waits for the first snapshot
TELL = 2.0  # seconds that a step waits for the bus in the end


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A cache mount here: the `key` of its directories, what they begin with, its name in the fleet."""

    key: str
    base: str | None
    name: MountName
    sharing: Sharing
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Turn:
    """Noted with a directory: the snapshot it began with, or that was made of what lies below it."""

    epoch: str
    turn: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fresh:
    """Snapshot `top`, held by the step's lease, is newer than the directories that are here. `tidy`: it is the same, in fewer layers."""

    top: str
    kept: KeptMount
    tidy: bool


class WarmMounts:
    """Nothing here fails a step: where the bus or the store can't help, a mount begins as it would without them."""

    def __init__(
        self,
        *,
        store: SnapshotStore,
        threads: Pool,
        materialise: Materialise,
        records: MountRecords,
        snapshots: MountSnapshots,
        wanted: Callable[[], bool],
        settings: WarmMountSettings,
        log: Log,
    ) -> None:
        self._store, self._threads, self._materialise = store, threads, materialise
        self._records, self._snapshots, self._wanted, self._settings, self._log = records, snapshots, wanted, settings, log

    # --- before a step ----------------------------------------------------------------------------------------------------------

    async def newest(self, place: Place, scope: Scope) -> Fresh | None:
        """The newest snapshot, brought here, if the directories here are older; waits for it for a bounded time."""
        try:
            async with asyncio.timeout(self._settings.wait):
                return await self._newest(place, scope)
        except (TimeoutError, BuildmeshError, OSError) as error:
            self._log.info("a cache mount begins with what is here", mount=place.name.id[:100], error=f"{type(error).__name__}: {error}")
            return None

    async def _newest(self, place: Place, scope: Scope) -> Fresh | None:
        here = await self._threads.do(self._turns, place.key)
        kept = await self._awaited(place, here)
        if kept is None or not kept.kept:
            return None
        best = max((turn.turn for turn in here.values() if turn.epoch == kept.epoch), default=-1)
        tidy = best == kept.kept and await self._threads.do(self._is_tidier, [id for id in here if here[id].turn == best], kept)
        if best >= kept.kept and not tidy:
            return None
        try:
            top = await self._materialise.one(Ref(id=f"cache-mount-{kept.kept}", layers=kept.layers), scope, Silent())
        except RefLost:
            await self._records.change(place.name, lambda now: now.lost(kept.kept))
            raise
        await self._threads.do(self._mark, top, place.base)
        return Fresh(top=top, kept=kept, tidy=tidy)

    async def _awaited(self, place: Place, here: dict[str, _Turn]) -> KeptMount | None:
        """The entry, once the snapshot that is on its way has come, or will not come in time."""
        loop = asyncio.get_running_loop()
        locked = place.sharing is Sharing.LOCKED
        until = loop.time() + (0.8 * self._settings.wait if locked else min(SHORT, self._settings.wait / 2))
        while True:
            kept = await self._records.get(place.name)
            if kept is None or not kept.awaited or (here and not locked) or _Turn(epoch=kept.epoch, turn=kept.turn) in here.values():
                return kept
            if loop.time() > until:
                await self._records.change(place.name, lambda now, turn=kept.turn: now.given_up(turn))  # type: ignore[misc]
                return kept
            await asyncio.sleep(LOOK)

    def _turns(self, key: str) -> dict[str, _Turn]:
        """The directories here, with what they are. One that nobody else has seen yet is of no turn."""
        return {id: self._turn(id) for id in self._store.carrying(key)}

    def _turn(self, id: str) -> _Turn:
        note = self._store.note(id, NOTE)
        found = json.loads(note) if note else {}
        return _Turn(epoch=found.get("epoch", ""), turn=found.get("turn", 0))

    def _is_tidier(self, ids: list[str], kept: KeptMount) -> bool:
        """The snapshot has fewer layers than the directories, and is here."""
        top = chain_ids([layer.diff_id for layer in kept.layers])[-1]
        return self._store.find(f"chain:{top}") is not None and any(len(self._store.layers(id)) - 1 > len(kept.layers) for id in ids)

    def _mark(self, top: str, base: str | None) -> None:
        """`du` and `prune` see the layers of a mount as what they are."""
        below = len(self._store.layers(base)) if base else 0
        for layer in self._store.layers(top)[below:]:
            if self._store.get(layer.id).record_type is RecordType.REGULAR:
                self._store.commit(layer.id, record_type=RecordType.CACHE_MOUNT)

    def begin(self, place: Place, fresh: Fresh) -> str:
        """A directory over the snapshot, claimed. Blocking."""
        made = self._store.prepare(fresh.top, record_type=RecordType.CACHE_MOUNT, description=place.description)
        try:
            with self._store.mount(made.id, writable=True) as path:
                os.chown(path, fresh.kept.uid, fresh.kept.gid)
                os.chmod(path, fresh.kept.mode & 0o7777)
            self._note(made.id, _Turn(epoch=fresh.kept.epoch, turn=fresh.kept.kept))
            self._store.put(made.id, place.key)
        except BaseException:
            self._store.unclaim(made.id)
            raise
        return made.id

    def is_older(self, id: str, fresh: Fresh) -> bool:
        """Whether a step does better to begin with the snapshot than with this directory. Blocking."""
        turn = self._turn(id)
        if turn.epoch != fresh.kept.epoch or turn.turn < fresh.kept.kept:
            return True
        return fresh.tidy and turn.turn == fresh.kept.kept and not self._changed(id)

    def discard(self, id: str) -> None:
        """A claimed directory is not used any more. Blocking; what there is to remove goes after `tidy`."""
        self._store.drop(id)
        self._snapshots.discard(id)

    def tidy(self) -> None:
        """The step has its directory: what was discarded may go."""
        self._snapshots.tidy()

    # --- after a step -----------------------------------------------------------------------------------------------------------

    async def keep(self, id: str, place: Place) -> str:
        """The claimed directory, after a step that ended well, is what the mount holds now; the claimed directory that goes on."""
        if not self._wanted() or not await self._threads.finish(self._changed, id):
            return id
        try:
            async with asyncio.timeout(TELL):
                kept = await self._records.change(place.name, KeptMount.drawn)
        except (TimeoutError, BuildmeshError) as error:
            self._log.info("a cache mount stays where it is", mount=place.name.id[:100], error=f"{type(error).__name__}: {error}")
            return id
        assert kept is not None, "a turn is never refused"
        turn = _Turn(epoch=kept.epoch, turn=kept.turn)
        try:
            next, info = await self._threads.take(lambda made: self._store.unclaim(made[0]), self._set_aside, id, place, turn)
        except (BuildmeshError, OSError) as error:  # a full disk: the mount is lost, the step isn't
            self._log.warning("a cache mount was lost", mount=place.name.id[:100], error=f"{type(error).__name__}: {error}")
            return id
        self._snapshots.offer(
            Job(
                name=place.name,
                turn=turn.turn,
                id=id,
                urgent=place.sharing is Sharing.LOCKED,
                mode=stat.S_IMODE(info.st_mode),
                uid=info.st_uid,
                gid=info.st_gid,
            )
        )
        return next

    def _changed(self, id: str) -> bool:
        own = self._store.layers(id)[-1]
        return own.style is LayerStyle.OVERLAY and bool(os.listdir(own.path))

    def _set_aside(self, id: str, place: Place, turn: _Turn) -> tuple[str, os.stat_result]:
        info = os.stat(self._store.layers(id)[-1].path)
        self._store.drop(id)
        self._store.commit(id)
        next = self._store.prepare(id, record_type=RecordType.CACHE_MOUNT, description=place.description)
        try:
            self._note(next.id, turn)
            self._store.put(next.id, place.key)
        except BaseException:
            self._store.unclaim(next.id)
            raise
        return next.id, info

    def _note(self, id: str, turn: _Turn) -> None:
        self._store.set_note(id, NOTE, json.dumps({"epoch": turn.epoch, "turn": turn.turn}).encode())

    # --- --no-cache -------------------------------------------------------------------------------------------------------------

    async def anew(self, lease: str, id: str) -> None:
        """Nobody begins with what was kept of this id so far; once per lease."""
        try:
            async with asyncio.timeout(TELL):
                await self._records.change(MountName(id=id), lambda kept: kept.anew(lease))
        except (TimeoutError, BuildmeshError) as error:
            self._log.warning("a cache mount is emptied on this executor only", mount=id[:100], error=f"{type(error).__name__}: {error}")
