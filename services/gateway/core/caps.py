"""What Ping advertises to those who drive a build (BuildKit frontend/gateway/pb/caps.go).

An empty list would make clients assume a server of 2018, so the lists are never empty.
"""

FRONTEND_CAPS: tuple[str, ...] = (
    "frontend.caps",
    "frontend.inputs",
    "gateway.evaluate",
    "gateway.solve.evaluate",
    "gateway.solve.metadata",
    "gateway.warnings",
    "importcaches",
    "proto.refarray",
    "readdir",
    "readfile",
    "reference.attestations",
    "reference.output",
    "resolveimage",
    "resolveimage.resolvemode",
    "return",
    "returnmap",
    "solve.base",
    "solve.inlinereturn",
    "source.metaresolver",
    "source.metaresolver.http.checksumrequest",
    "source.metaresolver.image.attestations",
    "statfile",
)
"""Without gateway.exec and its kin: containers driven by the client are not served yet, and clients check before they ask."""
