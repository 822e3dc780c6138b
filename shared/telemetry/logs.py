"""Structured logs: one line per fact, logfmt (as buildkitd's text format) or JSON, with trace id and build of the running span."""

import json
import sys
import time
from collections.abc import Mapping
from enum import Enum, IntEnum
from typing import Any, TextIO

from shared.telemetry.tracing import build_of, parse_traceparent

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._/@^+:")


class Level(IntEnum):
    """buildkitd's names; a higher number is more urgent."""

    TRACE = 5
    DEBUG = 10
    INFO = 20
    WARNING = 30
    ERROR = 40


class LogFormat(Enum):
    """How a line looks."""

    TEXT = "text"
    JSON = "json"


def parse_level(text: str) -> Level:
    """`error|warn|warning|info|debug|trace`. Raises ValueError naming the text."""
    name = text.upper()
    if name == "WARN":
        name = "WARNING"
    if name not in Level.__members__:
        raise ValueError(f"not a valid log level: {text[:40]!r}")
    return Level[name]


class Log:
    """Writes lines with the fields it was bound to. Values go through `str`; secrets are never passed here."""

    def __init__(
        self,
        *,
        level: Level = Level.INFO,
        format: LogFormat = LogFormat.TEXT,
        stream: TextIO | None = None,
        fields: Mapping[str, Any] | None = None,
        current: Any = None,
    ) -> None:
        self.level, self.format = level, format
        self._stream = stream
        self._fields = dict(fields or {})
        self._current = current  # () -> the context of the running span

    def bind(self, **fields: Any) -> "Log":
        """A log whose lines carry these fields too."""
        return Log(level=self.level, format=self.format, stream=self._stream, fields={**self._fields, **fields}, current=self._current)

    def debug(self, message: str, **fields: Any) -> None:
        """For those who look for a fault."""
        if self.level <= Level.DEBUG:
            self._write(Level.DEBUG, message, fields)

    def info(self, message: str, **fields: Any) -> None:
        """For operators: what the service does."""
        if self.level <= Level.INFO:
            self._write(Level.INFO, message, fields)

    def warning(self, message: str, **fields: Any) -> None:
        """Something is off; work goes on."""
        if self.level <= Level.WARNING:
            self._write(Level.WARNING, message, fields)

    def error(self, message: str, **fields: Any) -> None:
        """Work was lost or refused through our fault or the world's."""
        self._write(Level.ERROR, message, fields)

    def _write(self, level: Level, message: str, fields: Mapping[str, Any]) -> None:
        record: dict[str, Any] = {"time": _rfc3339(time.time_ns()), "level": level.name.lower(), "msg": message}
        context = self._current() if self._current is not None else ""
        if (trace := parse_traceparent(context)) is not None:
            record["traceID"] = trace[0]
        if build := build_of(context):
            record["build"] = build
        record |= self._fields
        record |= fields
        line = _json(record) if self.format is LogFormat.JSON else _logfmt(record)
        stream = self._stream or sys.stderr
        stream.write(line + "\n")
        stream.flush()


def _rfc3339(ns: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ns // 10**9)) + f".{ns % 10**9 // 10**6:03d}Z"


def _json(record: Mapping[str, Any]) -> str:
    return json.dumps(record, default=str, ensure_ascii=False, separators=(",", ":"))


def _logfmt(record: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={_quoted(str(value), key)}" for key, value in record.items())


def _quoted(text: str, key: str) -> str:
    if key not in ("msg", "time") and text and _PLAIN.issuperset(text):
        return text
    return json.dumps(text, ensure_ascii=False)
