"""The HTTP and WebSocket edge: protocols in, protocols out. Stateless but for its sockets.

- `link`: commands to session hosts, events back; the only door to sessions
- `projection`: the session's events as the Responses API's
- `socket`: the native WebSocket; `responses`, `conversations`, `chat`, `models`: the HTTP routes
- `uvicorn_socket`: what uvicorn is to do differently with a WebSocket; `sink`: what it offers more
- `app`: puts them together as one ASGI application
- `deployment`: the Ray Serve shell, the only file here that knows Ray

It must never learn what a model or a provider is: it speaks of agents by name and leaves the rest
to the session.
"""
