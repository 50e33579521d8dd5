"""The error tree: one class per cause, each with a code, an HTTP status and `retryable`.

    TroupeError
    ├── RequestError              the caller must change something (4xx)
    │   ├── InvalidRequest  400   malformed, out of range, wrong type
    │   ├── UnsupportedParameter 400
    │   ├── UnknownModel    404   no agent of that name
    │   ├── NotFound        404   absent, deleted or another organization's
    │   ├── Unauthenticated 401
    │   ├── Forbidden       403   this door is for others, or for nobody
    │   ├── Conflict        409   the id is taken, or the state forbids it
    │   ├── TooLarge        413
    │   ├── Busy            429   a limit is reached: mailbox, sessions, sockets
    │   └── OverBudget      429   what may be spent is spent
    ├── Unavailable         503   a part of Troupe is away; nothing was done
    │   ├── StoreUnavailable
    │   ├── HostUnavailable
    │   ├── AgentUnavailable      none of its endpoints takes a turn now
    │   └── Deposed               another activation owns the session now
    └── ProviderError       502   the model's provider failed
        ├── ProviderRejected      it refuses this request (never retryable)
        ├── ProviderUnauthorized  it refuses our key (never retryable)
        ├── ProviderRateLimited   429
        ├── ProviderUnavailable   5xx, refused, reset before the first byte
        ├── ProviderTimeout       no byte within the limit
        ├── ProviderInterrupted   the stream broke or ended without its terminal marker
        └── ProviderProtocol      it sent what its protocol does not allow

`retryable` says whether the same request may succeed elsewhere or later; it is decided here,
once. Errors cross process boundaries, so every class pickles with all its fields.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from contracts.money import Charge


class TroupeError(Exception):
    """Base of all errors that Troupe raises on purpose.

    Args:
        message: One sentence for the caller. Never holds a secret or a provider's raw body.
        param: The request field at fault, as the caller spelled it.
        code: Overrides the class's machine-readable code where one class has several causes.
        retry_after: Seconds after which a retry makes sense.
        details: Further JSON-serialisable facts, shown to the caller.
        charges: What was spent before it failed, where no turn has it on its record.
    """

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    kind: ClassVar[str] = "server_error"
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: float | None = None,
        details: dict[str, Any] | None = None,
        charges: tuple[Charge, ...] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.cause_code = code or self.code
        self.retry_after = retry_after
        self.details = details or {}
        self.charges = charges

    def __reduce__(self) -> tuple[Any, ...]:
        fields = (self.message, self.param, self.cause_code, self.retry_after, self.details)
        # Beside the fields, not among them: whoever runs the release before this one reads it too.
        return _rebuild, (type(self), *fields), {"charges": self.charges} if self.charges else None

    def as_dict(self) -> dict[str, Any]:
        """The OpenAI error object, without the request id the gateway adds."""
        return {
            "message": self.message,
            "type": self.kind,
            "param": self.param,
            "code": self.cause_code,
            **self.details,
        }


def _rebuild(
    cls: type[TroupeError],
    message: str,
    param: str | None,
    code: str,
    retry_after: float | None,
    details: dict[str, Any],
) -> TroupeError:
    return cls(message, param=param, code=code, retry_after=retry_after, details=details)


class RequestError(TroupeError):
    """The caller must change something before it tries again."""

    code = "invalid_request"
    status = 400
    kind = "invalid_request_error"


class InvalidRequest(RequestError):
    """Malformed, out of range, or of the wrong type; `param` names the field."""


class UnsupportedParameter(RequestError):
    """A parameter of OpenAI's API that Troupe does not support."""

    code = "unsupported_parameter"


class UnknownModel(RequestError):
    """`model` names no agent."""

    code = "model_not_found"
    status = 404


class NotFound(RequestError):
    """Absent, deleted, or owned by another organization: the three look alike on purpose."""

    code = "not_found"
    status = 404


class Unauthenticated(RequestError):
    """No key, or one that is not known."""

    code = "invalid_api_key"
    status = 401
    kind = "authentication_error"


class Forbidden(RequestError):
    """This door is for others, or for nobody here."""

    code = "forbidden"
    status = 403
    kind = "permission_error"


class Conflict(RequestError):
    """The id is taken, or the object's state forbids the operation."""

    code = "conflict"
    status = 409


class TooLarge(RequestError):
    """A body, message or frame over its limit."""

    code = "too_large"
    status = 413


class Busy(RequestError):
    """A limit is reached and the request was refused before anything was done."""

    code = "busy"
    status = 429
    kind = "rate_limit_error"
    retryable = True


class OverBudget(RequestError):
    """A hard limit of spending is reached. `details["budget"]` says which; never retryable, since
    a retry would only come too soon: `retry_after` is when the period ends, if there is one.
    """

    code = "budget_exceeded"
    status = 429
    kind = "insufficient_quota"


class Unavailable(TroupeError):
    """A part of Troupe is away. Nothing was acknowledged; a retry is safe."""

    code = "unavailable"
    status = 503
    retryable = True


class StoreUnavailable(Unavailable):
    """Postgres or Redis does not answer."""

    code = "store_unavailable"


class HostUnavailable(Unavailable):
    """No session host can take the session now."""

    code = "host_unavailable"


class AgentUnavailable(Unavailable):
    """None of the agent's endpoints can take a turn now; `retry_after` is when one might."""

    code = "agent_unavailable"


class Deposed(Unavailable):
    """A newer activation owns the session; this one must stop and write nothing more."""

    code = "session_moved"


class ProviderError(TroupeError):
    """The provider of the model failed; the message is ours, never the provider's raw body."""

    code = "provider_error"
    status = 502


class ProviderRejected(ProviderError):
    """The provider refuses this very request (4xx): the same request fails everywhere."""

    code = "provider_rejected"


class ProviderUnauthorized(ProviderError):
    """The provider refuses our key or project."""

    code = "provider_unauthorized"


class ProviderRateLimited(ProviderError):
    """The provider's limit is reached; `retry_after` carries its own word where it gave one."""

    code = "provider_rate_limited"
    status = 429
    kind = "rate_limit_error"
    retryable = True


class ProviderUnavailable(ProviderError):
    """The provider answers 5xx, refuses the connection, or drops it before its first byte."""

    code = "provider_unavailable"
    retryable = True


class ProviderTimeout(ProviderError):
    """Nothing came within the agent's limit."""

    code = "provider_timeout"
    status = 504
    retryable = True


class ProviderInterrupted(ProviderError):
    """A running stream broke, or ended without its terminal marker."""

    code = "provider_interrupted"
    retryable = True


class ProviderProtocol(ProviderError):
    """The provider sent something that its own protocol does not allow."""

    code = "provider_protocol_error"
    retryable = True
