"""The agents, as OpenAI lists models."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from contracts.errors import UnknownModel
from gateway.answers import ModelList, ModelObject
from gateway.call import Caller, StrictRoute, answer
from gateway.document import FAILURES, ok
from gateway.options import AUTO
from gateway.rulebook import AgentCard
from gateway.text import printable

router = APIRouter(route_class=StrictRoute, tags=["Models"], responses=FAILURES)

_AUTO = AgentCard(AUTO, "Whichever agent the rules choose for a message.")


@router.get("/v1/models", operation_id="listModels", responses=ok(ModelList))
async def list_all(call: Caller) -> Response:
    """The agents that answer here, and `auto`."""
    cards = (*call.services.rulebook.standing.cards, _AUTO)
    return answer({"object": "list", "data": [_model_object(card) for card in cards]})


@router.get("/v1/models/{model}", operation_id="retrieveModel", responses=ok(ModelObject))
async def retrieve(call: Caller, model: str) -> Response:
    for card in (*call.services.rulebook.standing.cards, _AUTO):
        if card.name == model:
            return answer(_model_object(card))
    raise UnknownModel(f"There is no agent called {printable(model)!r}.", param="model")


def _model_object(card: AgentCard) -> dict[str, Any]:
    return {
        "id": card.name,
        "object": "model",
        "created": 0,  # agents are settings: they have no birthday
        "owned_by": card.owner,
        "troupe": {"description": card.description, "simulated": card.simulated},
    }
