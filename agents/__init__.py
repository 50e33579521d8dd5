"""What a session talks to: one adapter per provider API behind the port `contracts.agents.Agent`.

- `spec`: AgentSpec and EmbedderSpec, the plain values an adapter is built from
- `registry`: provider name → the module that adapts it; `build(spec)`, `build_embedder(spec)`
- `openai_api`, `gemini_api`: the providers; each joins an SDK's template to a wire
- `wire_openai`, `wire_gemini`: a provider's JSON: requests out, stream events in; no I/O
- `sse`, `events`: server-sent events from bytes; readers of JSON inside them
- `streaming`: StreamingAgent: one request, one stream, one end; deadlines, cancel, limits
- `embedding`: HttpEmbedder: texts out, one vector for each back
- `wire_openai_embeddings`, `wire_gemini_embeddings`: a provider's JSON for those; no I/O
- `joint`: an answer that goes on: how it is asked for, and what it repeats taken out
- `assembly`: joins spec, template, pool and wire to an agent
- `pool`: one connection pool per provider, key and address
- `sdk`: reads off what a provider's SDK would send, without sending it
- `rates`: what a provider says of its rate limits
- `translate`: whatever a provider does wrong → the error tree
- `scrub`: takes keys out of texts that were not written here

Only this package may import a provider's SDK. It must not know sessions, turns, rules or Ray,
keeps nothing from one stream to the next but connections, and never retries: that is one loop,
in the turn, which alone knows what the user has already seen.
"""
