"""Bytes of the layers that results consist of."""

from services.cachestore.core.kept_layers import KeptLayers
from services.cachestore.core.key_graph import KeyGraph
from shared.model import Digest, Layer, Ref


def layer(letter: str, size: int, source: str = "") -> Layer:
    digest = Digest("sha256:" + letter * 64)
    return Layer(digest=digest, diff_id=digest, size=size, media_type="m", source=source)


def ref(id: str, *layers: Layer) -> Ref:
    return Ref(id=id, home="e1", layers=layers)


def test_a_layer_counts_once_however_many_results_have_it() -> None:
    kept, base = KeptLayers(), layer("a", 100)
    one, two = ref("one", base, layer("b", 7)), ref("two", base, layer("c", 9), layer("d", 1000, "docker.io/library/busybox"))

    kept.exchanged(None, one)
    kept.exchanged(None, two)
    both = kept.bytes
    kept.exchanged(one, None)
    kept.exchanged(two, two)

    assert (both, kept.bytes) == (116, 109)


def test_a_size_that_is_told_differently_later_does_no_harm() -> None:
    kept = KeptLayers()
    kept.exchanged(None, ref("one", layer("a", 5)))
    kept.exchanged(None, ref("two", layer("a", 50)))
    kept.exchanged(ref("two", layer("a", 50)), None)
    kept.exchanged(ref("one", layer("a", 5)), None)

    assert kept.bytes == 0


def test_the_graph_tells_them_as_results_come_are_published_and_go() -> None:
    graph, told = KeyGraph(), []
    graph.add_result("k1", ref("one"), 1)
    told.append(graph.statistics()["bytes"])
    graph.publish(ref("one", layer("a", 5), layer("b", 6)))
    told.append(graph.statistics()["bytes"])
    again = KeyGraph()
    again.restore(graph.rows())
    told.append(again.statistics()["bytes"])
    graph.release("one")
    told.append(graph.statistics()["bytes"])

    assert told == [0, 11, 11, 0]
