"""Settings of errands: whom webhooks reach, with which secret, and how long things are kept."""

from __future__ import annotations

import pytest

from config.load import load, load_with_sources
from config.show import MASK, show
from config.stores import hook_of
from contracts.errands import Hook

SECRET = "whsec_dGhlIHNlY3JldCBvZiB0aGUgc2hvcA=="
SHOP = "{name: shop, url: 'https://shop.example/hook?a=b', secret_env: SHOP_SECRET}"


def hooks(*endpoints: str) -> str:
    return f"webhooks: {{endpoints: [{', '.join(endpoints)}]}}"


def test_an_endpoint_gets_its_secret_from_the_environment(overlay, tmp_path):
    directory = overlay(hooks(SHOP))
    loaded = load_with_sources({"SHOP_SECRET": SECRET}, directory)
    [endpoint] = loaded.settings.webhooks.endpoints
    assert endpoint.secret.get_secret_value() == SECRET
    assert hook_of(endpoint) == Hook(
        "shop", frozenset({"completed", "failed", "incomplete", "cancelled"}), True
    )
    shown = [line.split() for line in show(loaded).splitlines()]
    assert ["webhooks.endpoints[0].secret", MASK, "SHOP_SECRET"] in shown
    assert SECRET not in repr(loaded.settings)
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n")
    [endpoint] = load({"SHOP_SECRET_FILE": str(file)}, directory).webhooks.endpoints
    assert endpoint.secret.get_secret_value() == SECRET


def test_endpoints_may_be_given_by_a_variable(directory):
    text = (
        '[{"name": "shop", "url": "http://127.0.0.1:9/", "secret_env": "S",'
        ' "events": ["response.failed"], "only_background": false}]'
    )
    settings = load({"TROUPE_WEBHOOKS__ENDPOINTS": text, "S": "a secret of some length"}, directory)
    [endpoint] = settings.webhooks.endpoints
    assert hook_of(endpoint) == Hook("shop", frozenset({"failed"}), False)


@pytest.mark.parametrize(
    ("environ", "source", "reason"),
    [
        ({}, "SHOP_SECRET", "must be set; without it nobody could tell who sent the event"),
        ({"SHOP_SECRET": "short"}, "SHOP_SECRET", "must have at least 16 bytes"),
        ({"SHOP_SECRET": "whsec_AAAA"}, "SHOP_SECRET", "must have at least 16 bytes"),
        ({"SHOP_SECRET": "whsec_no base64"}, "SHOP_SECRET", "must be Base64 after whsec_"),
    ],
)
def test_a_secret_that_signs_nothing(environ, source, reason, overlay, problems):
    directory = overlay(hooks(SHOP))
    assert problems(environ, directory) == [(source, "webhooks.endpoints[0].secret", reason)]


def test_a_secret_belongs_in_no_file(overlay, problems):
    directory = overlay(hooks(f"{SHOP[:-1]}, secret: {SECRET}}}"))
    ((_, key, reason),) = problems({"SHOP_SECRET": SECRET}, directory)
    assert key == "webhooks.endpoints[0].secret"
    assert "secret_env" in reason
    assert SECRET not in reason


@pytest.mark.parametrize(
    ("entry", "key"),
    [
        ("{name: shop, url: 'ftp://x', secret_env: SHOP_SECRET}", "url"),
        ("{name: shop, url: 'https://user:pw@x/', secret_env: SHOP_SECRET}", "url"),
        ("{name: shop, url: 'https://x/', secret_env: TROUPE_SECRET}", "secret_env"),
        ("{name: shop, url: 'https://x/', secret_env: SHOP_SECRET, events: []}", "events"),
        ("{name: shop, url: 'https://x/', secret_env: SHOP_SECRET, events: [x]}", "events[0]"),
        ("{name: Shop!, url: 'https://x/', secret_env: SHOP_SECRET}", "name"),
    ],
)
def test_what_is_no_endpoint(entry, key, overlay, problems):
    ((_, found, _),) = problems({"SHOP_SECRET": SECRET}, overlay(hooks(entry)))
    assert found == f"webhooks.endpoints[0].{key}"


def test_two_endpoints_have_two_names(overlay, problems):
    ((_, key, reason),) = problems({"SHOP_SECRET": SECRET}, overlay(hooks(SHOP, SHOP)))
    assert (key, reason) == ("webhooks.endpoints[1].name", "is taken by another endpoint: shop")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://shop.example/", "must begin with https://"),
        ("https://10.0.0.7/", "must not be a private address"),
        ("https://localhost/", "must not be a private address"),
    ],
)
def test_outside_development_nothing_leaves_in_the_clear_or_stays_inside(
    url, reason, directory, problems, production, overlay
):
    entry = f"{{name: shop, url: '{url}', secret_env: SHOP_SECRET}}"
    file = directory / "production.yaml"
    file.write_text(f"{file.read_text()}\n{hooks(entry)}")
    ((_, key, told),) = problems({**production, "SHOP_SECRET": SECRET}, directory)
    assert (key, told) == ("webhooks.endpoints[0].url", reason)
    assert load({"SHOP_SECRET": SECRET}, overlay(hooks(entry))).webhooks.endpoints


def test_organizations_may_have_a_time_of_their_own(overlay, problems):
    text = "retention: {default_days: 30, organizations: {org_a: 7, org_b: null}}"
    retention = load({}, overlay(text)).retention
    assert (retention.default_days, dict(retention.organizations)) == (
        30,
        {"org_a": 7, "org_b": None},
    )
    for wrong in ("{org_a: 0}", "{org_a: soon}", "{Nobody: 3}"):
        found = problems({}, overlay(f"retention: {{organizations: {wrong}}}"))
        assert all(key.startswith("retention.organizations") for _, key, _ in found)
