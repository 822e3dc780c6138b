"""A client's session: the daemon's side of the inner HTTP/2 connection, and the typed calls on it (reference: BuildKit session/).

`ports.py` is what services use; it hides whether the session is in this process or lent by another gateway.
The gateway makes a `SessionConnection` per Control.Session call (`with registry.holding(c): await c.hold(call)`); `SessionRegistry`
finds it within the process, `relay.relay_routes` lends it to other processes and `relay.RelayLinks` opens calls through that.

Callers: `filesync.receive_local` (a client's directory into a folder, only what differs), `filesend.export_tree`/`export_file`,
`ssh.forward_agent`, `secrets`, `credentials`, `upload`, `content`. Disk side: `tree_reader.walk`/`open_file`, `tree_writer.TreeWriter`.
"""

__all__: list[str] = []
