"""The file sync protocol of BuildKit clients (tonistiigi/fsutil) and its patterns, sans I/O."""

from shared.fsutil.patterns import PatternMatcher

__all__ = ["PatternMatcher"]
