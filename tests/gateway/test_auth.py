from __future__ import annotations

import contextlib
import hmac
from typing import Any

import pytest

from contracts.errors import Unauthenticated
from gateway.auth import Doors, Principal

ORG = "org_default"


def scope(client: str | None = "127.0.0.1", query: str = "", **headers: str) -> dict[str, Any]:
    pairs = [(name.replace("_", "-").encode(), text.encode()) for name, text in headers.items()]
    return {
        "type": "http",
        "client": (client, 5) if client else None,
        "headers": pairs,
        "query_string": query.encode(),
    }


def doors(**given: Any) -> Doors:
    return Doors(**{"open_doors": False, "api_keys": ("k1", "k2"), "organization": ORG, **given})


@pytest.mark.parametrize("header", ["Bearer k1", "Bearer k2", "bearer k2", "Bearer  k1 "])
def test_a_known_key_opens_the_door(header: str) -> None:
    assert doors().admit(scope("10.0.0.1", authorization=header)) == Principal(ORG)


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "missing_api_key"),
        ("", "missing_api_key"),
        ("Bearer", "missing_api_key"),
        ("Basic k1", "missing_api_key"),
        ("Bearer k", "invalid_api_key"),
        ("Bearer k11", "invalid_api_key"),
        ("Bearer k1 k2", "invalid_api_key"),
        ("Bearer кey", "invalid_api_key"),
    ],
)
def test_anything_else_does_not(header: str | None, code: str) -> None:
    given = {"authorization": header} if header is not None else {}
    with pytest.raises(Unauthenticated) as caught:
        doors().admit(scope(**given))
    assert caught.value.cause_code == code
    assert "k1" not in caught.value.message


def test_keys_beyond_ascii_work() -> None:
    assert doors(api_keys=("ключ",)).admit(scope(authorization="Bearer ключ")).org_id == ORG


def test_an_empty_key_never_opens() -> None:
    with pytest.raises(Unauthenticated):
        doors(api_keys=("",)).admit(scope(authorization="Bearer "))


def test_every_key_is_compared_whichever_matches(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []
    compare = hmac.compare_digest

    def watching(a: bytes, b: bytes) -> bool:
        compared.append(a)
        return compare(a, b)

    monkeypatch.setattr(hmac, "compare_digest", watching)
    door = doors(api_keys=("k1", "k2", "k3"))
    counts: list[int] = []
    for key in ("k1", "k3", "no"):
        compared.clear()
        with contextlib.suppress(Unauthenticated):
            door.admit(scope(authorization=f"Bearer {key}"))
        counts.append(len(compared))
    assert counts == [3, 3, 3]
    assert {len(value) for value in compared} == {32}, "digests of one length, never the keys"


LOCAL: list[dict[str, Any]] = [
    {},
    {"client": "::1"},
    {"client": "::ffff:127.0.0.1"},
    {"client": "127.8.8.8"},
    {"host": "localhost:8000"},
    {"host": "127.0.0.1:8000"},
    {"host": "[::1]:8000"},
    {"host": "app.localhost"},
    {"host": "localhost", "origin": "http://localhost:3000"},
    {"x_forwarded_for": "127.0.0.1, ::1"},
    {"authorization": "Bearer whatever"},
]
FOREIGN: list[dict[str, Any]] = [
    {"client": "10.1.2.3"},
    {"client": None},
    {"client": "not an address"},
    {"host": "evil.example"},
    {"host": "localhost.evil.example"},
    {"host": "127.0.0.1.evil.example"},
    {"host": "[::1"},
    {"host": ""},
    {"host": "localhost", "origin": "https://evil.example"},
    {"host": "localhost", "origin": "null"},
    {"host": "localhost", "origin": "http://[::1"},
    {"x_forwarded_for": "10.1.2.3"},
    {"x_forwarded_for": "127.0.0.1, 10.1.2.3"},
    {"x_forwarded_for": "unknown"},
    {"x_real_ip": "10.1.2.3"},
    {"forwarded": "for=127.0.0.1"},
]


@pytest.mark.parametrize("given", LOCAL)
def test_an_open_door_lets_this_machine_in(given: dict[str, Any]) -> None:
    assert doors(open_doors=True, api_keys=()).admit(scope(**given)) == Principal(ORG)


@pytest.mark.parametrize("given", FOREIGN)
def test_an_open_door_is_shut_for_others_and_for_their_pages(given: dict[str, Any]) -> None:
    door = doors(open_doors=True, api_keys=())
    with pytest.raises(Unauthenticated):
        door.admit(scope(**given))
    with pytest.raises(Unauthenticated):
        door.admit_socket(scope(**given))


@pytest.mark.parametrize("given", [*LOCAL, *FOREIGN])
def test_a_shut_door_looks_at_keys_alone(given: dict[str, Any]) -> None:
    with pytest.raises(Unauthenticated):
        doors().admit(scope(**given))
    assert doors().admit(scope(**{**given, "authorization": "Bearer k1"})) == Principal(ORG)


def test_allowed_origins_may_use_an_open_door() -> None:
    door = doors(open_doors=True, api_keys=(), cors_origins=("https://ui.example",))
    assert door.admit(scope(host="localhost", origin="https://ui.example")) == Principal(ORG)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_ticket_opens_the_socket_for_its_time() -> None:
    clock = Clock()
    door = doors(clock=clock, ticket_ttl_s=60)
    ticket, expires_at = door.issue(Principal(ORG, "ann"))
    assert expires_at == 1060
    asked = scope("10.0.0.1", f"a=b&ticket={ticket}")
    assert door.admit_socket(asked) == Principal(ORG, "ann")
    clock.now = 1059.9
    assert door.admit_socket(asked) == Principal(ORG, "ann")
    clock.now = 1060.0
    with pytest.raises(Unauthenticated) as caught:
        door.admit_socket(asked)
    assert caught.value.cause_code == "bad_ticket"


def test_a_ticket_opens_nothing_but_the_socket() -> None:
    door = doors()
    ticket, _ = door.issue(Principal(ORG))
    with pytest.raises(Unauthenticated):
        door.admit(scope(query=f"ticket={ticket}"))
    with pytest.raises(Unauthenticated):
        door.admit(scope(authorization=f"Bearer {ticket}"))


def test_any_replica_with_the_key_knows_the_ticket_and_no_other() -> None:
    ticket, _ = doors().issue(Principal(ORG))
    assert doors(api_keys=("k0", "k1")).redeem(ticket) == Principal(ORG)
    for stranger in (doors(api_keys=("k3",)), doors(api_keys=(), open_doors=True)):
        with pytest.raises(Unauthenticated):
            stranger.redeem(ticket)


def test_no_letter_of_a_ticket_may_change() -> None:
    door = doors()
    ticket, _ = door.issue(Principal(ORG))
    for at in range(len(ticket)):
        other = "A" if ticket[at] != "A" else "Q"
        with pytest.raises(Unauthenticated):
            door.redeem(f"{ticket[:at]}{other}{ticket[at + 1 :]}")


@pytest.mark.parametrize("ticket", ["", ".", "a.b", "é.é", "x" * 5000, "AAAA.AAAA", "%00"])
def test_nonsense_is_no_ticket(ticket: str) -> None:
    with pytest.raises(Unauthenticated):
        doors().redeem(ticket)


def test_an_open_door_needs_no_ticket_and_forgives_an_old_one() -> None:
    door = doors(open_doors=True, api_keys=())
    ticket, _ = door.issue(Principal(ORG))
    assert door.admit_socket(scope(query=f"ticket={ticket}")) == Principal(ORG)
    assert door.admit_socket(scope(query="ticket=old")) == Principal(ORG)
    assert door.admit_socket(scope()) == Principal(ORG)
    with pytest.raises(Unauthenticated):
        door.admit_socket(scope("10.0.0.1", "ticket=old"))


def test_two_tickets_differ() -> None:
    door = doors()
    assert door.issue(Principal(ORG))[0] != door.issue(Principal(ORG))[0]
