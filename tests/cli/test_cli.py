"""`./troupe` as a process, before a real gateway."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest

from cli.routes import since
from cli.screen import Screen, plain
from tests.cli.conftest import ROOT, Troupe
from tests.gateway.house import House

POET = "agents:\n  poet: {provider: openai, model: verse}\n"
RULES = "rules:\n  - name: verse\n    when: {keywords: rhyme}\n    agent: poet\n"


@pytest.fixture(autouse=True)
def files(tmp_path: Path) -> None:
    (tmp_path / "new.yaml").write_text(POET + RULES)
    (tmp_path / "bad.yaml").write_text(POET + RULES.replace("poet", "pet") + "tier: x\n")
    (tmp_path / "org.yaml").write_text(RULES)
    (tmp_path / "empty.yaml").write_text("")


async def test_a_policy_is_checked_put_shown_and_rolled_back(troupe: Troupe) -> None:
    checked = await troupe("policies", "check", "new.yaml")
    assert (checked.code, checked.err) == (0, "")
    assert checked.out == (
        "new.yaml: valid for base\nagents: echo, other, poet\nrules:  verse, rest\n"
    )
    assert (await troupe("policies", "show")).out == "", "a check puts nothing"

    assert (await troupe("policies", "apply", "empty.yaml")).out == "base is at version 1\n"
    put = await troupe("policies", "apply", "new.yaml", "--note", "a poet", "--author", "ada")
    assert put.out == "base is at version 2\n"
    assert (await troupe("policies", "show")).out == POET + RULES, "byte for byte"
    assert (await troupe("policies", "show", "--version", "1")).out == ""
    back = await troupe("policies", "rollback", "1", "--author", "bob")
    assert back.out == "base is at version 3\n"

    lines = (await troupe("policies", "versions")).out.splitlines()
    assert lines[0].split() == ["SCOPE", "VERSION", "WHEN", "AUTHOR", "REPEATS", "NOTE"]
    assert [line.split()[:2] for line in lines[1:]] == [["base", "3"], ["base", "2"], ["base", "1"]]
    assert lines[1].split()[4:] == ["bob", "1", "-"]
    assert lines[2].endswith("a poet")
    assert len({line.index("ada") for line in lines if "ada" in line}) == 1
    assert (await troupe("policies", "list")).out.splitlines()[1].split()[:2] == ["base", "3"]


async def test_what_is_wrong_with_a_file_is_told_by_line(troupe: Troupe, house: House) -> None:
    for command in ("check", "apply"):
        said = await troupe("policies", command, "bad.yaml")
        assert (said.code, said.out) == (1, "")
        assert said.err.splitlines() == [
            "bad.yaml:6: rules[0].agent: names no agent: pet; there is echo, other, poet; did you"
            " mean `poet`? (rule `verse`)",
            "bad.yaml:7: tier: is no setting",
        ]
    assert await house.database.fetchval("SELECT count(*) FROM policies") == 0


async def test_a_problem_elsewhere_is_told_by_its_scope(troupe: Troupe) -> None:
    await troupe("policies", "apply", "new.yaml")
    assert (await troupe("policies", "apply", "org.yaml", "--scope", "org_verse")).code == 0
    said = await troupe("policies", "apply", "empty.yaml")
    assert said.code == 1
    assert said.err.startswith("org_verse:4: rules[0].agent: names no agent: poet")


async def test_a_version_that_has_been_followed_is_refused(troupe: Troupe) -> None:
    await troupe("policies", "apply", "empty.yaml")
    said = await troupe("policies", "apply", "new.yaml", "--follows", "0")
    assert said.code == 1
    assert "policy_changed" in said.err
    assert (await troupe("policies", "apply", "new.yaml", "--follows", "1")).code == 0


async def test_rules_are_listed_and_a_message_explained(troupe: Troupe) -> None:
    await troupe("policies", "apply", "new.yaml")
    listed = (await troupe("routes", "list")).out.splitlines()
    assert listed[0] == "version base.1"
    assert [line.split()[:3] for line in listed[2:]] == [
        ["1", "verse", "base"],
        ["2", "rest", "settings"],
    ]
    said = await troupe("routes", "explain", "a rhyme", "--metadata", "a=b", "--user", "ada")
    assert "poet  (version base.1)" in said.out.splitlines()
    assert [line.split()[3] for line in said.out.splitlines()[1:3]] == ["match", "skipped"]
    told = json.loads((await troupe("routes", "explain", "prose", "--json")).out)
    assert told["agent"] == "echo"


async def test_all_that_a_rule_sees_can_be_given(troupe: Troupe, tmp_path: Path) -> None:
    when = "session.id == 'conv_1' && session.messages == 7 && turn.background && turn.regenerate"
    rule = f"rules: [{{name: seen, when: {when}, agent: other}}]\n"
    (tmp_path / "seen.yaml").write_text(rule)
    assert (await troupe("policies", "apply", "seen.yaml")).code == 0
    given = ("--session", "conv_1", "--messages", "7", "--background", "--regenerate")
    said = await troupe("routes", "explain", "x", *given)
    assert "other  (version base.1)" in said.out.splitlines(), said.err


async def test_a_replay_goes_through_what_was_said(troupe: Troupe, house: House) -> None:
    for text in ("a rhyme", "prose", "another rhyme"):
        house.agent.answer("well")
        await house.client.responses.create(model="auto", input=text)
    said = await troupe("routes", "replay", "--since", "2h", "--rules", "new.yaml")
    lines = said.out.splitlines()
    assert lines[-1] == (
        f"3 messages of {house.org} by version base.1: 2 would change, 1 would not"
    )
    assert [line.split()[1:] for line in lines[1:3]] == [
        ["echo", "poet", "verse", "another", "rhyme"],
        ["echo", "poet", "verse", "a", "rhyme"],
    ]
    some = await troupe("routes", "replay", "--since", "2h", "--rules", "new.yaml", "--limit", "1")
    assert some.out.splitlines()[-1] == "there are more; --limit takes a larger number"
    assert await house.database.fetchval("SELECT count(*) FROM policies") == 0


async def test_what_was_spent_is_shown_with_what_may_be(troupe: Troupe, house: House) -> None:
    await house.database.execute(
        "INSERT INTO spending (org_id, subject, day, nano, turns)"
        " SELECT $1, unnest(array['', 'ada']), (now() AT TIME ZONE 'UTC')::date, 2500000000, 3",
        house.org,
    )
    lines = (await troupe("spend")).out.splitlines()
    assert lines[0] == f"{house.org}: today $2.5000, month $2.5000"
    assert lines[1].split() == ["BUDGET", "SOFT", "HARD"]
    assert ["ada", "$2.5000", "$2.5000"] in [line.split() for line in lines]
    assert json.loads((await troupe("spend", "--json")).out)["users"][0]["user"] == "ada"


async def test_endpoints_are_shown_where_no_host_tells(troupe: Troupe) -> None:
    said = await troupe("endpoints")
    assert (said.code, said.err) == (0, "")
    titles = [line.split()[0] for line in said.out.splitlines() if line]
    assert {"AGENT", "HOST"} <= set(titles)


async def test_it_ends_as_it_went(troupe: Troupe) -> None:
    assert (await troupe("policies", "show", TROUPE_ADMIN_KEY="wrong")).code == 1
    closed = await troupe("policies", "show", TROUPE_ADMIN_KEY="")
    assert closed.code == 1
    assert "missing_api_key" in closed.err
    away = await troupe("--url", "http://127.0.0.1:9", "policies", "show")
    assert away.code == 3
    assert "does not answer" in away.err
    assert (await troupe("policies", "shout")).code == 2
    assert (await troupe("routes", "replay", "--since", "yesterday")).code == 2
    absent = await troupe("policies", "check", "none.yaml")
    assert (absent.code, absent.err) == (
        1,
        "troupe: none.yaml: cannot be read: No such file or directory\n",
    )


async def test_the_executable_takes_files_from_where_it_was_called(troupe: Troupe) -> None:
    said = await troupe(
        "policies", "check", "new.yaml", program=(str(ROOT / "troupe"),), PYTHON=sys.executable
    )
    assert said.code == 0, said.err
    assert said.out.startswith("new.yaml: valid for base\n")


class Terminal:
    def __init__(self) -> None:
        self.text = ""

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> None:
        self.text += text


def test_colours_are_for_terminals_that_want_them() -> None:
    shown = {}
    for wanted in ("", "1"):
        terminal = Terminal()
        Screen(terminal, {"NO_COLOR": wanted}).table(("A", "N"), [("open", 5), ("é", None)])  # type: ignore[arg-type]
        shown[wanted] = terminal.text
    assert shown["1"] == "A     N\nopen  5\né     -\n"
    assert shown[""] == "\x1b[2mA\x1b[0m     \x1b[2mN\x1b[0m\n\x1b[31mopen\x1b[0m  5\né     -\n"


def test_what_people_said_does_not_steer_the_terminal() -> None:
    assert plain("\x1b[2Jhi\u202e") == "�[2Jhi�"
    terminal = Terminal()
    Screen(terminal, {}).raw("a:\n\t\x1b[2Jb\n")  # type: ignore[arg-type]
    assert terminal.text == "a:\n\t�[2Jb\n"


def test_times_are_spans_or_dates() -> None:
    assert time.time() - since("2h") == pytest.approx(7200, abs=60)
    assert since("1970-01-02T00:00+00:00") == 86400
