"""Bounds and pace of a host and of each of its sessions."""

from __future__ import annotations

from dataclasses import dataclass

from contracts.pace import Pace


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """Bounds of one session.

    Args:
        mailbox: Turns that may run and wait at once.
        mail: Commands that may wait to be handled.
        messages: Messages kept in memory, newest first to stay.
        replay_events: Events rebuilt from the store for one reader at most.
        save_attempts: How often an ended turn is offered to a store that is away, about a
            second apart, before the host gives it up.
        turn_attempts: Activations that may run one turn; a turn that has lost as many hosts fails.
        turn_s: Seconds that one activation may take for a turn, all its requests together.
    """

    mailbox: int
    mail: int
    messages: int
    replay_events: int
    save_attempts: int
    turn_attempts: int = 3
    turn_s: float = 600.0


@dataclass(frozen=True, slots=True)
class HostLimits:
    """Bounds and pace of a host. Times in seconds.

    Args:
        sessions: Sessions held at once.
        idle_s: After this long without a turn, a session is let go; its readers stay at their
            gateways.
        linger_s: After this long without a turn, its events are left to the store.
        sweep_s: How often that is looked at.
        urgent_s, pace, phases: See `outlet`.
        keepalive_s: A pipe says something at least this often.
        outlet_items: Items that may wait for one gateway.
    """

    sessions: int
    idle_s: float
    linger_s: float
    sweep_s: float
    urgent_s: float
    pace: Pace
    phases: int
    keepalive_s: float
    outlet_items: int
