"""docker-registry (distribution 2.8), plain HTTP, optionally with a password."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.kit.parts.process import Part, free_port, http_ok, program, running


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """`host` is localhost:port, as it stands in image names; clients take it as plain HTTP because it is localhost."""

    host: str
    data: Path
    part: Part

    @property
    def url(self) -> str:
        return f"http://{self.host}"


@contextmanager
def registry_server(folder: Path, *, port: int | None = None, htpasswd: Path | None = None) -> Iterator[Registry]:
    """`htpasswd` (a file with bcrypt lines) makes it ask for a password. Blobs may be deleted."""
    port = port or free_port()
    data = folder / "data"
    folder.mkdir(parents=True, exist_ok=True)
    config: dict[str, object] = {
        "version": 0.1,
        "log": {"accesslog": {"disabled": False}, "level": "info"},
        "storage": {"filesystem": {"rootdirectory": str(data)}, "delete": {"enabled": True}},
        "http": {"addr": f"127.0.0.1:{port}"},
        "validation": {"disabled": True},  # its default refuses images with foreign layers
    }
    if htpasswd is not None:
        config["auth"] = {"htpasswd": {"realm": "test", "path": str(htpasswd)}}
    file = folder / "config.yml"
    file.write_text(json.dumps(config))  # JSON is YAML
    argv = [program("docker-registry", "tests/tools/debian test"), "serve", str(file)]
    with running(
        "registry", argv, folder=folder, ready=lambda: http_ok(f"http://127.0.0.1:{port}/v2/"), env={"OTEL_TRACES_EXPORTER": "none"}
    ) as part:
        yield Registry(host=f"localhost:{port}", data=data, part=part)
