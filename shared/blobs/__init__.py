"""Content-addressed bytes at rest: `file://` (all-in-one), `s3://` (MinIO), memory for tests, and wrappers around any of them.

What a store returns has been verified against its digest, or is a miss.
"""

__all__: list[str] = []
