"""What a host reports of its rules."""

from __future__ import annotations

from actors.desk import Desk, InForce
from actors.report import host_report, rule_rows
from contracts.decisions import RoutingInput
from routing.rules import RuleSet, RuleSpec, compile_rules

PRICE = RuleSpec("by-price", "gpt", "double(message.metadata.price) > 9.0", source="base")
REST = RuleSpec("rest", "gpt")
REASON = "no such key: price"


def rules(*more: RuleSpec, everybody: RuleSet | None = None) -> RuleSet:
    return compile_rules([*more, PRICE, REST], ["gpt"], everybody=everybody)


def own(org_id: str, when: str) -> RuleSpec:
    return RuleSpec("own", "gpt", when, source=org_id)


def test_what_became_of_a_rule_for_everybody_is_added_up() -> None:
    everybody = rules()
    acme = rules(own("org_acme", "message.length > 100"), everybody=everybody)
    desk = Desk(InForce({}, everybody, rules_of={"org_acme": acme}, revision=3))
    everybody.first_match(RoutingInput("hi", now=1.0))
    everybody.first_match(RoutingInput("hi", {"price": "10"}, now=2.0))
    acme.first_match(RoutingInput("hi", now=5.0))
    acme.first_match(RoutingInput("hi", {"price": "much"}, now=6.0))

    report = host_report("host_1", desk, [], now=0.0, wall=7.0)
    rows = {(row["source"], row["rule"]): row for row in report["rules"]}
    assert list(rows) == [("base", "by-price"), ("settings", "rest"), ("org_acme", "own")]
    assert rows["base", "by-price"]["matched"] == 1
    assert rows["settings", "rest"]["matched"] == 3
    faults = rows["base", "by-price"]["faults"]
    assert [(fault["count"], fault["last"]) for fault in faults] == [(2, 5.0), (1, 6.0)]
    assert report["revision"] == 3
    # What is reported is told; what is counted goes on by itself.
    assert rule_rows(desk) == report["rules"]


def test_of_many_rules_those_that_fail_are_reported() -> None:
    everybody = rules()
    sets = {
        name: rules(own(name, "1 / turn.number > 0"), everybody=everybody)
        for name in (f"org_{number}" for number in range(150))
    }
    failing = rules(own("org_last", 'message.metadata.absent == ""'), everybody=everybody)
    desk = Desk(InForce({}, everybody, rules_of={**sets, "org_last": failing}))
    failing.first_match(RoutingInput("hi"))
    rows = rule_rows(desk)
    assert len(rows) == 102
    assert rows[2]["source"] == "org_last"
