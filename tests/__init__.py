"""The tests. `kit` holds what they share: fakes that pass the contracts, makers, and real servers (`kit.parts`)."""

__all__: list[str] = []
