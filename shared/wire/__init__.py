"""What travels on the bus: messages (frozen dataclasses), their codec (msgpack) and the table of subjects.

Facts and small work only (at most 64 KiB encoded); anything larger goes to the blob store and travels as a digest.
docs/bus.md tells who says each message and who hears it.
"""

__all__: list[str] = []
