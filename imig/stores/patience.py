"""Stores that do not answer, answer with 503, or cut a connection: tried again for a while.

A fault of the store is no fault of the data: nothing is given up before minutes have gone by. What
no waiting cures (no such bucket, no right, no key) is said at once.
"""

from __future__ import annotations

import errno
import logging
import random
import time
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from imig.errors import ImigError, UnavailableError, UsageError

_Answer = TypeVar("_Answer")
_log = logging.getLogger(__name__)

PATIENCE_SECONDS = 300.0
"""How long a store that has answered before is tried."""
FIRST_SECONDS = 20.0
"""How long one is that has never answered in this process: its address may be wrong."""
_FIRST_WAIT, _LONGEST_WAIT = 0.2, 20.0
_SAID_AFTER: Final = 5.0
"""Seconds after which a person gets to know why nothing moves."""
_SHOWN: Final = 300
"""Characters of what a store says."""

_PASSING_CODES: Final = frozenset(
    {
        "BadDigest", "ConditionalRequestConflict", "IncompleteBody", "InternalError",
        "NoSuchUpload", "OperationAborted", "RequestTimeout", "ServiceUnavailable", "SlowDown",
        "Throttling", "ThrottlingException", "TooManyRequests", "XAmzContentSHA256Mismatch",
        "408", "409", "429", "500", "502", "503", "504",
    }
)  # fmt: skip
"""Codes of S3's error answers (docs.aws.amazon.com, "Error responses") and of HTTP."""
_PASSING_STATUSES: Final = frozenset({408, 429, 500, 502, 503, 504})
"""Of answers with other codes: MinIO has some of its own, such as SlowDownWrite."""
_PASSING_CLASSES: Final = frozenset(
    {
        "ChecksumError",  # gcsfs
        "ClientError",  # aiohttp's; botocore's has a code
        "FlexibleChecksumError",
        "HTTPClientError",  # botocore's, over those of connecting, reading and closing
        "IncompleteRead",
        "IncompleteReadError",
        "RequestException",  # requests
        "ResponseParserError",
        "ResponseStreamingError",
        "TransportError",  # google.auth
    }
)
_LASTING_ERRNOS: Final = frozenset(
    {errno.EINVAL, errno.EPERM, errno.ENOSYS, errno.ENAMETOOLONG, errno.EMSGSIZE, errno.ENOSPC}
)
ANSWERS: Final = (FileNotFoundError, FileExistsError, IsADirectoryError, NotImplementedError)
_VARIABLES: Final = {
    **dict.fromkeys(("s3", "s3a"), "Keys, proxies and the endpoint (AWS_ENDPOINT_URL)"),
    **dict.fromkeys(("gs", "gcs"), "Keys (GOOGLE_APPLICATION_CREDENTIALS) and proxies"),
}
"""Scheme -> what of its client is set from outside."""
_answered: set[str] = set()
"""Stores (scheme and bucket) that have answered in this process."""
_given_up: set[str] = set()
"""Those that have been waited for in vain, and have not answered since: asked once, or a store
that is down would cost the time anew with every file."""


class TransferError(OSError):
    """What has arrived is not what was sent."""


def patiently(call: Callable[[], _Answer], *, address: str) -> _Answer:
    """The answer of a store, which is asked again with growing pauses while a fault may pass.

    Raises
    ------
    FileNotFoundError, FileExistsError, IsADirectoryError, NotImplementedError
        As `call` does; they are answers.
    UsageError
        When there is no key for the store, or none that opens it.
    DataError
        When patience has ended, or the store refuses.
    """
    store = "/".join(address.split("/")[:3])
    started, wait, said = time.monotonic(), _FIRST_WAIT, False
    while True:
        try:
            answer = call()
        except ANSWERS:
            _note_answer(store)
            raise
        except ImigError:
            raise
        except Exception as error:  # every kind of store has errors of its own
            waited = time.monotonic() - started
            limit = PATIENCE_SECONDS if store in _answered else FIRST_SECONDS
            lasting = not may_pass(error)
            if lasting or store in _given_up or waited + wait > limit:
                if not lasting:
                    _given_up.add(store)
                raise explain(error, address=address, waited=waited) from error
            if waited > _SAID_AFTER and not said:
                _log.warning("%s does not answer, and is asked again: %s", store, _reason(error))
                said = True
            # As many clients as were turned away at once must not come back at once.
            time.sleep(wait * random.uniform(0.5, 1.0))
            wait = min(2 * wait, _LONGEST_WAIT)
        else:
            _note_answer(store)
            return answer


def _note_answer(store: str) -> None:
    _answered.add(store)
    _given_up.discard(store)


def may_pass(error: BaseException) -> bool:
    """Whether the same request may succeed later: the fault is the store's or the network's."""
    code = code_of(error)
    if code is not None:
        return code in _PASSING_CODES or status_of(error) in _PASSING_STATUSES
    if any(kind.__name__ in _PASSING_CLASSES for one in _chain(error) for kind in type(one).mro()):
        return True
    if isinstance(error, (PermissionError, NotADirectoryError, *ANSWERS)):
        return False
    return isinstance(error, OSError | EOFError) and error_number(error) not in _LASTING_ERRNOS


def error_number(error: BaseException) -> int | None:
    """The system's number of an error, where it has one."""
    number = getattr(error, "errno", None)
    return number if isinstance(number, int) else None


def status_of(error: BaseException) -> int | None:
    """The HTTP status that a store has answered with, as far as its client tells."""
    for one in _chain(error):
        response = getattr(one, "response", None)
        if isinstance(response, dict):
            return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)) or None
    return None


def explain(error: BaseException, *, address: str, waited: float = 0.0) -> ImigError:
    """The error to raise for what a store's client has raised."""
    reason = _reason(error)
    names = {kind.__name__ for one in _chain(error) for kind in type(one).mro()}
    if names & {"NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError"}:
        return UsageError(
            f"there is no key for {address}: {reason}",
            cure="s3: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile in ~/.aws; gs: "
            "`gcloud auth application-default login`",
        )
    if isinstance(error, PermissionError):
        return UsageError(
            f"the store refuses {address}: {reason}",
            cure="is the key right, and may it read, write, list and delete there?",
        )
    if may_pass(error):
        after = f" after {waited:.0f} seconds of asking" if waited >= 1 else ""
        return UnavailableError(
            f"cannot reach {address}{after}: {reason}",
            cure="is the store up, the address right, and may you read there? "
            f"{_settings(address)}. What is finished is kept: "
            "the same command goes on where it was",
        )
    return UnavailableError(
        f"cannot reach {address}: {reason}",
        cure=f"is the address right, and may you read there? {_settings(address)}",
    )


def _settings(address: str) -> str:
    """Where the client of such a store looks for what it needs."""
    scheme = address.partition("://")[0].lower()
    named = _VARIABLES.get(scheme, "Proxies (HTTPS_PROXY)")
    return f"{named} come from the environment of this process"


def code_of(error: BaseException) -> str | None:
    """The code in the answer of a store, where the client gives it."""
    for one in _chain(error):
        response = getattr(one, "response", None)
        if isinstance(response, dict) and response.get("Error"):
            return str(response["Error"].get("Code", ""))
        if type(one).__name__ == "HttpError":  # gcsfs
            return str(getattr(one, "code", ""))
    return None


def _reason(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:_SHOWN]


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, what it was raised from, and so on."""
    one: BaseException | None = error
    for _ in range(10):
        if one is None:
            return
        yield one
        one = one.__cause__ or one.__context__
