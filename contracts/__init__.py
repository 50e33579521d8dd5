"""Shared nouns and ports of Troupe. Standard library only.

- `errors`: the one error tree, what a client sees and whether a retry makes sense
- `ids`: time-ordered ids with a prefix that names the noun
- `messages`: Message, Usage, ResponseRecord: what is said and what came of it
- `events`: Event and Cursor: what happens in a session, in order
- `commands`: what a gateway asks of a host, and how the host answers
- `decisions`: Decision: which agent answers, and why; Oracle: what a model is asked to route by
- `policies`: Policy: a version of what operators change while Troupe runs
- `money`: Price, Charge, Budgets: what turns cost and may cost
- `agents`: the port every provider adapter implements
- `errands`: Schedule and Delivery: what happens without anybody at a socket
- `memory`: the port of a session's durable and hot context

Nothing here may import another Troupe package or a third-party one.
"""
