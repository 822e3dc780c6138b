"""The table of roles as policies of an S3 server (IAM's language), one for each service.

Blobs lie below `<algorithm>/`, messages that were too large for the bus below `claims/`. A missing object must be told from a
forbidden one: MinIO does so for whoever may read it; AWS wants `s3:ListBucket` for that (docs/deploy.md).
"""

from collections.abc import Collection, Mapping
from typing import Any, Final

from shared.wire.roles import ROLES, BlobRight

__all__ = ["CLAIMS", "policy_of"]

CLAIMS: Final = "claims/"
"""Below the prefix of the store."""
_BLOBS: Final = "sha*/"
_ON_OBJECTS: Final[Mapping[BlobRight, tuple[str, ...]]] = {
    BlobRight.READ: ("s3:GetObject",),
    BlobRight.WRITE: ("s3:PutObject", "s3:AbortMultipartUpload"),
    BlobRight.DELETE: ("s3:DeleteObject",),
    BlobRight.LIST: (),
}
_CLAIMS_OF_ALL: Final = (BlobRight.READ, BlobRight.WRITE, BlobRight.DELETE)


def policy_of(service: str, bucket: str, prefix: str) -> dict[str, Any]:
    """What it may do in a store at `bucket`/`prefix` ("" or ending in "/"). Of itself it may change nothing, not even its key."""
    own, place = ROLES[service].blobs, f"arn:aws:s3:::{bucket}"
    statements = [_may(_CLAIMS_OF_ALL, f"{place}/{prefix}{CLAIMS}*"), {"Effect": "Deny", "Action": ["admin:*"]}]
    if own:
        statements.append(_may(own, f"{place}/{prefix}{_BLOBS}*"))
    if BlobRight.LIST in own:
        statements.append({"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": [place]})
    return {"Version": "2012-10-17", "Statement": statements}


def _may(rights: Collection[BlobRight], resource: str) -> dict[str, Any]:
    actions = sorted(action for right in rights for action in _ON_OBJECTS[right])
    return {"Effect": "Allow", "Action": actions, "Resource": [resource]}
