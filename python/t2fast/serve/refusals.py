"""What a client is told when it does not get what it asked for: error objects as OpenAI's API has them."""

from __future__ import annotations

from typing import Any

from t2fast.errors import T2Error

__all__ = ["Refusal"]

#: Kinds of errors by status; all others are the client's.
_KINDS = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class Refusal(T2Error):  # noqa: N818 -- an answer, too
    """A request that is not answered.

    Parameters
    ----------
    message
        What is wrong and what to do.
    status
        Of HTTP.
    param
        The field of the request that is to blame.
    code
        A word that programs can rely on.
    retry_after
        Seconds after which the same request may succeed.

    Examples
    --------
    >>> Refusal("n = 0: must be at least 1", param="n").body()["error"]["param"]
    'n'
    """

    def __init__(
        self,
        message: str,
        status: int = 400,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.param, self.code, self.retry_after = status, param, code, retry_after

    def body(self) -> dict[str, Any]:
        """The error object."""
        kind = "server_error" if self.status >= 500 else _KINDS.get(self.status, "invalid_request_error")
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}
