"""CDI spec files on this machine: read again whenever somebody asks, since drivers write them at any time."""

import json
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from services.executor.core.cdi import HostDevice, HostDevices, NodeInfo, parse_spec
from shared.errors import BuildFailed
from shared.telemetry import Log

MOST = 4 << 20  # bytes of a file


class CdiSpecs:
    """Of some folders, the later ones counting more. Files that are no specs are told to the log, once for each state of them."""

    def __init__(self, folders: Sequence[str], auto_allowed: Sequence[str], log: Log) -> None:
        self._folders, self._auto, self._log = [Path(folder) for folder in folders], tuple(auto_allowed), log
        self._read: dict[Path, tuple[tuple[int, int], list[HostDevice]]] = {}

    def devices(self) -> HostDevices:
        """What is there now. Blocks."""
        found: dict[str, HostDevice] = {}
        for folder in self._folders:
            here: dict[str, HostDevice] = {}
            twice: set[str] = set()
            for path in sorted(_files(folder)):
                for device in self._devices_of(path):
                    twice |= {device.name} & here.keys()
                    here[device.name] = device
            found |= here
            for name in twice:  # which of the two is meant can't be told
                del found[name]
        return HostDevices(found.values(), self._auto)

    def _devices_of(self, path: Path) -> list[HostDevice]:
        try:
            info = path.stat()
            state = (info.st_mtime_ns, info.st_size)
            known = self._read.get(path)
            if known is not None and known[0] == state:
                return known[1]
            found = _parsed(path, info.st_size)
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:
            self._log.warning("a CDI spec can't be read", file=str(path), error=str(error)[:500])
            found = []
        self._read[path] = (state, found)
        return found


def _files(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if path.suffix in (".json", ".yaml") and path.is_file()]
    except OSError:  # most machines have none
        return []


def _parsed(path: Path, size: int) -> list[HostDevice]:
    if size > MOST:
        raise ValueError(f"a CDI spec of {size} bytes is larger than the allowed {MOST}")
    text = path.read_text()
    document: Any
    if path.suffix == ".json":
        document = json.loads(text)
    else:
        import yaml  # type: ignore[import-untyped]  # most machines have no such file

        try:
            document = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ValueError(str(error)) from None
    return parse_spec(document, str(path))


def look_at_node(path: str) -> NodeInfo:
    """What a node of the machine is. Raises BuildFailed."""
    try:
        info = os.stat(path, follow_symlinks=False)
    except OSError as error:
        raise BuildFailed(f"CDI device injection failed: {path}: {error.strerror}") from None
    kinds = {stat.S_IFCHR: "c", stat.S_IFBLK: "b", stat.S_IFIFO: "p"}
    kind = kinds.get(stat.S_IFMT(info.st_mode))
    if kind is None:
        raise BuildFailed(f"CDI device injection failed: {path} is not a device node")
    return NodeInfo(kind=kind, major=os.major(info.st_rdev), minor=os.minor(info.st_rdev))
