"""A ready-made definition as the beginning of a state (client/llb/definition.go NewDefinitionOp): frontend inputs."""

from shared.llb.codec import decode_op
from shared.llb.definition import Definition
from shared.llb.ops import Op
from shared.llb.state import State, new_state, scratch
from shared.llb.vertices import Constraints, DefinitionVertex, Output, Place, SourceMap
from shared.model import Digest


def definition_state(definition: Definition) -> State:
    """The tree that a definition describes. Its ops keep their bytes, names and source locations."""
    if definition.result is None:
        return scratch()
    sources = [SourceMap(filename=s.filename, language=s.language, data=s.data, definition=s.definition) for s in definition.sources]
    vertices: dict[Digest, DefinitionVertex] = {}
    for digest, data in definition.data.items():
        op = definition.ops.get(digest) or decode_op(data)
        needs = [Output(vertices[i.digest], i.index, op.platform) for i in op.inputs]
        places = tuple(Place(source=sources[loc.source], ranges=loc.ranges) for loc in definition.locations.get(digest, ()))
        vertices[digest] = DefinitionVertex(digest, data, needs, _constraints(definition, digest, op, places))
    result = vertices[definition.result.digest]
    return new_state(Output(result, definition.result.index, result.constraints.platform))


def _constraints(definition: Definition, digest: Digest, op: Op, places: tuple[Place, ...]) -> Constraints:
    about = definition.about(digest)
    return Constraints(
        platform=op.platform,
        ignore_cache=about.ignore_cache,
        description=dict(about.description),
        progress_group=about.progress_group,
        resources=about.resources,
        export_cache=about.export_cache,
        places=places,
        caps=dict(about.caps),
    )
