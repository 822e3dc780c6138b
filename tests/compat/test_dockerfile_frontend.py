"""Our Dockerfile frontend against BuildKit's own: the same options give the same operations, byte for byte.

`python -m tests.compat.test_dockerfile_frontend [FOLDER]` compares any folder of cases (one folder each, with a Dockerfile and perhaps an
options.json); base images that the test kit does not have are made up.
"""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.kit.dockerfile_cases import CASES, Case, answer, cases
from tests.kit.dockerfile_images import InventedImages, push_all
from tests.kit.parts.buildkitd import daemon, real_buildkitd
from tests.kit.parts.registry import registry_server
from tests.kit.real_frontend import RealFrontend, differences, real_frontend

RANDOM = frozenset(("err_unknown_instruction",))
"""Cases whose answer depends on the order of a Go map."""


REGISTRIES = (
    *("docker.io", "ghcr.io", "gcr.io", "quay.io", "mcr.microsoft.com", "registry.k8s.io", "k8s.gcr.io", "public.ecr.aws", "nvcr.io"),
    *("registry.access.redhat.com", "registry.fedoraproject.org", "docker.elastic.co", "registry.gitlab.com", "docker.pkg.github.com"),
)
"""Those that public Dockerfiles name; the test's own registry stands for all of them."""


@contextmanager
def judge(folder: Path) -> Iterator[tuple[RealFrontend, str]]:
    """The real frontend, and the URL of a registry with the kit's images that it takes for all others."""
    with registry_server(folder / "registry") as registry:
        push_all(registry.url)
        mirrors = "".join(f'[registry."{name}"]\n  mirrors = ["{registry.host}"]\n' for name in REGISTRIES)
        config = f'{mirrors}[registry."{registry.host}"]\n  http = true\n[worker.oci]\n  snapshotter = "native"\n'
        with daemon(folder / "buildkitd", real_buildkitd(), config=config) as server, real_frontend(server.addr) as real:
            yield real, registry.url


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealFrontend]:
    with judge(tmp_path_factory.mktemp("judge")) as (found, _):
        yield found


COMPARED = [case for case in cases() if case.name not in RANDOM]


@pytest.mark.root
@pytest.mark.parametrize("case", COMPARED, ids=[case.name for case in COMPARED])
def test_ours_gives_what_the_real_frontend_gives(case: Case, real: RealFrontend, tmp_path: Path) -> None:
    for name, content in case.files().items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    alone = Case(name=case.name, folder=tmp_path, options=case.options)

    assert differences(alone, real) == []


def main(root: Path) -> int:
    """Prints the differences of every case below `root`, then the figure."""
    same = count = 0
    with tempfile.TemporaryDirectory() as folder, judge(Path(folder)) as (found, url):
        images = None if root == CASES else InventedImages(url)
        for case in cases(root):
            if images is not None:
                answer(case, images=images)  # all that it asks for is there now
            texts = differences(case, found, images)
            same, count = same + (not texts), count + 1
            if texts:
                print(f"== {case.name}", *texts, sep="\n   ")
    print(f"{same} of {count} the same")
    return 0 if same == count else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else CASES))
