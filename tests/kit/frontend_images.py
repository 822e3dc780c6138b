"""Images whose entrypoint stands for a frontend: busybox with a shell script."""

import gzip
import json
from pathlib import Path

from tests.kit.images import copy_layout, push_layout
from tests.kit.oci_layout import Layout


def scripted_frontend(folder: Path, script: str, reference: str) -> str:
    """Pushed under `reference`, which is returned; `folder` is made."""
    base = copy_layout("busybox", folder)

    def blob(digest: str) -> bytes:
        return (base / "blobs" / digest.replace(":", "/")).read_bytes()

    manifest = json.loads(blob(json.loads((base / "index.json").read_text())["manifests"][0]["digest"]))
    layers = [gzip.decompress(blob(layer["digest"])) for layer in manifest["layers"]]
    layout = Layout(base / "again")
    layout.tag(layout.image(layers, {"Entrypoint": ["/bin/sh", "-c", script], "Env": ["PATH=/bin"]}), "latest")
    return push_layout(base / "again", reference)
