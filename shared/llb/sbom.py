"""A scanner image and its run over a result (frontend/attestations/sbom/sbom.go, docs/attestations/sbom-protocol.md).

The scanner finds the tree of the result, and further ones if they are wanted, below /run/src, and leaves one in-toto statement per
file in /run/out: that directory is the attestation, a bundle.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shared.errors import BuildFailed
from shared.llb.exec_vertex import ExecVertex, RunOptions, TreeMount
from shared.llb.sources import image_source
from shared.llb.state import State, new_state
from shared.llb.state_values import Process, env_with
from shared.llb.vertices import Constraints, Output
from shared.model import Platform

CORE = "sbom"
_SOURCES = "/run/src"
_TARGET = "/run/out/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanner:
    """A scanner image. `variables` are those of its config as `K=V`, `parameters` what the client says, for `BUILDKIT_SCAN_<key>`."""

    reference: str
    platform: Platform
    args: tuple[str, ...]
    variables: tuple[str, ...] = ()
    directory: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)

    def scan(self, name: str, tree: State, extras: Mapping[str, State], *, ignore_cache: bool = False) -> State:
        """The bundle. `name` = the platform, for progress; `extras` by name."""
        about = Constraints(
            platform=self.platform,
            ignore_cache=ignore_cache,
            description={"llb.customname": f"[{name}] generating sbom using {self.reference}"},
        )
        image = image_source(self.reference, Constraints(platform=self.platform))
        seen = [TreeMount(target=f"{_SOURCES}/core/{CORE}", source=tree.output, readonly=True)]
        for key, extra in sorted(extras.items()):
            seen.append(TreeMount(target=f"{_SOURCES}/extras/{CORE}-{key}", source=extra.output, readonly=True))
        out = TreeMount(target=_TARGET)
        mounts = (TreeMount(target="/tmp", tmpfs_size=0), *seen, out)
        vertex = ExecVertex(image.output, self._process(image, extras=bool(extras)), RunOptions(mounts=mounts), about)
        return new_state(Output(vertex, lambda: vertex.index_of(out), self.platform))

    def _process(self, image: State, *, extras: bool) -> Process:
        env: Mapping[str, str] = {}
        told = [f"BUILDKIT_SCAN_DESTINATION={_TARGET}", f"BUILDKIT_SCAN_SOURCE={_SOURCES}/core/{CORE}"]
        told += [f"BUILDKIT_SCAN_SOURCE_EXTRAS={_SOURCES}/extras"] if extras else []
        told += [f"BUILDKIT_SCAN_{key}={value}" for key, value in sorted(self.parameters.items())]
        for variable in (*self.variables, *told):
            key, _, value = variable.partition("=")
            env = env_with(env, key, value)
        return Process(args=self.args, env=env, directory=image.with_directory(self.directory).directory, platform=image.platform)


def make_scanner(reference: str, config: bytes, platform: Platform, parameters: Mapping[str, str]) -> Scanner:
    """From the config of the image. Raises BuildFailed for one that has no command, or is none."""
    process = _process_of(reference, config)
    args = (*_texts(process.get("Entrypoint")), *_texts(process.get("Cmd")))
    if not args:
        raise BuildFailed(f"scanner {reference} does not have cmd")
    directory = process.get("WorkingDir")
    return Scanner(
        reference=reference,
        platform=platform.normalized(),
        args=args,
        variables=_texts(process.get("Env")),
        directory=directory if isinstance(directory, str) else "",
        parameters=parameters,
    )


def _process_of(reference: str, config: bytes) -> Mapping[str, Any]:
    try:
        document = json.loads(config)
    except (ValueError, RecursionError) as error:
        raise BuildFailed(f"scanner {reference} has a config that can't be read: {error}") from None
    process = document.get("config") if isinstance(document, dict) else None
    return process if isinstance(process, dict) else {}


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(text for text in value if isinstance(text, str)) if isinstance(value, list) else ()
