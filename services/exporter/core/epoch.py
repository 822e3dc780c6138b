"""SOURCE_DATE_EPOCH: where it comes from and how times are written (exporter/util/epoch/parse.go)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from shared.errors import InvalidInput

ATTRIBUTE = "source-date-epoch"
METADATA = "source.date.epoch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """`seconds` None = explicitly none, which also hides what the frontend says."""

    seconds: int | None


def parse_seconds(key: str, value: str) -> int | None:
    """Unix seconds; an empty value is None. Raises InvalidInput naming the key."""
    if value == "":
        return None
    try:
        seconds = int(value, 10)
    except ValueError:
        raise InvalidInput(f'invalid {key}: strconv.ParseInt: parsing "{value[:100]}": invalid syntax') from None
    if not -(1 << 63) <= seconds < 1 << 63:
        raise InvalidInput(f'invalid {key}: strconv.ParseInt: parsing "{value[:100]}": value out of range')
    return seconds


def from_attrs(attrs: Mapping[str, str]) -> Epoch | None:
    """The exporter's own attribute, None when it is not given."""
    if ATTRIBUTE not in attrs:
        return None
    return Epoch(seconds=parse_seconds(ATTRIBUTE, attrs[ATTRIBUTE]))


def from_metadata(metadata: Mapping[str, bytes], platform_id: str = "") -> int | None:
    """What the frontend chose, for this platform if it says so."""
    for key in (f"{METADATA}/{platform_id}", METADATA) if platform_id else (METADATA,):
        if key in metadata:
            text = metadata[key].decode(errors="replace")
            try:
                return parse_seconds(key, text)
            except InvalidInput as e:
                raise e.prefixed(f'invalid SOURCE_DATE_EPOCH from frontend: "{text[:100]}"') from None
    return None


def choose(attribute: Epoch | None, metadata: Mapping[str, bytes], platform_id: str = "") -> int | None:
    """The attribute wins, then the frontend's metadata."""
    return attribute.seconds if attribute is not None else from_metadata(metadata, platform_id)


def rfc3339(ns: int) -> str:
    """Nanoseconds since the epoch as Go marshals a UTC time: fraction only as long as needed."""
    seconds, nanos = divmod(ns, 1_000_000_000)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f".{nanos:09d}".rstrip("0") if nanos else ""
    return f"{text}{fraction}Z"


def parse_rfc3339(text: str) -> int:
    """Nanoseconds since the epoch. Raises ValueError naming the text."""
    main, dot, rest = text.partition(".")
    zone_at = next((i for i, c in enumerate(rest) if not c.isdigit()), len(rest))
    fraction, zone = rest[:zone_at], rest[zone_at:]
    whole = main + zone if dot else main
    try:
        moment = datetime.fromisoformat(whole.replace("Z", "+00:00"))
    except ValueError:
        raise ValueError(f"invalid time: {text[:60]!r}") from None
    if moment.tzinfo is None:
        raise ValueError(f"invalid time without zone: {text[:60]!r}")
    seconds = int(moment.timestamp())
    return seconds * 1_000_000_000 + int((fraction + "000000000")[:9])
