"""Reading `build`'s options into a BuildRequest: buildctl's spelling, and the short form of docker users."""

from __future__ import annotations

import argparse
import csv
import os
from collections.abc import Iterable, Mapping

from client import image_layouts, secrets, ssh
from client.request import BuildRequest, CacheEntry, Export
from client.targets import Target
from shared.errors import InvalidInput

_TO_FILE = ("tar", "oci", "docker")


def pairs(texts: Iterable[str], option: str) -> dict[str, str]:
    """`key=value` each."""
    found = {}
    for text in texts:
        key, separator, value = text.partition("=")
        if not separator or not key:
            raise InvalidInput(f"{option} {text}: want KEY=VALUE")
        found[key] = value
    return found


def fields(text: str, option: str) -> dict[str, str]:
    """`key=value,…` as CSV, so that a value may be quoted to hold a comma."""
    row = next(csv.reader([text], strict=True), [])
    out = {}
    for part in row:
        key, separator, value = part.partition("=")
        if not separator:
            raise InvalidInput(f"{option} {text}: {part!r} is not KEY=VALUE")
        out[key.lower()] = value
    return out


def export(text: str) -> Export:
    """One `--output`: `type=…,…`, a folder's path, or `-` for a tar on standard output."""
    if "=" not in text:
        target = Target(path=text, is_folder=text != "-")
        return Export(kind="local" if target.is_folder else "tar", target=target)
    attrs = fields(text, "--output")
    kind = attrs.pop("type", "")
    if not kind:
        raise InvalidInput(f"--output {text}: type is missing")
    if kind == "registry":
        kind, attrs["push"] = "image", "true"
    place = attrs.pop("dest", attrs.pop("output", ""))
    return Export(kind=kind, attrs=attrs, target=_target(kind, place, attrs, text))


def _target(kind: str, place: str, attrs: Mapping[str, str], text: str) -> Target | None:
    if kind == "local":
        if not place:
            raise InvalidInput(f"--output {text}: dest is missing")
        return Target(path=place, is_folder=True, mirror=attrs.get("mode") == "delete")
    if kind in _TO_FILE:
        if attrs.get("tar") == "false":
            raise InvalidInput(f"--output {text}: tar=false is not supported by this client; buildctl has it")
        if os.path.isdir(place):
            raise InvalidInput(f"--output {text}: dest is a folder, a file is wanted")
        return Target(path=place or "-", is_folder=False)
    if place:
        raise InvalidInput(f"--output {text}: dest is for type=local, tar, oci and docker")
    return None


def cache_entry(text: str, option: str) -> CacheEntry:
    """`type=registry,ref=…`, or just a reference."""
    if "=" not in text:
        return CacheEntry(kind="registry", attrs={"ref": text})
    attrs = fields(text, option)
    kind = attrs.pop("type", "")
    if not kind:
        raise InvalidInput(f"{option} {text}: type is missing")
    if kind == "local":
        raise InvalidInput(f"{option} {text}: local caches are not supported by this client; buildctl has them")
    return CacheEntry(kind=kind, attrs=attrs)


def build_request(arguments: argparse.Namespace, environ: Mapping[str, str]) -> BuildRequest:
    """Raises InvalidInput naming the option that can't be understood."""
    attrs = pairs(arguments.opt, "--opt")
    folders = pairs(arguments.local, "--local")
    if arguments.path is not None:
        _short_form(arguments, attrs, folders)
    if attrs.get("requestid"):  # its answer comes over the bridge, where this client does not ask
        raise InvalidInput("--opt requestid: this client doesn't show answers of frontends; buildctl does, and buildx build --call")
    attrs |= _frontend_attrs(arguments, environ)
    layouts: dict[str, str] = {}
    for name, value in pairs(arguments.build_context, "--build-context").items():
        attrs[f"context:{name}"] = _named_context(name, value, folders, layouts)
    return BuildRequest(
        frontend=arguments.frontend,
        attrs=attrs,
        locals=folders,
        layouts=layouts,
        exports=_exports(arguments),
        cache_exports=tuple(cache_entry(text, "--export-cache") for text in arguments.export_cache),
        cache_imports=tuple(cache_entry(text, "--import-cache") for text in arguments.import_cache),
        entitlements=tuple(arguments.allow),
        secrets=tuple(secrets.parse(text, environ) for text in arguments.secret),
        agents=dict(ssh.parse(text, environ) for text in arguments.ssh),
    )


def _short_form(arguments: argparse.Namespace, attrs: dict[str, str], folders: dict[str, str]) -> None:
    """`buildmesh build [-f FILE] PATH-OR-URL`."""
    path = arguments.path
    if "://" in path or path.startswith("git@"):
        attrs["context"] = path
        if arguments.file:
            attrs["filename"] = arguments.file
        return
    file = arguments.file or os.path.join(path, "Dockerfile")
    if not os.path.isfile(file):
        raise InvalidInput(f"no Dockerfile at {file}")
    folders.setdefault("context", path)
    folders.setdefault("dockerfile", os.path.dirname(file) or ".")
    attrs.setdefault("filename", os.path.basename(file))


def _named_context(name: str, value: str, folders: dict[str, str], layouts: dict[str, str]) -> str:
    if value.startswith(image_layouts.SCHEME):
        store = f"context-{len(layouts)}"  # a name of its own: the context's may hold what a reference does not
        layouts[store], digest = image_layouts.parse(value, f"--build-context {name}=")
        return f"{image_layouts.SCHEME}{store}@{digest}"
    if "://" in value:
        return value
    folders[name] = value
    return f"local:{name}"


def _frontend_attrs(arguments: argparse.Namespace, environ: Mapping[str, str]) -> dict[str, str]:
    attrs = {}
    for text in arguments.build_arg:
        key, separator, value = text.partition("=")
        if separator or key in environ:  # a bare name takes the value of the environment
            attrs[f"build-arg:{key}"] = value if separator else environ[key]
    attrs |= {f"label:{key}": value for key, value in pairs(arguments.label, "--label").items()}
    if arguments.target:
        attrs["target"] = arguments.target
    if arguments.platform:
        attrs["platform"] = ",".join(arguments.platform)
    if arguments.no_cache:
        attrs["no-cache"] = ""
    if arguments.pull:
        attrs["image-resolve-mode"] = "pull"
    return attrs


def _exports(arguments: argparse.Namespace) -> tuple[Export, ...]:
    """What `-t` names goes to each image output; without any output it makes one."""
    exports = [export(text) for text in arguments.output]
    if arguments.tag or arguments.push:
        named = {"name": ",".join(arguments.tag)} if arguments.tag else {}
        if not exports:
            exports = [Export(kind="image")]
        push = {"push": "true"} if arguments.push else {}
        exports = [
            Export(kind=e.kind, target=e.target, attrs={**named, **e.attrs, **(push if e.kind == "image" else {})})
            if e.kind in ("image", "oci", "docker")
            else e
            for e in exports
        ]
    return tuple(exports)
