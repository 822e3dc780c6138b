"""Decisions → snapshots: runs ops in containers, fetches sources, keeps snapshots. The only privileged service.

Nouns: snapshot, layer, lease, slot, container, source. `service.run(config, mesh)` is the only public function.
It never decides what to run: the solver does.
"""

__all__: list[str] = []
