"""DockerfileError → the mesh's errors, with the details that make clients print the excerpt."""

from services.frontend.core.context import Entrypoint
from services.frontend.core.failure import DockerfileError
from services.frontend.core.to_llb.setting import source_ranges
from shared.errors import BuildFailed, BuildmeshError, Detail, source_detail
from shared.llb import decode_definition, definition_json
from shared.model import SourceInfo


def mesh_error(error: DockerfileError, entrypoint: Entrypoint | None) -> BuildmeshError:
    """The cause with the longer message, or BuildFailed. Places in the order in which they were added."""
    details = _source_details(error, entrypoint)
    cause = error.cause
    if cause is None:
        return BuildFailed(error.message, details=details)
    cause.message = error.message
    cause.args = (error.message,)
    cause.details = (*details, *cause.details)
    return cause


def _source_details(error: DockerfileError, entrypoint: Entrypoint | None) -> list[Detail]:
    if entrypoint is None:
        return []
    source = entrypoint.source_map
    info = SourceInfo(filename=source.filename, data=source.data, language=source.language, definition=source.definition)
    loaded_by = definition_json(decode_definition(source.definition)) if source.definition else None
    return [source_detail(info, source_ranges(location), loaded_by) for location in error.locations]
