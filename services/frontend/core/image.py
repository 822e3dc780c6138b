"""The image config: what a base image says, what a Dockerfile makes of it.

JSON comes out as the Go structs of docker-image-spec and image-spec give it, byte for byte: key order, omitted empties,
`"diff_ids":null`; keys that those structs don't know are dropped (moby/docker-image-spec specs-go/v1/image.go).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from services.frontend.core.dockerfile.commands import Healthcheck
from shared.model import Platform
from shared.oci import go_json, load_object


@dataclass(slots=True, kw_only=True)
class ImageProcess:
    """The `config` object. Values of sets are always {}."""

    user: str = ""
    exposed_ports: set[str] = field(default_factory=set)
    env: list[str] = field(default_factory=list)
    entrypoint: list[str] = field(default_factory=list)
    cmd: list[str] = field(default_factory=list)
    volumes: set[str] = field(default_factory=set)
    working_dir: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    stop_signal: str = ""
    args_escaped: bool = False
    healthcheck: Healthcheck | None = None
    onbuild: list[str] = field(default_factory=list)
    shell: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """`created` in RFC 3339, "" = not said."""

    created: str = ""
    created_by: str = ""
    author: str = ""
    comment: str = ""
    empty_layer: bool = False


@dataclass(slots=True, kw_only=True)
class Image:
    """A whole config. `diff_ids` None = null in JSON."""

    created: str = ""
    author: str = ""
    platform: Platform = field(default_factory=lambda: Platform(os="", architecture=""))
    rootfs_type: str = ""
    diff_ids: list[str] | None = None
    history: list[HistoryEntry] = field(default_factory=list)
    config: ImageProcess = field(default_factory=ImageProcess)

    def copy(self) -> "Image":
        """Nothing shared with the original."""
        c = self.config
        config = replace(
            c,
            exposed_ports=set(c.exposed_ports),
            env=list(c.env),
            entrypoint=list(c.entrypoint),
            cmd=list(c.cmd),
            volumes=set(c.volumes),
            labels=dict(c.labels),
            onbuild=list(c.onbuild),
            shell=list(c.shell),
        )
        return replace(self, config=config, history=list(self.history))


DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
WINDOWS_PATH = "c:\\Windows\\System32;c:\\Windows;C:\\Windows\\System32\\WindowsPowerShell\\v1.0"


def empty_image(platform: Platform) -> Image:
    """What FROM scratch begins with."""
    env = [] if platform.os == "windows" else ["PATH=" + DEFAULT_PATH]
    return Image(platform=platform, rootfs_type="layers", config=ImageProcess(working_dir="/", env=env))


def parse_image(data: bytes) -> Image:
    """Raises ValueError for what Go's decoder would refuse."""
    doc = _Fields(load_object(data, "image config"))
    rootfs = doc.fields("rootfs")
    return Image(
        created=_time(doc.text("created")),
        author=doc.text("author"),
        platform=Platform(
            os=doc.text("os"),
            architecture=doc.text("architecture"),
            variant=doc.text("variant"),
            os_version=doc.text("os.version"),
            os_features=tuple(doc.texts("os.features")),
        ),
        rootfs_type=rootfs.text("type"),
        diff_ids=rootfs.texts("diff_ids") if rootfs.get("diff_ids") is not None else None,
        history=[_history(_Fields(item)) for item in doc.items("history")],
        config=_process(doc.fields("config")),
    )


def _process(c: "_Fields") -> ImageProcess:
    health = c.get("Healthcheck")
    return ImageProcess(
        user=c.text("User"),
        exposed_ports=set(c.mapping("ExposedPorts")),
        env=c.texts("Env"),
        entrypoint=c.texts("Entrypoint"),
        cmd=c.texts("Cmd"),
        volumes=set(c.mapping("Volumes")),
        working_dir=c.text("WorkingDir"),
        labels={k: _expect(v, str, f"Labels.{k}") for k, v in c.mapping("Labels").items()},
        stop_signal=c.text("StopSignal"),
        args_escaped=c.flag("ArgsEscaped"),
        healthcheck=_health(c.fields("Healthcheck")) if health is not None else None,
        onbuild=c.texts("OnBuild"),
        shell=c.texts("Shell"),
    )


def _health(h: "_Fields") -> Healthcheck:
    return Healthcheck(
        test=tuple(h.texts("Test")),
        interval=h.number("Interval"),
        timeout=h.number("Timeout"),
        start_period=h.number("StartPeriod"),
        start_interval=h.number("StartInterval"),
        retries=h.number("Retries"),
    )


def _history(h: "_Fields") -> HistoryEntry:
    return HistoryEntry(
        created=_time(h.text("created")),
        created_by=h.text("created_by"),
        author=h.text("author"),
        comment=h.text("comment"),
        empty_layer=h.flag("empty_layer"),
    )


_TIME = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:[.,]([0-9]+))?(Z|[+-][0-9]{2}:[0-9]{2})")


def _time(text: str) -> str:
    """RFC 3339 as Go writes it again: no zeros at the end of the fraction, Z for +00:00."""
    if not text:
        return ""
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"invalid image config: time {text[:100]!r}")
    fraction = (match[2] or "")[:9].rstrip("0")
    zone = "Z" if match[3] in ("+00:00", "-00:00") else match[3]
    return match[1] + (f".{fraction}" if fraction else "") + zone


def _expect(value: Any, kind: type, what: str) -> Any:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"invalid image config: {what} is no {kind.__name__}")
    return value


class _Fields:
    """A JSON object read as Go reads into a struct: null is absent, case of keys matters only when there is a choice."""

    def __init__(self, value: Any) -> None:
        self._value: Mapping[str, Any] = _expect(value, dict, "an element")

    def get(self, key: str) -> Any:
        if key in self._value:
            return self._value[key]
        folded = key.lower()
        return next((v for k, v in self._value.items() if k.lower() == folded), None)

    def _typed(self, key: str, kind: type, default: Any) -> Any:
        value = self.get(key)
        return default if value is None else _expect(value, kind, key)

    def text(self, key: str) -> str:
        return str(self._typed(key, str, ""))

    def flag(self, key: str) -> bool:
        return bool(self._typed(key, bool, False))

    def number(self, key: str) -> int:
        return int(self._typed(key, int, 0))

    def items(self, key: str) -> list[Any]:
        return list(self._typed(key, list, []))

    def texts(self, key: str) -> list[str]:
        return ["" if item is None else str(_expect(item, str, key)) for item in self.items(key)]

    def mapping(self, key: str) -> dict[str, Any]:
        return dict(self._typed(key, dict, {}))

    def fields(self, key: str) -> "_Fields":
        return _Fields(self._typed(key, dict, {}))


def image_json(image: Image) -> bytes:
    """The bytes of `containerimage.config`."""
    platform = image.platform
    doc: dict[str, Any] = _without_empty({"created": image.created, "author": image.author})
    doc |= {"architecture": platform.architecture, "os": platform.os}
    doc |= _without_empty({"os.version": platform.os_version, "os.features": list(platform.os_features), "variant": platform.variant})
    doc["rootfs"] = {"type": image.rootfs_type, "diff_ids": image.diff_ids}
    if image.history:
        doc["history"] = [_history_json(h) for h in image.history]
    doc["config"] = _process_json(image.config)
    return go_json(doc)


def _without_empty(fields: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in fields.items() if v}


def _history_json(h: HistoryEntry) -> dict[str, Any]:
    return _without_empty(
        {"created": h.created, "created_by": h.created_by, "author": h.author, "comment": h.comment, "empty_layer": h.empty_layer}
    )


def _process_json(c: ImageProcess) -> dict[str, Any]:
    health = c.healthcheck
    doc = _without_empty(
        {
            "User": c.user,
            "ExposedPorts": {p: {} for p in sorted(c.exposed_ports)},
            "Env": c.env,
            "Entrypoint": c.entrypoint,
            "Cmd": c.cmd,
            "Volumes": {v: {} for v in sorted(c.volumes)},
            "WorkingDir": c.working_dir,
            "Labels": dict(sorted(c.labels.items())),
            "StopSignal": c.stop_signal,
            "ArgsEscaped": c.args_escaped,
        }
    )
    if health is not None:
        doc["Healthcheck"] = _without_empty(
            {
                "Test": list(health.test),
                "Interval": health.interval,
                "Timeout": health.timeout,
                "StartPeriod": health.start_period,
                "StartInterval": health.start_interval,
                "Retries": health.retries,
            }
        )
    return doc | _without_empty({"OnBuild": c.onbuild, "Shell": c.shell})


def platform_json(platform: Platform) -> dict[str, object]:
    """A platform as image-spec writes it."""
    doc: dict[str, object] = {"architecture": platform.architecture, "os": platform.os}
    if platform.os_version:
        doc["os.version"] = platform.os_version
    if platform.os_features:
        doc["os.features"] = list(platform.os_features)
    if platform.variant:
        doc["variant"] = platform.variant
    return doc
