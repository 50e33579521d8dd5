"""What needs a model to route: which labelled example a message is nearest to, or what a small
model calls it.

- `deployment`: the Serve deployment `Router`, a thin shell
- `oracle`: ModelOracle: many questions at a time to embedders, one at a time to agents
- `nearness`: vectors of examples, kept; cosine
- `sorting`: what a model is told that is to choose a label, and how its answer is read
- `reach`: RouterOracle: the deployment as a host reaches it

Only `deployment` and `reach` may import Ray. It keeps nothing but what can be asked for again, and
decides nothing: a question that has no answer in time is answered by the rule itself.
"""
