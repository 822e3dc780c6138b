"""From stages to operations: one file per family of instructions.

`convert` is the way through: names of stages, images they start from, then instruction by instruction
(`dispatch`) into the state, image config and history of a `StageState`.
"""

__all__: list[str] = []
