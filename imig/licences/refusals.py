"""What is refused: to publish, or to call by a licence, what the licences in it do not allow."""

from __future__ import annotations

from collections.abc import Iterator

from imig.errors import UsageError
from imig.licences import OVERRIDE
from imig.licences.table import Terms, find_terms
from imig.schema import Licences, Manifest


def check_publishable(
    manifest: Manifest, *, declared: str | None = None, despite: bool = False
) -> None:
    """Raise where the licences of what a dataset holds do not let it be given to others.

    What nobody has stated is refused by nothing, and the card says `unknown`. So is a dataset
    without a ledger, which an older imig has built.

    Parameters
    ----------
    declared:
        The licence that it is to be published under; None: what its manifest says, if it does.
    despite:
        The user has given `OVERRIDE`: nothing is refused.

    Raises
    ------
    UsageError
        With each reason, the scenes it is about, and how to go on.
    """
    ledger = manifest.licences
    if despite or ledger is None:
        return
    declared = declared or ledger.declared
    reasons = [*_not_to_be_shared(ledger)]
    if declared is not None:
        reasons = contradictions(ledger, declared)
        terms = find_terms(declared)
        if terms is not None and not terms.redistribution:
            reasons.append(f"it is declared under {declared}, which lets nobody share it")
    if reasons:
        raise UsageError(
            f"{manifest.name} is not to be published as it is: {'; '.join(reasons)}",
            cure="take those scenes out (`imig remove`), or, where you have the right to, "
            f"{OVERRIDE}",
        )


def check_declared(ledger: Licences, declared: str, *, what: str, despite: bool = False) -> None:
    """Raise UsageError where scenes do not allow the licence that is declared for all of them.

    Parameters
    ----------
    what:
        What declares it, for the message: ``--licence``, or the name of a dataset.
    """
    reasons = [] if despite else contradictions(ledger, declared)
    if reasons:
        raise UsageError(
            f"{what} declares {declared}, and that contradicts what the scenes are under: "
            f"{'; '.join(reasons)}",
            cure="declare another with --licence, leave those scenes out, or, where you have the "
            f"right to, {OVERRIDE}",
        )


def contradictions(ledger: Licences, declared: str) -> list[str]:
    """Why a dataset cannot be called by that licence, a line for each reason.

    Against a licence that imig does not know speaks only what must not be given on at all.
    """
    terms = find_terms(declared)
    reasons = [*_not_to_be_shared(ledger)]
    if terms is None:
        return reasons
    for source in ledger.sources:
        its = find_terms(source.licence)
        if its is not None and _shareable(its) and (why := _conflict(its, terms)):
            reasons.append(f"{_scenes(source.scenes)} under {source.licence}, which {why}")
    for model in ledger.models:
        its = find_terms(model.licence)
        if its is not None and not its.commercial and terms.commercial:
            reasons.append(
                f"{model.family}:{model.weights} took part, whose licence ({model.licence}) keeps "
                f"commercial use of the model out, and {terms.id} does not"
            )
    return reasons


def _not_to_be_shared(ledger: Licences) -> Iterator[str]:
    for source in ledger.sources:
        its = find_terms(source.licence)
        if its is None or _shareable(its):
            continue
        why = (
            "does not let what is made of a picture be shared: crops, edits, smaller copies"
            if its.redistribution
            else "lets nobody share them"
        )
        yield f"{_scenes(source.scenes)} under {source.licence}, which {why}"


def _shareable(terms: Terms) -> bool:
    return terms.derivatives and terms.redistribution


def _conflict(source: Terms, declared: Terms) -> str:
    """What a source's licence asks for that the declared one does not keep; empty: nothing."""
    if declared.commercial and not source.commercial:
        return f"keeps commercial use out, and {declared.id} does not"
    if source.share_alike and declared.share_alike != source.share_alike:
        return "asks for the same licence for what is made of it"
    if source.conditions and not declared.conditions:
        return f"has conditions, and {declared.id} passes none on"
    return ""


def _scenes(count: int) -> str:
    return f"{count:,} scene{'s are' if count != 1 else ' is'}"
