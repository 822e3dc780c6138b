"""Which images count for which platform of a result."""

from services.solver.core.provenance.sources import ImageSource
from services.solver.service.provenance import for_platform
from shared.model import parse_platform
from shared.oci.result_platforms import TargetPlatform

AMD64, ARM64 = parse_platform("linux/amd64"), parse_platform("linux/arm64")
TARGETS = [TargetPlatform(id="linux/amd64", platform=AMD64), TargetPlatform(id="linux/arm64", platform=ARM64)]


def test_an_image_of_all_platforms_counts_once_for_each() -> None:
    images = [ImageSource(ref="a", platform=AMD64), ImageSource(ref="a", platform=ARM64), ImageSource(ref="tool", platform=AMD64)]

    found = for_platform(images, "linux/arm64", TARGETS)

    assert found == [ImageSource(ref="a", platform=ARM64), ImageSource(ref="tool", platform=AMD64)]


def test_images_without_platform_always_count() -> None:
    assert for_platform([ImageSource(ref="a")], "linux/amd64", TARGETS) == [ImageSource(ref="a")]
