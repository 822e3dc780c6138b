"""Values as exporter attributes carry them (Go's strconv syntax)."""

from shared.errors import InvalidInput

_TRUE = {"1", "t", "T", "TRUE", "true", "True"}
_FALSE = {"0", "f", "F", "FALSE", "false", "False"}


def parse_bool(key: str, value: str) -> bool:
    """strconv.ParseBool. Raises InvalidInput naming the key and the value."""
    if value in _TRUE:
        return True
    if value in _FALSE:
        return False
    raise InvalidInput(f'non-bool value specified for {key}: strconv.ParseBool: parsing "{value[:100]}": invalid syntax')


def parse_flag(key: str, value: str) -> bool:
    """As parse_bool, but an empty value means true (`push=`)."""
    return True if value == "" else parse_bool(key, value)


def parse_int(key: str, value: str, *, low: int, high: int) -> int:
    """A decimal integer within [low, high]. Raises InvalidInput naming the key."""
    try:
        number = int(value, 10)
    except ValueError:
        raise InvalidInput(f"non-int value {value[:100]!r} specified for {key}") from None
    if not low <= number <= high:
        raise InvalidInput(f"value {number} for {key} is out of range [{low}, {high}]")
    return number
