"""The provider simulator: a separate process that speaks the providers' real wire protocols.

The way of a request:

- `http`: one connection: bytes to `Request`s and back, keep-alive, backpressure, disconnects
- `app`: from a request to its reply; the one place where all parts meet
- `routes`: which path is whose, and whether a key was brought; `doors`: the `/_sim` paths
- `asks`: `Ask`, what a request comes down to whoever's protocol it came in
- `openai_chat`, `openai_responses`, `gemini_wire`: one protocol each, in both directions;
  `wire` is their port, `openai_wire` what OpenAI's two share
- `script`: the language of the `x-simulator` header and of the `scripted.` model names
- `going_on`: a request to go on with an answer that was cut off
- `persona`, with `recall`, `memo`, `skills` and `stock`: what an unscripted reply says
- `standing`: faults that are switched on while it runs
- `playback`, on `wheel`: a reply in time, with its faults
- `recorder`, `stats`: what it was sent and what came of it

It must know nothing of Troupe: no import of any other package of this repository, so that what
is tested against it is tested against a stranger.
"""
