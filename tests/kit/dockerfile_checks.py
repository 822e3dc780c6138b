"""What holds for any bytes taken as a Dockerfile; used by the property tests and by the fuzz target."""

from services.frontend.core.build import Frontend, Order
from services.frontend.core.dockerfile.linter import Linter
from services.frontend.core.dockerfile.parser import parse
from services.frontend.core.dockerfile.stages import parse_stages
from services.frontend.core.failure import DockerfileError
from shared.errors import InvalidInput
from shared.llb import decode_definition, encode_definition
from shared.model import Platform
from shared.pb import ops_pb2 as pb
from tests.kit.dockerfile_images import fake_images
from tests.kit.dockerfile_text import shapes, writable, written
from tests.kit.fake_bridge import FakeBridge


def parsed_or_refused(data: bytes) -> None:
    """No other error than DockerfileError, and that with a message."""
    try:
        parse_stages(parse(data), Linter())
    except DockerfileError as error:
        assert error.message


def same_when_written(data: bytes) -> None:
    """The tree, written as a file, gives the same tree."""
    try:
        file = parse(data)
    except DockerfileError:
        return
    if writable(file):
        assert shapes(parse(written(file))) == shapes(file)


def converted_or_refused(data: bytes, requestid: str = "") -> None:
    """Only a DockerfileError may come out; and what comes out is a definition that survives being read and written."""
    files = {"Dockerfile": data, "x": b"y"}
    bridge = FakeBridge(locals_={"context": files, "dockerfile": files}, images=fake_images())
    amd64 = Platform(os="linux", architecture="amd64")
    options = {"requestid": requestid} if requestid else {}
    order = Order(options=options, session="s", build_platform=amd64, new_id=lambda: "id", warn=lambda entrypoint, warning: None)
    try:
        bridge.run(Frontend(order).run())
    except (DockerfileError, InvalidInput):
        return
    for solved in filter(lambda s: s.definition.data, bridge.solved):
        encoded = encode_definition(solved.definition)
        try:
            again = encode_definition(decode_definition(encoded))
        except InvalidInput:  # `RUN []` is a step without a command, which the solver refuses
            continue
        assert _content(again) == _content(encoded)


def _content(encoded: bytes) -> tuple[list[bytes], bytes, list[tuple[str, bytes]], bytes]:
    """What a definition says: its ops in any order (inputs come first in all of them), the last one, and what is told about each."""
    definition = pb.Definition.FromString(encoded)
    ops = list(getattr(definition, "def"))
    told = sorted((digest, about.SerializeToString(deterministic=True)) for digest, about in definition.metadata.items())
    return sorted(ops), ops[-1], told, definition.Source.SerializeToString(deterministic=True)
