"""Devices of the machine by the Container Device Interface: what spec files say, which of them a step gets, and what that changes.

Source: the CDI specification, tags.cncf.io/container-device-interface, solver/llbsolver/cdidevices, vertex.go ValidateEntitlements.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from shared.errors import BuildFailed
from shared.llb import Device

CLASS = "org.mobyproject.buildkit.device.class"
AUTO_ALLOW = "org.mobyproject.buildkit.device.autoallow"
_KIND = re.compile(r"[A-Za-z](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?/[A-Za-z](?:[A-Za-z0-9_-]*[A-Za-z0-9])?")
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.:-]*[A-Za-z0-9])?")
_HOOKS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")


@dataclass(frozen=True, slots=True, kw_only=True)
class HostDevice:
    """`name` = `vendor/class=name`; `spec` names its file, whose own edits come along once for all its devices."""

    name: str
    annotations: Mapping[str, str] = field(default_factory=dict)
    edits: Mapping[str, Any] = field(default_factory=dict)
    spec: str = ""
    spec_edits: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        return self.name.partition("=")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeInfo:
    """What a device node of the machine is: `kind` c, b or p."""

    kind: str
    major: int
    minor: int


def parse_spec(document: Any, file: str) -> list[HostDevice]:
    """The devices of one spec file. Raises ValueError for what is none."""
    if not isinstance(document, dict) or not isinstance(document.get("cdiVersion"), str):
        raise ValueError(f"{file}: no CDI spec")
    kind = document.get("kind")
    if not isinstance(kind, str) or _KIND.fullmatch(kind) is None:
        raise ValueError(f"{file}: invalid kind {kind!r:.100}")
    general, found = _annotations(document), []
    for entry in _list(document, "devices"):
        name = entry.get("name") if isinstance(entry, dict) else None
        if not isinstance(name, str) or _NAME.fullmatch(name) is None:
            raise ValueError(f"{file}: invalid device name {name!r:.100}")
        found.append(
            HostDevice(
                name=f"{kind}={name}",
                annotations={**general, **_annotations(entry)},
                edits=_edits(entry, file),
                spec=file,
                spec_edits=_edits(document, file),
            )
        )
    return found


def _annotations(entry: Mapping[str, Any]) -> dict[str, str]:
    """YAML's booleans and numbers become text."""
    value = entry.get("annotations") or {}
    if not isinstance(value, dict):
        return {}
    return {str(k): str(v).lower() if isinstance(v, bool) else str(v) for k, v in value.items()}


def _edits(entry: Mapping[str, Any], file: str) -> dict[str, Any]:
    edits = entry.get("containerEdits") or {}
    if not isinstance(edits, dict):
        raise ValueError(f"{file}: invalid containerEdits")
    if not all(isinstance(text, str) and "=" in text.lstrip("=") for text in _list(edits, "env")):
        raise ValueError(f"{file}: invalid environment variable")
    needed = {"deviceNodes": ("path",), "mounts": ("hostPath", "containerPath"), "hooks": ("hookName", "path")}
    for key, names in needed.items():
        for item in _list(edits, key):
            if not isinstance(item, dict) or not all(isinstance(item.get(name), str) and item[name] for name in names):
                raise ValueError(f"{file}: invalid {key}")
            if key == "hooks" and item["hookName"] not in _HOOKS:
                raise ValueError(f"{file}: unknown hook name {item['hookName']!r:.100}")
    return edits


def _list(entry: Mapping[str, Any], key: str) -> list[Any]:
    value = entry.get(key) or []
    if not isinstance(value, list):
        raise ValueError(f"{key} is no list")
    return value


class HostDevices:
    """Those of one machine. `auto_allowed`: devices or kinds that every build may use."""

    def __init__(self, devices: Iterable[HostDevice], auto_allowed: Collection[str] = ()) -> None:
        self._by_name = {device.name: device for device in sorted(devices, key=lambda d: d.name)}
        self._auto = frozenset(auto_allowed)

    def all(self) -> list[HostDevice]:
        """By name."""
        return list(self._by_name.values())

    def is_free(self, device: HostDevice) -> bool:
        """Whether builds need no entitlement for it."""
        said = device.annotations.get(AUTO_ALLOW, "")
        return device.name in self._auto or device.kind in self._auto or said in ("1", "t", "T", "true", "TRUE", "True")

    def find(self, wanted: Sequence[Device]) -> list[HostDevice]:
        """`vendor/class=name`, `vendor/class` (the first one), `vendor/class=*`, or a class that devices are annotated with.

        Raises BuildFailed for one that is required and not there.
        """
        found: dict[str, HostDevice] = {}
        for device in wanted:
            here = self._one(device.name)
            if not here and not device.optional:
                raise BuildFailed(f'required device "{device.name}" is not registered')
            found |= {each.name: each for each in here}
        return list(found.values())

    def _one(self, name: str) -> list[HostDevice]:
        kind, _, own = name.partition("=")
        found: list[HostDevice] = []
        if "/" in kind:
            of_kind = [device for device in self._by_name.values() if device.kind == kind]
            match own:
                case "":
                    found = of_kind[:1]
                case "*":
                    found = of_kind
                case _:
                    found = [device for device in of_kind if device.name == name]
        return found or [device for device in self._by_name.values() if device.annotations.get(CLASS) == name]

    def allowed(self, wanted: Sequence[Device], entitlements: Collection[str]) -> list[HostDevice]:
        """What a step gets. `entitlements`: `device` (all), `device=NAME`, `device=NAME,alias=OTHER`. Raises BuildFailed."""
        grants = [entry.partition("=")[2] for entry in entitlements if entry.partition("=")[0] == "device"]
        if "" in grants:
            return self.find(wanted)
        names, aliases = _granted(grants)
        renamed = [Device(name=aliases[d.name], optional=d.optional) for d in wanted if d.name in aliases]
        found = self.find([d for d in wanted if d.name not in aliases])
        free = {device.name for name in names for device in self.find([Device(name=name, optional=True)])}
        refused = [device.name for device in found if device.name not in free and not self.is_free(device)]
        if refused:
            said = f"device {refused[0]} is" if len(refused) == 1 else f"devices {', '.join(refused)} are"
            raise BuildFailed(f"{said} requested by the build but not allowed")
        return list({device.name: device for device in (*self.find(renamed), *found)}.values())


def _granted(grants: Iterable[str]) -> tuple[list[str], dict[str, str]]:
    """Names, and what other names stand for."""
    names, aliases = [], {}
    for grant in grants:
        name, *rest = grant.split(",")
        alias = next((part.partition("=")[2] for part in rest if part.startswith("alias=")), "")
        if alias:
            aliases[alias] = name
        else:
            names.append(name)
    return names, aliases


def inject(spec: dict[str, Any], devices: Sequence[HostDevice], look: Callable[[str], NodeInfo]) -> None:
    """Change a container's runtime spec so that it has these devices; `look` tells what a node of the machine is, or raises BuildFailed."""
    seen: set[str] = set()
    for device in devices:
        if device.spec not in seen:
            seen.add(device.spec)
            _apply(spec, device.spec_edits, look)
        _apply(spec, device.edits, look)


def _apply(spec: dict[str, Any], edits: Mapping[str, Any], look: Callable[[str], NodeInfo]) -> None:
    process, linux = spec["process"], spec["linux"]
    for variable in _list(edits, "env"):
        name = variable.partition("=")[0] + "="
        process["env"] = [*(text for text in process["env"] if not text.startswith(name)), variable]
    for node in _list(edits, "deviceNodes"):
        _add_node(spec, node, look)
    for mount in _list(edits, "mounts"):
        _add_mount(spec, mount)
    for hook in _list(edits, "hooks"):
        kept = {key: hook[key] for key in ("path", "args", "env", "timeout") if hook.get(key) is not None}
        spec.setdefault("hooks", {}).setdefault(hook["hookName"], []).append(kept)
    for host, network in ((n.get("hostInterfaceName"), n) for n in _list(edits, "netDevices")):
        linux.setdefault("netDevices", {})[str(host)] = {"name": str(network.get("name") or host)}
    if isinstance(edits.get("intelRdt"), dict):
        linux["intelRdt"] = dict(edits["intelRdt"])
    groups = process["user"]["additionalGids"]
    groups.extend(gid for gid in _list(edits, "additionalGids") if isinstance(gid, int) and gid and gid not in groups)


def _add_node(spec: dict[str, Any], node: Mapping[str, Any], look: Callable[[str], NodeInfo]) -> None:
    kind, major, minor = node.get("type") or "", node.get("major") or 0, node.get("minor") or 0
    if not kind or (not major and kind != "p"):
        there = look(node.get("hostPath") or node["path"])
        if kind and kind != there.kind:
            raise BuildFailed(f"CDI device {node['path']}: it is of type {there.kind}, not {kind}")
        kind = there.kind
        if not major and kind != "p":
            major, minor = there.major, there.minor
    user = spec["process"]["user"]
    made = {"path": node["path"], "type": kind, "major": major, "minor": minor}
    made |= {"fileMode": node["fileMode"]} if node.get("fileMode") is not None else {}
    for key in ("uid", "gid"):
        if node.get(key) is not None or user[key]:
            made[key] = node[key] if node.get(key) is not None else user[key]
    linux = spec["linux"]
    linux["devices"] = [*(d for d in linux.get("devices", ()) if d["path"] != node["path"]), made]
    if kind in ("b", "c"):
        rule = {"allow": True, "type": kind, "major": major, "minor": minor, "access": node.get("permissions") or "rwm"}
        linux["resources"]["devices"].append(rule)


def _add_mount(spec: dict[str, Any], mount: Mapping[str, Any]) -> None:
    """Mounts stay in the order of their depth, so that none hides another."""
    target = mount["containerPath"]
    made = {"destination": target, "source": mount["hostPath"], "options": list(mount.get("options") or ())}
    made |= {"type": mount["type"]} if mount.get("type") else {}
    mounts = [*(m for m in spec["mounts"] if m["destination"] != target), made]
    spec["mounts"] = sorted(mounts, key=lambda m: len([part for part in m["destination"].split("/") if part]))
