"""The edge machine: `handle(event) -> effects`, pure and sync.

Nouns: a *vertex* is one op of a definition, an *edge* one output of a vertex that is being solved, a *pipe* a request
between edges (or from an edge to a call), a *call* work in the world (cache map, cache question, content hash, load, run).
A *job* is one build; vertices are shared by digest between jobs, equal edges are merged by cache key.

Order of reading: vertex, cache_key, pipe, edge_rules, edge, shared_op, edge_index, job_graph, scheduler.
Never here: I/O, clocks, randomness, asyncio. Semantics follow BuildKit's solver/{edge,scheduler,jobs,index}.go.
"""

__all__: list[str] = []
