"""RUN --mount (instructions/commands_runmount.go)."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from services.frontend.core.failure import DockerfileError
from services.frontend.core.go_text import csv_fields, parse_ram_size, parse_uint
from shared.llb.go_text import parse_bool, quote


class MountType(Enum):
    BIND = "bind"
    CACHE = "cache"
    TMPFS = "tmpfs"
    SECRET = "secret"
    SSH = "ssh"


class Sharing(Enum):
    SHARED = "shared"
    PRIVATE = "private"
    LOCKED = "locked"


_KEYS = (
    "type",
    "from",
    "source",
    "target",
    "readonly",
    "id",
    "sharing",
    "required",
    "size",
    "mode",
    "uid",
    "gid",
    "src",
    "dst",
    "destination",
    "ro",
    "rw",
    "readwrite",
    "env",
)


@dataclass(slots=True, kw_only=True)
class Mount:
    """One mount. `source_stage` is `from`; `env` names the variable that a secret goes into; sizes in bytes."""

    type: MountType = MountType.BIND
    source_stage: str = ""
    source: str = ""
    target: str = ""
    read_only: bool = False
    size: int = 0
    id: str = ""
    sharing: Sharing | None = None
    required: bool = False
    env: str | None = None
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None


def parse_mount(text: str, expand: Callable[[str], str] | None) -> Mount:
    """The mount that `text` describes. Without `expand` only what can't hold variables is read: `from`."""
    try:
        fields = csv_fields(text)
    except DockerfileError as error:
        raise error.prefixed("failed to parse csv mounts") from None
    reader = _MountReader()
    for field in fields:
        reader.read(field, expand)
    return reader.finish()


class _MountReader:
    def __init__(self) -> None:
        self.mount = Mount()
        self.read_only_given = False

    def read(self, field: str, expand: Callable[[str], str] | None) -> None:
        key, has_value, value = field.partition("=")
        key = key.lower()
        if not has_value:
            if expand is not None:
                self._bare(key, field)
            return
        if expand is not None:
            value = expand(value)
        elif key != "from":
            return
        elif "$" in value[:-1]:
            raise DockerfileError(f"'{key}' doesn't support variable expansion, define alias stage instead")
        self._set(key, value, field)

    def _bare(self, key: str, field: str) -> None:
        match key:
            case "readonly" | "ro":
                self._read_only(True)
            case "readwrite" | "rw":
                self._read_only(False)
            case "required":
                self._only_for(key, MountType.SECRET, MountType.SSH)
                self.mount.required = True
            case _:
                raise DockerfileError(f"invalid field '{key}' must be a key=value pair")

    def _read_only(self, value: bool) -> None:
        self.mount.read_only = value
        self.read_only_given = True

    def _only_for(self, key: str, *types: MountType) -> None:
        if self.mount.type not in types:
            raise DockerfileError(f"unexpected key '{key}' for mount type '{self.mount.type.value}'")

    def _set(self, key: str, value: str, field: str) -> None:
        mount = self.mount
        match key:
            case "type":
                mount.type = _choice(MountType, value, "unsupported mount type")
            case "from":
                mount.source_stage = value
            case "source" | "src":
                mount.source = value
            case "target" | "dst" | "destination":
                mount.target = value
            case "readonly" | "ro":
                self._read_only(_boolean(key, value))
            case "readwrite" | "rw":
                self._read_only(not _boolean(key, value))
            case "required":
                self._only_for(key, MountType.SECRET, MountType.SSH)
                mount.required = _boolean(key, value)
            case "size":
                self._only_for(key, MountType.TMPFS)
                mount.size = _size(key, value)
            case "id":
                mount.id = value
            case "sharing":
                mount.sharing = _choice(Sharing, value, "unsupported sharing value")
            case "mode":
                mount.mode = _number(key, value, 8)
            case "uid":
                mount.uid = _number(key, value, 10)
            case "gid":
                mount.gid = _number(key, value, 10)
            case "env":
                mount.env = value
            case _:
                raise DockerfileError(f"unexpected key '{key}' in '{field}'").suggesting(key, _KEYS)

    def finish(self) -> Mount:
        mount = self.mount
        kind = mount.type
        if kind in (MountType.BIND, MountType.TMPFS):
            for name, value in (("mode", mount.mode), ("uid", mount.uid), ("gid", mount.gid)):
                if value is not None:
                    raise DockerfileError(f"{name} not allowed for {quote(kind.value)} type mounts")
        if not self.read_only_given:
            mount.read_only = kind not in (MountType.CACHE, MountType.TMPFS)
        if kind is MountType.SECRET:
            _check_secret(mount)
        if mount.sharing is not None and kind is not MountType.CACHE:
            raise DockerfileError(f"invalid cache sharing set for {kind.value} mount")
        return mount


def _check_secret(mount: Mount) -> None:
    if mount.source_stage:
        raise DockerfileError("secret mount should not have a from")
    if mount.sharing is not None:
        raise DockerfileError("secret mount should not define sharing")
    if not mount.source and not mount.target and not mount.id:
        raise DockerfileError("invalid secret mount. one of source, target required")
    if mount.source and mount.id:
        raise DockerfileError("both source and id can't be set")


_E = TypeVar("_E", bound=Enum)


def _choice(kind: type[_E], value: str, complaint: str) -> _E:
    try:
        return kind(value.lower())
    except ValueError:
        raise DockerfileError(f"{complaint} {quote(value)}").suggesting(value, [m.value for m in kind]) from None


def _boolean(key: str, value: str) -> bool:
    flag = parse_bool(value)
    if flag is None:
        raise DockerfileError(f"invalid value for {key}: {value}")
    return flag


def _size(key: str, value: str) -> int:
    size = parse_ram_size(value)
    if size is None:
        raise DockerfileError(f"invalid value for {key}: {value}")
    return size


def _number(key: str, value: str, base: int) -> int:
    number = parse_uint(value, base, 32)
    if number is None:
        raise DockerfileError(f"invalid value {value} for {key}")
    return number
