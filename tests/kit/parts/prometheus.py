"""Prometheus (Debian's package), with a configuration of the project's own."""

import json
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.kit.parts.process import free_port, http_ok, program, running


@dataclass(frozen=True, slots=True, kw_only=True)
class Prometheus:
    """`url` is where it answers. A question that it does not understand is an HTTPError."""

    url: str

    def ask(self, question: str) -> list[dict[str, Any]]:
        """The answer now: series with `metric` (its labels) and `value` (time, text)."""
        return self._get("query", query=question)

    def values(self, question: str, seconds: float) -> list[float]:
        """The only series that answers, a value for each of the last seconds; [] = no series."""
        now = time.time()
        found = self._get("query_range", query=question, start=str(now - seconds), end=str(now), step="1")
        assert len(found) <= 1, f"{question}: {len(found)} series"
        return [float(value) for series in found for _, value in series["values"]]

    def _get(self, kind: str, **words: str) -> list[dict[str, Any]]:
        with urllib.request.urlopen(f"{self.url}/api/v1/{kind}?{urllib.parse.urlencode(words)}", timeout=10) as answer:
            result: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return result


@contextmanager
def prometheus_server(folder: Path, configuration: str) -> Iterator[Prometheus]:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "prometheus.yml"
    file.write_text(configuration)
    address = f"127.0.0.1:{free_port()}"
    argv = [program("prometheus", "tests/tools/debian metrics"), f"--config.file={file}", f"--storage.tsdb.path={folder / 'data'}"]
    ready = f"http://{address}/-/ready"
    with running("prometheus", [*argv, f"--web.listen-address={address}"], folder=folder, ready=lambda: http_ok(ready), seconds=30):
        yield Prometheus(url=f"http://{address}")
