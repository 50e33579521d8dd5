"""Where a webhook may go: outside development to the internet alone."""

from __future__ import annotations

import socket

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from errands.addresses import may_be_public
from errands.sender import HttpSender, PublicResolver, Unreached
from tests.errands.receiver import Receiver


class Names(AbstractResolver):
    """One name with several addresses."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=one, port=port, family=family, proto=0, flags=0)
            for one in self.addresses
        ]

    async def close(self) -> None:
        return None


async def test_a_name_that_leads_to_this_machine_is_not_connected_to(receiver: Receiver) -> None:
    sender = HttpSender(timeout_s=5, connections=1, private=False)
    try:
        for host in ("localhost", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0"):
            with pytest.raises(Unreached):
                await sender.post(f"http://{host}:{receiver.port}/", {}, b"{}")
    finally:
        await sender.close()
    assert receiver.got == []


async def test_of_a_names_addresses_the_public_ones_are_used() -> None:
    resolver = PublicResolver(Names("10.0.0.1", "93.184.216.34", "::1", "fe80::1%eth0"))
    assert [one["host"] for one in await resolver.resolve("shop.example", 443)] == ["93.184.216.34"]
    with pytest.raises(OSError, match="no public address"):
        await PublicResolver(Names("192.168.1.1")).resolve("inside.example", 443)


async def test_a_name_is_looked_up_where_it_is_connected_to(receiver: Receiver) -> None:
    """What a name stands for may change between two looks; it is judged by what is used."""
    url, inside = f"http://shop.example:{receiver.port}/", Names("127.0.0.1")
    for private in (False, True):
        sender = HttpSender(timeout_s=5, connections=1, private=private, resolver=inside)
        try:
            if private:
                assert (await sender.post(url, {}, b"{}")).status == 200
            else:
                with pytest.raises(Unreached):
                    await sender.post(url, {}, b"{}")
        finally:
            await sender.close()
    assert [got.path for got in receiver.got] == ["/"]


@pytest.mark.parametrize(
    ("url", "may"),
    [
        ("https://shop.example/hook", True),
        ("https://93.184.216.34/", True),
        ("https://[2606:2800:220:1::1]/", True),
        ("https://localhost/", False),
        ("https://10.1.2.3:8443/", False),
        ("https://169.254.169.254/latest", False),
        ("https://[::1]/", False),
        ("https://224.0.0.1/", False),
    ],
)
def test_what_may_be_public(url: str, may: bool) -> None:
    assert may_be_public(url) is may
