"""What is measured. A scenario prepares a fresh daemon and then does one thing that counts."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.bench import contexts
from tests.bench.side import Side


@dataclass(slots=True, kw_only=True)
class Inputs:
    """Contexts that all scenarios share; each is made when it is first asked for. `busybox` and `debian` are image names."""

    folder: Path
    busybox: str
    debian: str
    _made: dict[str, Path] = field(default_factory=dict)

    def once(self, name: str, make: Callable[[Path], Path]) -> Path:
        if name not in self._made:
            self._made[name] = make(self.folder / name)
        return self._made[name]

    @property
    def files_20000(self) -> Path:
        return self.once("files-20000", lambda folder: contexts.many_files(folder, 20_000))

    @property
    def files_10000(self) -> Path:
        return self.once("files-10000", lambda folder: contexts.many_files(folder, 10_000))

    @property
    def big_file(self) -> Path:
        return self.once("big-file", lambda folder: contexts.one_file(folder, 400))

    @property
    def files_100(self) -> Path:
        return self.once("files-100", lambda folder: contexts.few_files(folder, 100))


Step = Callable[[Side, Inputs], None]


def nothing(_side: Side, _inputs: Inputs) -> None:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """`prepare` is not measured. `repeats` measurements are taken from one daemon; `again` runs before each but the first."""

    name: str
    title: str
    measure: Step
    prepare: Step = nothing
    again: Step = nothing
    repeats: int = 1


COPY_ALL: Final = "FROM scratch\nCOPY . /\n"
NEW_LAYER: Final = "FROM {base}\nRUN mkdir /copy && cp -a /usr/lib/gcc /usr/lib/x86_64-linux-gnu /usr/bin /copy/\n"


def pulled(side: Side, inputs: Inputs) -> None:
    """The busybox image is there and unpacked."""
    side.build(contexts.chain(inputs.busybox, 1), None, *side.arg())


def tiny(side: Side, inputs: Inputs) -> None:
    side.build(f"FROM {inputs.busybox}\nARG NONCE\nCOPY f1 /\nRUN echo $NONCE > /out\n", inputs.files_100, *side.arg())


def cached(side: Side, inputs: Inputs) -> None:
    side.build(contexts.copies(inputs.busybox, 12), inputs.files_100, "--opt", "build-arg:NONCE=same")


def context_20000(side: Side, inputs: Inputs) -> None:
    side.build(COPY_ALL, inputs.files_20000)


def touch_one(_side: Side, inputs: Inputs) -> None:
    file = inputs.files_20000 / "d007" / "file00700.txt"
    file.write_bytes(file.read_bytes()[::-1])


def context_20000_then_touch(side: Side, inputs: Inputs) -> None:
    context_20000(side, inputs)
    touch_one(side, inputs)


def big_file(side: Side, inputs: Inputs) -> None:
    side.build(COPY_ALL, inputs.big_file)


def run_40(side: Side, inputs: Inputs) -> None:
    side.build(contexts.chain(inputs.busybox, 39), None, *side.arg())


def run_30_parallel(side: Side, inputs: Inputs) -> None:
    side.build(contexts.fan(inputs.busybox, 30), None, *side.arg())


def copy_100(side: Side, inputs: Inputs) -> None:
    side.build(contexts.copies(inputs.busybox, 100), inputs.files_100, *side.arg())


def pull(side: Side, inputs: Inputs) -> None:
    side.build(f"FROM {inputs.debian}\nRUN true\n")


def new_layer(side: Side, inputs: Inputs) -> None:
    side.build(NEW_LAYER.format(base=inputs.debian))


def export_oci(side: Side, inputs: Inputs) -> None:
    side.build(NEW_LAYER.format(base=inputs.debian), None, "--output", f"type=oci,dest={side.work}/image.tar")


def push_gzip(side: Side, inputs: Inputs) -> None:
    output = f"type=image,name={side.registry}/bench/{next(side.nonce)}:latest,push=true"
    side.build(NEW_LAYER.format(base=inputs.debian), None, "--output", output)


def push_zstd(side: Side, inputs: Inputs) -> None:
    output = f"type=image,name={side.registry}/bench/{next(side.nonce)}:latest,push=true,compression=zstd,oci-mediatypes=true"
    side.build(NEW_LAYER.format(base=inputs.debian), None, "--output", output)


def copy_10000(side: Side, inputs: Inputs) -> None:
    side.build(COPY_ALL, inputs.files_10000)


def export_local(side: Side, inputs: Inputs) -> None:
    side.build(COPY_ALL, inputs.files_10000, "--output", f"type=local,dest={side.work}/local-{next(side.nonce)}")


def equal_8(side: Side, inputs: Inputs) -> None:
    option = side.arg()
    dockerfile = contexts.chain(inputs.busybox, 6)
    side.at_once([side.command(dockerfile, None, option) for _ in range(8)])


SCENARIOS: Final = (
    Scenario(name="tiny", title="tiny build (COPY, RUN)", prepare=pulled, measure=tiny, repeats=3),
    Scenario(name="cached", title="fully cached, 14 steps", prepare=cached, measure=cached, repeats=5),
    Scenario(name="context", title="context of 20,000 files (60 MB)", measure=context_20000),
    Scenario(
        name="incremental",
        title="the same, one file changed",
        prepare=context_20000_then_touch,
        measure=context_20000,
        again=touch_one,
        repeats=3,
    ),
    Scenario(name="big", title="context of one 400 MB file", measure=big_file),
    Scenario(name="run40", title="40 sequential RUN", prepare=pulled, measure=run_40),
    Scenario(name="run30", title="30 parallel RUN", prepare=pulled, measure=run_30_parallel),
    Scenario(name="copy100", title="100 COPY", prepare=pulled, measure=copy_100),
    Scenario(name="pull", title="pull and unpack (Debian with gcc)", measure=pull),
    Scenario(name="oci", title="export type=oci, 150 MB of new layer", prepare=new_layer, measure=export_oci),
    Scenario(name="push-gzip", title="push, gzip", prepare=new_layer, measure=push_gzip),
    Scenario(name="push-zstd", title="push, zstd", prepare=new_layer, measure=push_zstd),
    Scenario(name="local", title="export type=local, 10,000 files", prepare=copy_10000, measure=export_local, repeats=2),
    Scenario(name="equal8", title="8 equal builds at once, 7 RUN each", prepare=pulled, measure=equal_8),
)
