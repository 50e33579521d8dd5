"""Who may come in: loopback in development, elsewhere the holder of a bearer key.

Without keys, loopback is all there is to go by, and a browser on this machine is on loopback
too, whatever page it shows. So an open door also looks at what a page cannot forge: the `Host` it
was reached by and the `Origin` it runs in.

A browser cannot set headers on a WebSocket. A ticket stands in: a short-lived statement signed
with a secret that is derived from the keys, so that every gateway replica can check it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

import orjson
from starlette.types import Scope

from contracts.errors import Forbidden, Unauthenticated

_TICKET = "ws"
_LOCAL_NAMES = frozenset({"localhost", "ip6-localhost"})


@dataclass(frozen=True, slots=True)
class Principal:
    """Whom a request acts for. `user` is None where the key does not name one."""

    org_id: str
    user: str | None = None


class Doors:
    """Decides who comes in.

    Args:
        open_doors: Let loopback in without a key.
        api_keys: Keys that are let in from anywhere.
        organization: Whom all callers act for.
        cors_origins: Further origins whose pages may use an open door.
        admin_key: Lets operators in; None: nobody where there are keys, else whom the open door
            lets in.
        ticket_ttl_s: How long a ticket is good for.
        clock: Unix seconds.
    """

    def __init__(
        self,
        *,
        open_doors: bool,
        api_keys: tuple[str, ...],
        organization: str,
        cors_origins: tuple[str, ...] = (),
        admin_key: str | None = None,
        ticket_ttl_s: float = 60.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._open = open_doors
        self._keys = [hashlib.sha256(key.encode()).digest() for key in api_keys if key]
        self._operators = [hashlib.sha256(admin_key.encode()).digest()] if admin_key else []
        self._organization = organization
        self._origins = frozenset(cors_origins)
        self._ttl_s = ticket_ttl_s
        self._clock = clock
        # Without a key only loopback comes in, and it needs no ticket: a secret of this process.
        self._secrets = [
            hmac.digest(key, b"troupe websocket ticket", "sha256") for key in self._keys
        ] or [secrets.token_bytes(32)]

    def admit(self, scope: Scope) -> Principal:
        """Who is asking, by key or by an open door. Raises `Unauthenticated`."""
        given = _bearer(scope)
        if given is not None and _knows(self._keys, given):
            return Principal(self._organization)
        if self._open and self._is_local(scope):
            return Principal(self._organization)
        if given is None:
            raise Unauthenticated(
                "No API key. Send it as `Authorization: Bearer <key>`.", code="missing_api_key"
            )
        raise Unauthenticated("The API key is not known.")

    def admit_operator(self, scope: Scope) -> None:
        """Let in who may change what holds for everybody.

        Raises:
            Unauthenticated: There is a key for that, and it was not given.
            Forbidden: There is none, and the doors are not open.
        """
        if not self._operators:
            if self._open and self._is_local(scope):
                return
            raise Forbidden(
                "The operators' API is closed: no admin key is set.", code="admin_disabled"
            )
        given = _bearer(scope)
        if given is None:
            raise Unauthenticated(
                "No admin key. Send it as `Authorization: Bearer <key>`.", code="missing_api_key"
            )
        if not _knows(self._operators, given):
            raise Unauthenticated("The admin key is not known.")

    def admit_socket(self, scope: Scope) -> Principal:
        """As `admit`, but a ticket in the query opens the door as well."""
        ticket = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("ticket")
        if not ticket:
            return self.admit(scope)
        try:
            return self.redeem(ticket[0])
        except Unauthenticated:
            if self._open and self._is_local(scope):
                return Principal(self._organization)
            raise

    # -- tickets ----------------------------------------------------------------------------------

    def issue(self, principal: Principal) -> tuple[str, int]:
        """A ticket for one kind of door, and the Unix second at which it ends."""
        expires_at = int(self._clock() + self._ttl_s)
        claims = {"for": _TICKET, "org": principal.org_id, "user": principal.user}
        payload = orjson.dumps({**claims, "exp": expires_at, "nonce": secrets.token_hex(8)})
        return f"{_b64(payload)}.{_b64(self._sign(self._secrets[0], payload))}", expires_at

    def redeem(self, ticket: str) -> Principal:
        """Whom the ticket was issued to. Raises `Unauthenticated`."""
        refused = Unauthenticated("The ticket is not valid; ask for a new one.", code="bad_ticket")
        payload, dot, signature = ticket.partition(".")
        try:
            body, given = _unb64(payload), _unb64(signature)
        except ValueError:
            raise refused from None
        known = False
        for secret in self._secrets:
            known |= hmac.compare_digest(self._sign(secret, body), given)
        if not (dot and known):
            raise refused
        claims = orjson.loads(body)
        if claims["for"] != _TICKET or claims["exp"] <= self._clock():
            raise refused
        return Principal(claims["org"], claims["user"])

    @staticmethod
    def _sign(secret: bytes, payload: bytes) -> bytes:
        return hmac.digest(secret, payload, "sha256")

    # -- keys and places --------------------------------------------------------------------------

    def _is_local(self, scope: Scope) -> bool:
        """Whether the caller is a program or a page of this machine.

        Proxies add headers that say who came: they can close this door, never open it.
        """
        client = scope.get("client")
        if client is None or not _is_loopback(client[0]):
            return False
        for name, raw in scope["headers"]:
            value = raw.decode("latin-1")
            if name in (b"x-forwarded-for", b"x-real-ip"):
                if not all(_is_loopback(part.strip()) for part in value.split(",")):
                    return False
            elif name == b"forwarded":
                return False
            elif name == b"host":
                if not _is_local_name(_host_of(f"//{value}")):
                    return False
            elif name == b"origin" and not self._is_welcome(value):
                return False
        return True

    def _is_welcome(self, origin: str) -> bool:
        return origin in self._origins or _is_local_name(_host_of(origin))


def _knows(keys: list[bytes], given: bytes) -> bool:
    digest = hashlib.sha256(given).digest()
    known = False
    for key in keys:  # all of them: the time taken must not tell which one matched
        known |= hmac.compare_digest(key, digest)
    return known


def _bearer(scope: Scope) -> bytes | None:
    for name, value in scope["headers"]:
        if name == b"authorization":
            scheme, _, key = value.partition(b" ")
            if scheme.lower() == b"bearer" and key.strip():
                return key.strip()
    return None


def _is_loopback(address: str) -> bool:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(ip, "ipv4_mapped", None)
    return (mapped or ip).is_loopback


def _host_of(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _is_local_name(name: str | None) -> bool:
    if name is None:
        return False
    return name in _LOCAL_NAMES or name.endswith(".localhost") or _is_loopback(name)


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _unb64(text: str) -> bytes:
    if not text.isascii():
        raise ValueError("not a ticket")
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
