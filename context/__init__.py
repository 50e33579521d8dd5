"""What a session remembers: Postgres holds the truth, Redis a hot copy of the newest context.

- `memory`: ContextMemory, the `Memory` port for session hosts: wires everything below
- `records`: Records, what the gateway reads and creates itself
- `migrate`: brings a database to this version's tables, once, whoever starts first
- `driver`: the only module that imports asyncpg; `postgres`: pooled connections, our errors
- `gather`: waiting work becomes batches (pure; no SQL)
- `writes`, `writer`: group commit: the writes of all sessions of a host share transactions
- `wake`: activations share statements in the same way
- `hot`: the hot copies in Redis
- `journal`: what hosts are about to tell, in Redis; `recover`: what the next activation makes of it
- `exchange`: what hosts tell each other of endpoints, and people of themselves, in Redis
- `replay`: the events of ended turns, from Postgres
- `rows`: rows to contracts' nouns and back
- `history`, `tokens`: the window of a conversation that a model is shown
- `text`: what no database can store is taken out of text

Nothing here knows Ray, a provider, a protocol or a setting's name. Nothing outside imports
asyncpg or redis.
"""
