"""Errands: what Troupe does without anybody at a socket. Plain asyncio, run in every gateway.

- `courier`: tells webhook endpoints of turns that have ended
- `scheduler`: begins the turns of schedules when their time has come
- `janitor`: deletes conversations whose time is over, and what errands leave behind
- `crew`: starts and stops them all

Each works in rounds, takes its work by lease from Postgres and knows stores and sessions by port
alone. Any number may run at once: whoever dies in the middle is followed by another.
"""
