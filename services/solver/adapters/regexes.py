"""Regular expressions of clients: each in a process of its own, since one can take longer than the world lasts."""

import asyncio
import json
import sys
from typing import Final

from services.solver.core.source_policy import RegexQuestion, RegexReply
from shared.errors import BuildFailed

WITHIN: Final = 3.0
MAX_PATTERN: Final = 4096
_AT_A_TIME: Final = 2


class RegexProcesses:
    """Implements the port Regexes; answers are remembered."""

    def __init__(self) -> None:
        self._known: dict[RegexQuestion, RegexReply] = {}
        self._slots = asyncio.Semaphore(_AT_A_TIME)

    async def ask(self, question: RegexQuestion) -> RegexReply:
        """Raises BuildFailed for a bad expression, and for one that takes too long."""
        if len(question.pattern) > MAX_PATTERN:
            raise BuildFailed(f"error matching source policy: a regex of {len(question.pattern)} characters is too long")
        if question not in self._known:
            if len(self._known) > 10_000:
                self._known.clear()
            async with self._slots:
                self._known[question] = await self._run(question)
        return self._known[question]

    async def _run(self, question: RegexQuestion) -> RegexReply:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "services.solver.adapters.regex_program",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        asked = {"pattern": question.pattern, "text": question.text, "template": question.template}
        try:
            async with asyncio.timeout(WITHIN):
                said, _ = await process.communicate(json.dumps(asked).encode())
        except TimeoutError:
            raise BuildFailed(f'error matching source policy: regex "{question.pattern[:200]}" takes too long') from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return _reply(said, question)


def _reply(said: bytes, question: RegexQuestion) -> RegexReply:
    try:
        value = json.loads(said)
    except ValueError:
        raise BuildFailed(f'error matching source policy: regex "{question.pattern[:200]}" could not be asked') from None
    if "error" in value:
        raise BuildFailed(f"error matching source policy: {value['error']}")
    return RegexReply(found=bool(value["found"]), replaced=str(value["replaced"]))
