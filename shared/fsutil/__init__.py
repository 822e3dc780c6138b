"""The file sync protocol of BuildKit clients (tonistiigi/fsutil) and its patterns, sans I/O.

Nouns: `Stat` (one entry, mode as in Go), packets (STAT, REQ, DATA, FIN, ERR), `Receiver` (chunks in, steps for a tree writer out), `Sender`
(entries in, packets out), `Validator` (order and links), `PatternMatcher`. The disk side is shared.session.tree_reader and .tree_writer.
"""

from shared.fsutil.packets import Malformed, Stat
from shared.fsutil.patterns import PatternMatcher
from shared.fsutil.receiver import Differ, Receiver
from shared.fsutil.sender import Sender, reset_hardlinks

__all__ = ["Differ", "Malformed", "PatternMatcher", "Receiver", "Sender", "Stat", "reset_hardlinks"]
