"""HEALTHCHECK (instructions/parse.go parseHealthcheck)."""

from services.frontend.core.dockerfile.commands import Common, Healthcheck, HealthcheckCommand
from services.frontend.core.dockerfile.flags import FlagKind, Flags, parse_flags
from services.frontend.core.dockerfile.run import joined_args
from services.frontend.core.failure import DockerfileError
from services.frontend.core.go_text import parse_duration, parse_int
from shared.llb.go_text import quote

_FLAGS = dict.fromkeys(("interval", "timeout", "start-period", "start-interval", "retries"), FlagKind.TEXT)
_MILLISECOND = 1_000_000


def parse_healthcheck(args: list[str], flags: list[str], json: bool, common: Common) -> HealthcheckCommand:
    """`NONE`, or `CMD` with its options."""
    kind, rest = args[0].upper(), args[1:]
    if kind == "NONE":
        if rest:
            raise DockerfileError("HEALTHCHECK NONE takes no arguments")
        return HealthcheckCommand(health=Healthcheck(test=(kind,)), **common)
    given = parse_flags(flags, _FLAGS)
    if kind != "CMD":
        raise DockerfileError(f"Unknown type {quote(kind)} in HEALTHCHECK (try CMD)")
    command = joined_args(rest, json)
    if not command:
        raise DockerfileError("Missing command after HEALTHCHECK CMD")
    health = Healthcheck(
        test=(kind if json else "CMD-SHELL", *command),
        interval=_interval(given, "interval"),
        timeout=_interval(given, "timeout"),
        start_period=_interval(given, "start-period"),
        start_interval=_interval(given, "start-interval"),
        retries=_retries(given),
    )
    return HealthcheckCommand(health=health, **common)


def _interval(flags: Flags, name: str) -> int:
    text = flags.text(name)
    duration = parse_duration(text) if text else 0
    if duration != 0 and duration < _MILLISECOND:
        raise DockerfileError(f"Interval {quote(name)} cannot be less than 1ms")
    return duration


def _retries(flags: Flags) -> int:
    text = flags.text("retries")
    retries = parse_int(text, 32) if text else 0
    if retries < 0:
        raise DockerfileError(f"--retries cannot be negative ({retries})")
    return retries
