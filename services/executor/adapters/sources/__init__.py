"""Where bytes come from: image, local, git, http, oci-layout. Each resolves (cache keys, pins) and makes a snapshot."""

__all__: list[str] = []
