"""Sessions and what carries them. Plain asyncio but for `host` and `directory`, the Ray shells.

- `log`: EventLog, a session's events `(epoch, seq)` without a gap
- `turn`: Turn, one answer from request to end
- `session`: Session, a mailbox, one turn at a time, the conversation
- `outlet`: Outlet and Pacer, events on their way to gateways
- `runtime`: HostRuntime, the sessions of one process
- `desk`: Desk, the agents a session can turn to and the rules that choose
- `placement`: where sessions live and where new ones go
- `host`, `directory`: the same as Ray actors

A session never knows a socket; it knows gateways only as outlets.
"""
