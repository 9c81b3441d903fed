"""What the hub's client raises, said to people: no token, no right, no such repository, offline."""

from __future__ import annotations

from collections.abc import Iterator

from imig.errors import ImigError, UnavailableError, UsageError

LOGIN = "`hf auth login` stores a token, or the variable HF_TOKEN holds one"
_SHOWN = 300
"""Characters of what a server says."""


def explain_hub_error(error: BaseException, *, place: str) -> ImigError:
    """The error to raise for one of `huggingface_hub` or of the network below it.

    Parameters
    ----------
    place:
        What was read or written, for the message: ``hf://datasets/owner/name``.
    """
    from huggingface_hub import constants, errors

    for one in _chain(error):
        if isinstance(one, errors.LocalTokenNotFoundError):
            return no_token(place)
        if isinstance(one, errors.GatedRepoError):
            return UsageError(
                f"{place} is gated, and this token has not been let in",
                cure="accept its terms on its page; " + LOGIN,
            )
        if isinstance(one, errors.RepositoryNotFoundError):
            return UsageError(
                f"there is no {place}, or it is private and this token may not see it",
                cure=f"is the name right? {LOGIN}",
            )
        if isinstance(one, errors.RevisionNotFoundError):
            return UsageError(f"{place} has no such revision", cure="is the name behind @ right?")
        if isinstance(one, errors.HFValidationError | errors.HfUriError):
            return UsageError(
                f"{place} is no name of a dataset: {_first_line(one)}", cure="write owner/name"
            )
        if isinstance(one, errors.OfflineModeIsEnabled):
            return UsageError(
                f"cannot reach {place}: HF_HUB_OFFLINE is set", cure="unset HF_HUB_OFFLINE"
            )
        if isinstance(one, errors.HfHubHTTPError):
            return _refused(one, place)
        if type(one).__name__ in ("ConnectError", "ConnectTimeout", "ReadTimeout", "ReadError"):
            return UnavailableError(
                f"cannot reach {place} at {constants.ENDPOINT}: {_first_line(one)}",
                cure="is there a network? HTTPS_PROXY names a proxy, HF_ENDPOINT another hub",
            )
    return UnavailableError(
        f"{place}: {type(error).__name__}: {_first_line(error)}",
        cure="the same command goes on where it was",
    )


def no_token(place: str) -> UsageError:
    """Nobody is logged in."""
    return UsageError(f"there is no token to write {place} with", cure=LOGIN)


def _refused(error: BaseException, place: str) -> ImigError:
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", 0)
    said = _without_token(str(getattr(error, "server_message", None) or "")).strip()[:_SHOWN]
    said = f": {said}" if said else ""
    if status == 401:
        return UsageError(
            f"the hub does not accept the token for {place}{said}",
            cure=f"it may have expired; {LOGIN}",
        )
    if status == 403:
        return UsageError(
            f"this token may not write {place}{said}",
            cure="take a token with the right to write, and a name of your own or of an "
            "organisation that you belong to",
        )
    if status == 429:
        return UnavailableError(
            f"the hub has had too many requests for {place}{said}",
            cure="wait, and run the same command again: it goes on where it was",
        )
    return UnavailableError(
        f"the hub answers {status} for {place}{said}",
        cure="run the same command again later: it goes on where it was",
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, what it was raised from, and so on."""
    one: BaseException | None = error
    for _ in range(10):
        if one is None:
            return
        yield one
        one = one.__cause__ or one.__context__


def _first_line(error: BaseException) -> str:
    text = _without_token(str(error)).strip()
    return text.splitlines()[0][:_SHOWN] if text else type(error).__name__


def _without_token(text: str) -> str:
    """Servers may repeat what they were sent."""
    from huggingface_hub import get_token

    token = get_token()
    return text.replace(token, "[token]") if token else text
