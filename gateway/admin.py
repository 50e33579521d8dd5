"""The operators' API: policies, put while Troupe runs. It has a door of its own."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query
from starlette.responses import Response

from contracts.errors import InvalidRequest
from contracts.policies import BASE, Policy
from gateway.admin_answers import CheckObject, PolicyList, PolicyObject, PutObject, VersionList
from gateway.admin_requests import PutQuery, RollBack, VersionsQuery
from gateway.call import Operator, OperatorsCall, StrictRoute, answer
from gateway.document import FAILURES, ok
from gateway.text import is_clean

router = APIRouter(route_class=StrictRoute, tags=["Policies"], responses=FAILURES)

Scope = Annotated[
    str,
    Path(
        description="`base`, or an organization's id.",
        pattern=r"^(base|org_[a-z0-9_]{1,60})$",
    ),
]
Version = Annotated[int, Path(ge=1, le=9_007_199_254_740_991)]
IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match",
        description="The version it is to follow, 0 for none; 409 if that is no longer the newest.",
        pattern=r'^("[0-9]{1,15}"|[0-9]{1,15})$',
    ),
]

_PATH = "/admin/v1/policies/{scope}"
_PARTS = {
    "agents": "object",
    "budgets": "object",
    "prices": "object",
    "rules": "array",
    "tier": "string",
}
_YAML: dict[str, Any] = {
    "requestBody": {
        "required": False,
        "description": "The policy: for `base` agents, rules, budgets and prices, for an "
        "organization tier, rules and budgets, as in the settings. What is empty holds nothing.",
        "content": {
            "application/yaml": {
                "schema": {
                    "type": ["object", "null"],
                    "properties": {name: {"type": [kind, "null"]} for name, kind in _PARTS.items()},
                    "additionalProperties": False,
                }
            }
        },
    }
}
_VERSION = re.compile(r"\d+")


@router.get("/admin/v1/policies", operation_id="listPolicies", responses=ok(PolicyList))
async def list_all(call: Operator) -> Response:
    """The newest version of each scope, the base's first, and what is in force at this gateway."""
    rulebook = call.services.rulebook
    policies = await rulebook.store.newer(0)
    policies.sort(key=lambda policy: (policy.scope != BASE, policy.scope))
    return answer(
        {
            "object": "list",
            "data": [_version_object(policy) for policy in policies],
            "revision": rulebook.watch.revision,
            "problem": rulebook.watch.problem,
        }
    )


@router.get(_PATH, operation_id="retrievePolicy", responses=ok(PolicyObject))
async def retrieve(call: Operator, scope: Scope) -> Response:
    """The newest version. Where nobody has put one it is version 0, and empty."""
    policy = await call.services.rulebook.store.newest(scope)
    return _policy(policy or Policy(scope, 0, 0, "", 0.0))


@router.put(_PATH, operation_id="putPolicy", responses=ok(PutObject), openapi_extra=_YAML)
async def put(
    call: Operator,
    scope: Scope,
    query: Annotated[PutQuery, Query()],
    if_match: IfMatch = None,
) -> Response:
    """Put a new version in force, on all hosts within two seconds.

    It is checked with all other policies and the settings. What is wrong is told all at once, as
    `problems` with `line`, `where` and `reason`; then nothing changes.
    """
    policy = await call.services.rulebook.put(
        scope,
        await _text(call),
        expected=_expected(if_match),
        author=query.author,
        note=query.note,
    )
    return _put(policy)


@router.post(
    f"{_PATH}/check", operation_id="checkPolicy", responses=ok(CheckObject), openapi_extra=_YAML
)
async def check(call: Operator, scope: Scope) -> Response:
    """Say what is wrong with it, as `putPolicy` would, and change nothing."""
    standing = await call.services.rulebook.check(scope, await _text(call))
    listing = standing.of(scope)
    return answer(
        {
            "scope": scope,
            "valid": True,
            "agents": list(standing.agents),
            "rules": [row["name"] for row in listing.rows],
        }
    )


@router.get(f"{_PATH}/versions", operation_id="listPolicyVersions", responses=ok(VersionList))
async def versions(
    call: Operator, scope: Scope, query: Annotated[VersionsQuery, Query()]
) -> Response:
    """The versions there were, the newest first."""
    rows = await call.services.rulebook.store.versions(scope, query.limit)
    return answer({"object": "list", "data": [_version_object(row) for row in rows]})


@router.get(
    f"{_PATH}/versions/{{version}}",
    operation_id="retrievePolicyVersion",
    responses=ok(PolicyObject),
)
async def version(call: Operator, scope: Scope, version: Version) -> Response:
    return _policy(await call.services.rulebook.store.version(scope, version))


@router.post(f"{_PATH}/rollback", operation_id="rollBackPolicy", responses=ok(PutObject))
async def roll_back(
    call: Operator, scope: Scope, body: RollBack, if_match: IfMatch = None
) -> Response:
    """Put an older version in force again, as a new one. It is checked as any other."""
    policy = await call.services.rulebook.roll_back(
        scope, body.version, expected=_expected(if_match), author=body.author, note=body.note
    )
    return _put(policy)


async def _text(call: OperatorsCall) -> str:
    """The body as text. Raises `InvalidRequest`."""
    try:
        text = (await call.request.body()).decode()
    except UnicodeDecodeError:
        raise InvalidRequest("The body is not UTF-8.", code="invalid_characters") from None
    if not is_clean(text):
        raise InvalidRequest("The body has control characters.", code="invalid_characters")
    return text


def _expected(if_match: str | None) -> int | None:
    found = _VERSION.search(if_match) if if_match else None
    return int(found[0]) if found else None


def _policy(policy: Policy) -> Response:
    return _tagged({**_version_object(policy), "text": policy.text}, policy)


def _put(policy: Policy) -> Response:
    told = {"scope": policy.scope, "version": policy.version, "revision": policy.revision}
    return _tagged(told, policy)


def _tagged(told: dict[str, Any], policy: Policy) -> Response:
    response = answer(told)
    response.headers["etag"] = f'"{policy.version}"'
    return response


def _version_object(policy: Policy) -> dict[str, Any]:
    return {
        "scope": policy.scope,
        "version": policy.version,
        "revision": policy.revision,
        "created_at": int(policy.created_at),
        "author": policy.author,
        "note": policy.note,
        "rolled_back_to": policy.rolled_back_to,
    }
