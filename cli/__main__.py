"""The commands, and what they end with: 0 done, 1 refused, 2 not understood, 3 not reached."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from typing import Any

from cli import fleet, policies, routes
from cli.api import Api, Refused, Unreachable
from cli.policies import BadFile
from cli.screen import Screen

URL = "http://127.0.0.1:8000"
FROM = "LAUNCHER_FROM"
"""The folder in which `./troupe` was called, to which files are relative."""

REFUSED, UNREACHABLE = 1, 3


def parser() -> argparse.ArgumentParser:
    """What may be said."""
    top = argparse.ArgumentParser(
        prog="troupe",
        description="What operators do while Troupe runs. The key of the admin API comes from "
        "TROUPE_ADMIN_KEY.",
    )
    top.add_argument("--url", help=f"address of the gateway; else TROUPE_URL, else {URL}")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="the answer as it came")
    scope = argparse.ArgumentParser(add_help=False)
    scope.add_argument("--scope", default="base", help="`base`, or an organization; base if absent")
    putting = argparse.ArgumentParser(add_help=False)
    putting.add_argument("--note", help="what it is for; kept with the version")
    putting.add_argument("--author", help="who puts it; the name of this system's user if absent")
    org = argparse.ArgumentParser(add_help=False)
    org.add_argument("--org", help="an organization")
    groups = top.add_subparsers(required=True, metavar="COMMAND")
    _policies(groups, common, scope, putting)
    _routes(groups, common, scope, org)
    one = groups.add_parser(
        "endpoints", parents=[common], help="how the providers' endpoints stand"
    )
    one.set_defaults(run=fleet.endpoints)
    one = groups.add_parser("spend", parents=[common, org], help="what was spent")
    one.set_defaults(run=fleet.spend)
    return top


def _policies(groups: Any, common: Any, scope: Any, putting: Any) -> None:
    group = groups.add_parser("policies", help="what holds: agents, rules, budgets, prices")
    commands = group.add_subparsers(required=True, metavar="COMMAND")
    one = commands.add_parser("list", parents=[common], help="the newest version of each scope")
    one.set_defaults(run=policies.names)
    one = commands.add_parser("show", parents=[common, scope], help="the text of one")
    one.add_argument("--version", type=int, help="an older one")
    one.set_defaults(run=policies.show)
    one = commands.add_parser("check", parents=[common, scope], help="what is wrong with a file")
    one.add_argument("file")
    one.set_defaults(run=policies.check)
    one = commands.add_parser("apply", parents=[common, scope, putting], help="put a file in force")
    one.add_argument("file")
    one.add_argument("--follows", type=int, help="the version it must follow; refused otherwise")
    one.set_defaults(run=policies.apply)
    one = commands.add_parser("versions", parents=[common, scope], help="those there were")
    one.add_argument("--limit", type=int, default=20)
    one.set_defaults(run=policies.versions)
    one = commands.add_parser(
        "rollback", parents=[common, scope, putting], help="put an older one in force again"
    )
    one.add_argument("version", type=int)
    one.set_defaults(run=policies.rollback)


def _routes(groups: Any, common: Any, scope: Any, org: Any) -> None:
    group = groups.add_parser("routes", help="the rules at work")
    commands = group.add_subparsers(required=True, metavar="COMMAND")
    one = commands.add_parser("list", parents=[common, org], help="the rules in their order")
    one.set_defaults(run=routes.listing)
    one = commands.add_parser("explain", parents=[common, org], help="the way of one message")
    one.add_argument("text")
    one.add_argument("--user")
    one.add_argument("--model", default="auto")
    one.add_argument(
        "--metadata", type=routes.pair, action="append", default=[], metavar="KEY=VALUE"
    )
    one.add_argument("--session", metavar="ID", help="the conversation; splits may draw by it")
    one.add_argument("--agent", help="who was chosen for its last answer")
    one.add_argument("--turns", type=int, help="turns so far")
    one.add_argument("--messages", type=int, help="messages so far")
    one.add_argument("--failures", type=int, help="turns that failed in a row until now")
    one.add_argument("--background", action="store_true", help="nobody waits for the answer")
    one.add_argument("--regenerate", action="store_true", help="it answers the last message anew")
    one.set_defaults(run=routes.explain)
    one = commands.add_parser(
        "replay", parents=[common, scope, org], help="what rules would change for stored messages"
    )
    one.add_argument("--since", type=routes.since, required=True, help="30m, 2h, 7d, or a date")
    one.add_argument("--rules", dest="file", metavar="FILE", help="a policy; else what is in force")
    one.add_argument("--limit", type=int, default=1000, help="messages at most; 1000 if absent")
    one.set_defaults(run=routes.replay)


def main(arguments: list[str], environ: Mapping[str, str]) -> int:
    given = parser().parse_args(arguments)
    out, err = Screen(sys.stdout), Screen(sys.stderr)
    try:
        if environ.get(FROM):
            os.chdir(environ[FROM])
        api = Api(given.url or environ.get("TROUPE_URL") or URL, environ.get("TROUPE_ADMIN_KEY"))
        given.run(api, given, out)
        sys.stdout.flush()
    except Refused as refused:
        _problems(refused, given, err)
        return REFUSED
    except (Unreachable, BadFile) as error:
        err.line(f"troupe: {error}", "bad")
        return UNREACHABLE if isinstance(error, Unreachable) else REFUSED
    except BrokenPipeError:
        # Whoever read it has enough; what is left must not be flushed at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        return 130
    return 0


def _problems(refused: Refused, given: argparse.Namespace, err: Screen) -> None:
    """Each as editors and compilers write it: `file:line: reason`."""
    file, scope = getattr(given, "file", None), getattr(given, "scope", None)
    for problem in refused.problems:
        place = file if file and problem.get("scope") == scope else problem.get("scope")
        line = f":{problem['line']}" if problem.get("line") else ""
        where = f"{problem['where']}: " if problem.get("where") else ""
        err.line(f"{place}{line}: {where}{problem['reason']}", "bad")
    if not refused.problems:
        err.line(f"troupe: {refused} ({refused.code})", "bad")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
