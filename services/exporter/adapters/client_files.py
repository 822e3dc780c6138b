"""ClientFiles over the client's session: FileSend/DiffCopy for one file (session/filesync), the content store `export` for layouts."""

from collections.abc import AsyncIterator, Mapping

from shared.errors import AlreadyExists, BuildmeshError, Code
from shared.model import Digest
from shared.session.content import write_blob
from shared.session.filesend import export_file
from shared.session.once import output_name
from shared.session.ports import SessionLinks


class SessionFiles:
    """Sends to one client session, for one build: a file that has arrived is not sent again when the build is taken over."""

    def __init__(self, links: SessionLinks, session: str, build: str) -> None:
        self._links = links
        self._session = session
        self._build = build

    async def send_file(self, exporter_id: int, metadata: Mapping[str, str], chunks: AsyncIterator[bytes]) -> None:
        """One file. AlreadyExists from the client means that it has the file: success."""
        lower = {key.lower(): value for key, value in metadata.items()}
        try:
            await export_file(self._links, self._session, exporter_id, chunks, metadata=lower, once=output_name(self._build, exporter_id))
        except BuildmeshError as e:
            if not isinstance(e, AlreadyExists) and e.status_code is not Code.ALREADY_EXISTS:
                raise

    async def put_blob(self, digest: Digest, size: int, chunks: AsyncIterator[bytes]) -> None:
        """Into the client's content store `export`."""
        await write_blob(self._links, self._session, "export", digest, size, chunks)
