"""Dataclasses that compile when they are used behave as always."""

import subprocess
import sys
from pathlib import Path

PROGRAM = """
from services.quick_start import lazy_dataclasses
lazy_dataclasses(); lazy_dataclasses()
from dataclasses import FrozenInstanceError, dataclass, field, replace

@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    x: int
    y: int = 2
    names: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self):
        if self.x < 0:
            raise ValueError("negative")

@dataclass
class Open:
    a: list = field(default_factory=list)

class Child(Open):
    pass

p = Point(x=1)
assert p == Point(x=1, names=("a",)) and p != Point(x=2) and hash(p) == hash(Point(x=1))
assert repr(p) == "Point(x=1, y=2, names=())" and replace(p, y=5).y == 5
for bad in (lambda: Point(), lambda: Point(x=-1), lambda: setattr(p, "x", 3), lambda: Point(1)):
    try:
        bad()
    except (TypeError, ValueError, FrozenInstanceError):
        continue
    raise SystemExit("accepted")
assert Child().a == [] and Child() == Child() and Child().a is not Child().a
print("fine", Open.__init__.__qualname__)
"""


def test_they_are_the_same() -> None:
    root = Path(__file__).parents[3]
    ran = subprocess.run([sys.executable, "-c", PROGRAM], cwd=root, capture_output=True, text=True, timeout=60, check=False)

    assert (ran.stdout, ran.stderr) == ("fine Open.__init__\n", "")


FIRST = """
import sys
import services.gateway.service, services.executor.service
heavy = {"shared.llb", "shared.oci", "services.executor.service.serving", "grpc", "nats", "minio", "aiohttp", "opentelemetry", "tarfile"}
print(sorted(heavy & set(sys.modules)))
"""


def test_what_a_first_answer_does_not_need_is_not_loaded_before_it() -> None:
    """Each of these costs 5 to 50 ms."""
    root = Path(__file__).parents[3]
    ran = subprocess.run([sys.executable, "-c", FIRST], cwd=root, capture_output=True, text=True, timeout=60, check=False)

    assert (ran.stdout, ran.stderr) == ("[]\n", "")
