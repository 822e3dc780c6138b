"""Reaching the daemon: address and TLS options that all verbs share, and running a verb's coroutine."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Final

from client.control import Control, Tls, control
from client.excerpt import excerpts
from shared.errors import BuildmeshError, Code, InvalidInput

if TYPE_CHECKING:
    import ssl

    from shared.rpc import CallOpener

DEFAULT_ADDRESS: Final = "unix:///run/buildmesh/buildmeshd.sock"


def default_address(environ: Mapping[str, str]) -> str:
    return environ.get("BUILDMESH_HOST") or environ.get("BUILDKIT_HOST") or DEFAULT_ADDRESS


class _TlsFolder(argparse.Action):
    """Stands for the three files of a folder that `buildmesh certs` has filled."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: object, option_string: str | None = None
    ) -> None:
        for option, name in (("tlscacert", "ca.pem"), ("tlscert", "cert.pem"), ("tlskey", "key.pem")):
            setattr(namespace, option, os.path.join(str(values), name))


def configure(parser: argparse.ArgumentParser) -> None:
    """Options spelled as buildctl's global ones."""
    parser.add_argument(
        "--addr", default=default_address(os.environ), metavar="ADDRESS", help="unix://PATH or tcp://HOST:PORT (default: %(default)s)"
    )
    parser.add_argument("--tlsservername", default="", metavar="NAME", help="name to verify the server's certificate against")
    parser.add_argument("--tlscacert", default="", metavar="FILE", help="CA certificate to verify the server with")
    parser.add_argument("--tlscert", default="", metavar="FILE", help="client certificate")
    parser.add_argument("--tlskey", default="", metavar="FILE", help="key of the client certificate")
    parser.add_argument("--tlsdir", action=_TlsFolder, default="", metavar="FOLDER", help="all three: ca.pem, cert.pem and key.pem in it")
    parser.add_argument("--timeout", type=float, default=5.0, metavar="SECONDS", help="for connecting (default: %(default)s)")


def tls_context(arguments: argparse.Namespace) -> ssl.SSLContext | None:
    """None when no TLS option is given. Raises InvalidInput for files that can't be used."""
    import ssl

    if not (arguments.tlscacert or arguments.tlscert):
        return None
    try:
        context = ssl.create_default_context(cafile=arguments.tlscacert or None)
        context.set_alpn_protocols(["h2"])
        if arguments.tlscert:
            context.load_cert_chain(arguments.tlscert, arguments.tlskey or None)
    except OSError as error:
        files = ", ".join(filter(None, (arguments.tlscacert, arguments.tlscert, arguments.tlskey)))
        raise InvalidInput(f"TLS files {files}: {error.strerror or error}") from None
    return context


@asynccontextmanager
async def daemon(arguments: argparse.Namespace) -> AsyncIterator[CallOpener]:
    """A connection that can hold a session, as the options ask for."""
    from shared.rpc import connect

    tls = tls_context(arguments)
    async with connect(arguments.addr, tls=tls, server_name=arguments.tlsservername, within=arguments.timeout) as peer:
        yield peer


def asked(arguments: argparse.Namespace) -> AbstractContextManager[Control]:
    """A connection for asking only, as the options ask for."""
    tls = None
    if arguments.tlscacert or arguments.tlscert:
        tls = Tls(ca=arguments.tlscacert, cert=arguments.tlscert, key=arguments.tlskey, server_name=arguments.tlsservername)
    return control(arguments.addr, tls=tls, within=arguments.timeout)


def complete(work: Callable[[], None], *, prefix: str = "") -> int:
    """Run `work`; an error is printed as buildctl prints it. Returns the exit status."""
    try:
        work()
    except BuildmeshError as error:
        sys.stderr.write(excerpts(error))
        print(f"error: {prefix}{told(error)}", file=sys.stderr)
        return 1
    return 0


def told(error: BuildmeshError) -> str:
    """The message, after the name of its code unless that says nothing."""
    if error.status_code in (Code.OK, Code.UNKNOWN):
        return error.message
    name = "".join(word.capitalize() for word in error.status_code.name.split("_"))
    return f"{name}: {error.message}"
