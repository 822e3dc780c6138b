"""What exporting asks of the world."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from services.exporter.core.attestations import Predicate
from services.exporter.core.image import Document
from services.exporter.core.options import Options
from shared.model import Digest, Layer, Ref
from shared.wire.messages import ExportAttestation

__all__ = ["Attestations", "BlobSource", "ClientFiles", "Layers", "Progress"]


class Progress(Protocol):
    """Status lines of the export's vertex."""

    def step(self, id: str) -> AbstractAsyncContextManager[None]:
        """A status that starts now and completes when the context is left, also by an error."""
        ...


class Layers(Protocol):
    """The executors that hold the data."""

    async def pack(self, ref: Ref, options: Options, *, rewrite_epoch: int = -1, base_layers: int = 0) -> tuple[Layer, ...]:
        """All layers of `ref` in the blob store, base first. Idempotent. Raises RefLost."""
        ...

    async def of_files(self, layers: Sequence[Layer], paths: Sequence[str], vertex: Digest) -> Mapping[str, Digest]:
        """The topmost of packed layers that has a file, by its path; progress on `vertex`. Files that none has are left out."""
        ...


class Attestations(Protocol):
    """What is attested of a result."""

    async def read(self, attestations: Sequence[ExportAttestation]) -> Sequence[Predicate]:
        """Bundles opened. Raises BuildFailed for what may not be an attestation, RefLost."""
        ...


class BlobSource(Protocol):
    """Where the bytes of layers and documents are read and kept."""

    async def keep(self, documents: Sequence[Document]) -> None:
        """Store small documents; idempotent."""
        ...

    def chunks(self, digest: Digest) -> AsyncIterator[bytes]:
        """All bytes of a blob in order. Raises BlobMissing."""
        ...


class ClientFiles(Protocol):
    """The client's side of an export."""

    async def send_file(self, exporter_id: int, metadata: Mapping[str, str], chunks: AsyncIterator[bytes]) -> None:
        """One file (an archive). A client that has it already answers AlreadyExists, which is success."""
        ...

    async def put_blob(self, digest: Digest, size: int, chunks: AsyncIterator[bytes]) -> None:
        """Into the client's content store `export`; a blob that is there already is fine."""
        ...
