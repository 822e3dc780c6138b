"""Runs the git program with nothing of the host in it: no configuration, no prompts, no transport but the allowed ones.

After BuildKit util/gitutil/git_cli.go; credentials go in by environment, never on the command line.
"""

import asyncio
import os
import signal
from dataclasses import dataclass, field
from pathlib import Path

from services.executor.core.git_refs import TRANSPORTS, is_commit, redact
from services.executor.ports import Reporter
from shared.errors import BuildFailed, Unsupported

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY")
_MAX_OUTPUT = 16 << 20
_NO_PROGRAM = 127  # the shell's exit status


@dataclass(frozen=True, slots=True, kw_only=True)
class GitCli:
    """How to run git for one remote. `secrets` are configuration entries that must not be seen; `remote` is masked in error texts."""

    report: Reporter
    remote: str
    git_dir: Path | None = None
    work_tree: Path | None = None
    secrets: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    ssh_socket: str = ""
    known_hosts: str = ""
    local: bool = False  # allow file:// for a repository of our own
    bundle: str = ""  # a bundle file that stands in for the remote

    @property
    def url(self) -> str:
        """Where objects come from."""
        return self.bundle or self.remote

    async def run(self, *args: str) -> str:
        """Standard output. Raises BuildFailed with git's own words; a cancelled caller kills git and what it started."""
        words = list(args)
        while True:
            status, out, err = await self._once(words)
            if status == 0:
                return out
            fewer = _without_what_failed(words, err)
            if len(fewer) == len(words):
                text = self._masked(err)
                raise BuildFailed(f"git stderr:\n{text}: exit status {status}")
            words = fewer

    async def _once(self, args: list[str]) -> tuple[int, str, str]:
        # The executor's own umask is 0; uvloop can't set another one for a child, so a shell does.
        command = ["/bin/sh", "-c", 'umask 022; exec "$@"', "sh", "git", "-c", "protocol.file.allow=user"]
        if self.work_tree is not None:
            command += ["--work-tree", str(self.work_tree)]
        if self.git_dir is not None:
            command += ["--git-dir", str(self.git_dir)]
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                *args,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=self._environment(),
                cwd=self.work_tree or self.git_dir or "/",
                start_new_session=True,
                limit=_MAX_OUTPUT,
            )
        except FileNotFoundError:
            raise Unsupported("git sources need /bin/sh, which is not installed here") from None
        try:
            out, err = await self._collect(process)
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        if process.returncode == _NO_PROGRAM:
            raise Unsupported("git sources need the git program, which is not installed here")
        return process.returncode or 0, out, err

    async def _collect(self, process: asyncio.subprocess.Process) -> tuple[str, str]:
        assert process.stdout is not None and process.stderr is not None
        async with asyncio.TaskGroup() as tasks:
            out = tasks.create_task(self._follow(process.stdout, 1))
            err = tasks.create_task(self._follow(process.stderr, 2))
        await process.wait()
        return out.result(), err.result()

    async def _follow(self, stream: asyncio.StreamReader, number: int) -> str:
        kept: list[bytes] = []
        size = 0
        while data := await stream.read(1 << 16):
            self.report.log(number, self._masked(data.decode("utf-8", "replace")).encode())
            size += len(data)
            if size <= _MAX_OUTPUT:
                kept.append(data)
        return b"".join(kept).decode("utf-8", "surrogateescape")

    def _masked(self, text: str) -> str:
        return text.replace(self.remote, redact(self.remote)) if redact(self.remote) != self.remote else text

    def _environment(self) -> dict[str, str]:
        hosts = f"-o UserKnownHostsFile={self.known_hosts}" if self.known_hosts else "-o StrictHostKeyChecking=no"
        env = {
            "PATH": os.environ.get("PATH", os.defpath),
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_SSH_COMMAND": f"ssh -F /dev/null {hosts}",
            "GIT_ALLOW_PROTOCOL": ":".join((*TRANSPORTS, "file") if self.local or self.bundle else TRANSPORTS),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "HOME": "/dev/null",
            "LC_ALL": "C",
        }
        for name in (*_PROXIES, *(p.lower() for p in _PROXIES)):
            if name in os.environ:
                env[name] = os.environ[name]
        if self.ssh_socket:
            env["SSH_AUTH_SOCK"] = self.ssh_socket
        # Our own directories may belong to another user than the one we run as.
        entries = (("safe.directory", "*"), *self.secrets)
        env["GIT_CONFIG_COUNT"] = str(len(entries))
        for i, (key, value) in enumerate(entries):
            env[f"GIT_CONFIG_KEY_{i}"], env[f"GIT_CONFIG_VALUE_{i}"] = key, value
        return env


def _without_what_failed(args: list[str], stderr: str) -> list[str]:
    """The command for a server that knows neither shallow fetches nor fetches by object name; the same when that is not the trouble."""
    if ("--depth" in stderr or "shallow" in stderr) and "--depth=1" in args:
        return [a for a in args if a != "--depth=1"]
    unknown = "not our ref" in stderr or "unadvertised object" in stderr
    if unknown and len(args) > 2 and args[0] == "fetch" and is_commit(args[-1]):
        return args[:-1]
    return args
