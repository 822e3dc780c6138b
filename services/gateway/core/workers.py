"""Which executors a client is shown as workers (BuildKit worker/filter.go)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

from shared.errors import InvalidInput
from shared.model.filters import parse_filter


class Labelled(Protocol):
    """An executor as filters see it."""

    @property
    def id(self) -> str: ...
    @property
    def labels(self) -> Mapping[str, str]: ...


Worker = TypeVar("Worker", bound=Labelled)


def select_workers(workers: Iterable[Worker], filters: Sequence[str]) -> list[Worker]:
    """Those that any filter matches, the first of them being the default. Keys: `id`, `labels.<key>`. Raises InvalidInput."""
    try:
        wanted = parse_filter(filters)
    except ValueError as error:
        raise InvalidInput(str(error)) from None
    return [w for w in workers if wanted.matches(lambda path, w=w: _field(w, path))]  # type: ignore[misc]


def _field(worker: Labelled, path: Sequence[str]) -> str | None:
    match path[0]:
        case "id":
            return worker.id or None
        case "labels":
            return worker.labels.get(".".join(path[1:]))
    return None
