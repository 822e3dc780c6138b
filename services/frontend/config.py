"""Configuration of the frontend service."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontendConfig:
    """`threads`: how many Dockerfiles are read at the same time; more wait. One core's worth of work each, a few ms as a rule."""

    threads: int = 2
    allowed_images: tuple[str, ...] = ()
    """Repositories whose images may run as frontends; empty = any."""
