"""The memory of the mesh: which cache key leads to which result, how much the results take, and what is dropped when.

`run(config, mesh)` answers calls on `call.cache` (CacheQuery, CacheRecordsOf, CacheSave, CacheLink, CacheDrop, DiskUsage, Prune) and
collects garbage after builds. It never holds blob bytes or snapshots: those it asks executors to count and to remove. One writer
per namespace; the graph is held in memory and written behind to sqlite or NATS KV. Semantics: BuildKit solver/cachemanager.go
and cache/manager.go.
"""

__all__: list[str] = []
