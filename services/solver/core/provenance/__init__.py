"""Provenance: what a result was made from, and by which request (solver/llbsolver/provenance.go, provenance/)."""

__all__: list[str] = []
