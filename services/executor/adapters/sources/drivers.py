"""All source drivers, by the class of source they serve."""

from collections.abc import Mapping
from pathlib import Path

from services.executor.adapters.agent_sockets import AgentSockets
from services.executor.adapters.content_hash import ContentHashes
from services.executor.adapters.sources.blob import BlobDriver
from services.executor.adapters.sources.fleet_flight import FleetFlight
from services.executor.adapters.sources.git import GitDriver
from services.executor.adapters.sources.http import HttpDriver
from services.executor.adapters.sources.image import ImageDriver
from services.executor.adapters.sources.image_store import KeptDocuments, Origins
from services.executor.adapters.sources.local import LocalDriver
from services.executor.core.source_ids import BlobSource, GitSource, HttpSource, ImageSource, LocalSource
from services.executor.ports import SnapshotStore, SourceDriver
from shared.blobs.threads import Pool
from shared.run.mesh import Mesh
from shared.wire import subjects

CONTEXTS_TTL = subjects.TTL[subjects.KV_CONTEXTS]  # a context that nobody built from for so long is sent whole again


async def make_drivers(
    mesh: Mesh,
    home: str,
    store: SnapshotStore,
    hashes: ContentHashes,
    threads: Pool,
    origins: Origins,
    root: Path,
    fleet: FleetFlight,
) -> Mapping[type, SourceDriver]:
    """`root` is the executor's folder; ETags of http sources are remembered in a bucket."""
    remembered = await mesh.bus.bucket(subjects.KV_ETAGS)
    places = None if mesh.alone else await mesh.bus.bucket(subjects.KV_CONTEXTS, ttl=CONTEXTS_TTL)
    blobs = BlobDriver(home=home, origins=origins, blobs=mesh.blobs, store=store, threads=threads)
    return {
        ImageSource: ImageDriver(origins, KeptDocuments(mesh.blobs, await mesh.bus.bucket(subjects.KV_ORIGINS), fleet)),
        HttpSource: HttpDriver(
            pool=origins.pool,
            blobs=mesh.blobs,
            links=mesh.sessions,
            store=store,
            threads=threads,
            remembered=remembered,
            home=home,
        ),
        BlobSource: blobs,
        GitSource: GitDriver(
            home=home,
            store=store,
            links=mesh.sessions,
            agents=AgentSockets(root / "git-ssh", mesh.sessions),
            threads=threads,
            bundles=blobs,
        ),
        LocalSource: LocalDriver(home=home, store=store, hashes=hashes, links=mesh.sessions, threads=threads, places=places),
    }
