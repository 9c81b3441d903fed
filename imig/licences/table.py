"""Which licences imig knows, what they ask for, and what a hub's card says of them.

Only what the texts themselves say plainly stands here, and it is no legal advice. Sources: the
legal codes at creativecommons.org (NonCommercial, NoDerivatives and ShareAlike are sections 2(a)(1)
and 3(b) of the licences 4.0, 3 and 4 of those before), spdx.org/licenses for identifiers,
huggingface.co/docs/hub/repositories-licenses for the hub's, and the licence files of the models'
repositories. A licence that is not here is free text: imig hands it on, and judges nothing.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What a licence lets others do."""

    id: str
    """The hub's identifier, else the name that the card gives it."""
    link: str
    on_hub: bool = True
    """Whether `id` is one of the hub's identifiers; others are `other` with a name and a link."""
    conditions: bool = True
    """Whether it asks for anything, be it only the author's name; False: public domain."""
    commercial: bool = True
    """Whether commercial use is allowed: of the pictures, or, of a model, of the model."""
    derivatives: bool = True
    """Whether what is made of a picture (a crop, an edit, a smaller copy) may be given on."""
    share_alike: str = ""
    """The family of licences that what is made of it must be under; empty: any."""
    redistribution: bool = True
    """Whether copies may be given on at all."""
    reaches_outputs: bool = False
    """Of a model: whether it says something of the pictures that were made with it."""
    names: tuple[str, ...] = ()
    """What else it is called, in lower case, words joined by ``-``, without `_TAIL`."""
    addresses: tuple[str, ...] = ()
    """Where else it is explained, beside `link`."""


def _free(
    id_: str, link: str, *names: str, on_hub: bool = True, addresses: tuple[str, ...] = ()
) -> Terms:
    """Nothing is asked for."""
    return Terms(
        id=id_, link=link, on_hub=on_hub, conditions=False, names=names, addresses=addresses
    )


def _open(id_: str, *names: str, share_alike: str = "") -> Terms:
    link = f"https://huggingface.co/docs/hub/repositories-licenses#{id_}"
    return Terms(id=id_, link=link, share_alike=share_alike, names=names)


_HUB: Final = "https://huggingface.co"

TABLE: Final = (
    _free(
        "cc0-1.0",
        "https://creativecommons.org/publicdomain/zero/1.0/",
        "cc0",
        "cc-zero",
        "creative-commons-zero-v1.0",
    ),
    _free("pddl", "https://opendatacommons.org/licenses/pddl/1-0/", "pddl-1.0"),
    _free("unlicense", "https://unlicense.org/"),
    _free(
        "public-domain-mark",
        "https://creativecommons.org/publicdomain/mark/1.0/",
        "public-domain",
        "pdm",
        "public-domain-mark-1.0",
        "united-states-government-work",
        on_hub=False,
        addresses=("https://www.usa.gov/copyright.shtml", "https://www.usa.gov/government-works"),
    ),
    _free(
        "no-known-copyright-restrictions",
        "https://www.flickr.com/commons/usage/",
        "no-known-copyright",
        on_hub=False,
    ),
    _open("apache-2.0", "apache", "apache-license-2.0", "apache-license,-version-2.0"),
    _open("mit"),
    _open("bsd-2-clause"),
    _open("bsd-3-clause"),
    _open("odc-by", "odc-by-1.0"),
    _open("odbl", "odbl-1.0", share_alike="odbl"),
    _open("cdla-permissive-1.0"),
    _open("cdla-permissive-2.0"),
    _open("cdla-sharing-1.0", share_alike="cdla-sharing"),
    _open("gfdl", "gfdl-1.3", "gfdl-1.2", share_alike="gfdl"),
    _open("creativeml-openrail-m"),
    _open("openrail++"),
    # Section 2(d): outputs may be used for any purpose, but not to train a competing model.
    Terms(
        id="flux-1-dev-non-commercial-license",
        link=f"{_HUB}/black-forest-labs/FLUX.1-dev/blob/main/LICENSE.md",
        on_hub=False,
        commercial=False,
        reaches_outputs=True,
        names=("flux.1-[dev]-non-commercial",),
    ),
    Terms(
        id="flux-dev-non-commercial-license",
        link=f"{_HUB}/black-forest-labs/FLUX.2-dev",
        on_hub=False,
        commercial=False,
        reaches_outputs=True,
        names=("flux.2-[dev]-non-commercial",),
    ),
    Terms(
        id="sam-license",
        link=f"{_HUB}/facebook/sam3",
        on_hub=False,
    ),
    Terms(
        id="insightface-non-commercial-research",
        link="https://github.com/deepinsight/insightface#license",
        on_hub=False,
        commercial=False,
        names=("non-commercial-research",),
    ),
    Terms(
        id="all-rights-reserved",
        link="https://en.wikipedia.org/wiki/All_rights_reserved",
        on_hub=False,
        commercial=False,
        derivatives=False,
        redistribution=False,
        names=("proprietary", "copyrighted", "no-redistribution"),
    ),
)
"""All but Creative Commons' six, whose names say what they ask for (`_creative_commons`)."""

_CC_ON_HUB: Final = frozenset(
    {
        "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0",
        "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nd-4.0", "cc-by-nc-nd-3.0",
        "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0",
    }
)  # fmt: skip
_CC_KINDS: Final = frozenset({"by", "by-sa", "by-nc", "by-nd", "by-nc-sa", "by-nc-nd"})
_CC_ADDRESS: Final = re.compile(r"creativecommons\.org/licen[cs]es/([a-z-]+)(?:/(\d\.\d))?")
_PUBLIC_DOMAIN: Final = re.compile(r"creativecommons\.org/publicdomain/(zero|mark)\b")
_CC_NAME: Final = re.compile(
    r"(?:creative-commons-(?:cc-)?|cc-)(by(?:-(?:nc|nd|sa))*)(?:-v?(\d\.\d))?"
    r"(?:-(?!(?:nc|nd|sa)$)[a-z]{2,4})?"
)
_CC_LONG: Final = re.compile(
    r"(?:creative-commons-)?attribution((?:-(?:non-?commercial|no-?deriv(?:ative)?s|share-?alike))*)"
    r"(?:-v?(\d\.\d))?"
)
_TAIL: Final = re.compile(
    r"(?:-(?:international|generic|unported|universal|deed|public|licen[cs]e))+$"
)
"""Words after a licence's name that change nothing of it."""
_TWICE: Final = re.compile(r"(.+)\(([^()]+)\)")
"""A name, and in brackets the same one shorter, as Creative Commons' own pages are titled."""
_ADDRESS: Final = re.compile(r"https?://(?:www\.)?(\S+)")
_BY_NAME: Final = {name: one for one in TABLE for name in (one.id, *one.names)}


def find_terms(licence: str | None) -> Terms | None:
    """What is known of a licence by its identifier, its name or an address in it; None: nothing.

    Case does not matter, nor whether words are joined by blanks, underscores or hyphens, nor
    whether an address stands beside the name, as in COCO's files.
    """
    if licence is None:
        return None
    text = licence.strip().lower()
    if found := _CC_ADDRESS.search(text):
        return _creative_commons(found[1], found[2])
    if found := _PUBLIC_DOMAIN.search(text):
        return _BY_NAME["cc0-1.0" if found[1] == "zero" else "public-domain-mark"]
    words = _ADDRESS.sub(" ", text)
    if (terms := _find_by_name(words)) is not None:
        return terms
    if found := _TWICE.fullmatch(words.strip()):
        terms = _find_by_name(found[1])
        if terms is not None and terms == _find_by_name(found[2]):
            return terms
    return _find_by_address({_plain_address(one) for one in _ADDRESS.findall(text)})


def _find_by_name(words: str) -> Terms | None:
    name = re.sub(r"[\s_-]+", "-", words.strip().rstrip(".,:;")).strip("-")
    for one in (name, _TAIL.sub("", name)):
        if one in _BY_NAME:
            return _BY_NAME[one]
        if found := _CC_NAME.fullmatch(one):
            return _creative_commons(found[1], found[2])
        if found := _CC_LONG.fullmatch(one):
            said = found[1].replace("-", "")
            marks = {"nc": "noncommercial", "sa": "sharealike", "nd": "noderiv"}
            kind = "-".join(["by", *(mark for mark, word in marks.items() if word in said)])
            return _creative_commons(kind, found[2])
    return None


def _find_by_address(stated: Collection[str]) -> Terms | None:
    """By an address, or one of a page below it."""
    for terms in TABLE:
        for known in (terms.link, *terms.addresses):
            bare = _plain_address(_ADDRESS.sub(r"\1", known.lower()))
            if any(re.match(re.escape(bare) + r"(?:[/?#]|$)", one) for one in stated):
                return terms
    return None


def _plain_address(address: str) -> str:
    return address.rstrip("/.,;)>]")


def _creative_commons(kind: str, version: str | None) -> Terms | None:
    """One of the six licences; without a version what all versions of it have in common."""
    parts = kind.strip("-").split("-")
    kind = "-".join(["by", *(mark for mark in ("nc", "sa", "nd") if mark in parts)])
    if kind not in _CC_KINDS:
        return None
    name = f"cc-{kind}" + (f"-{version}" if version else "")
    return Terms(
        id=name,
        link=f"https://creativecommons.org/licenses/{kind}/{version or '4.0'}/",
        on_hub=name in _CC_ON_HUB,
        commercial="nc" not in parts,
        derivatives="nd" not in parts,
        share_alike=f"cc-{kind}" if "sa" in parts else "",
    )


@dataclass(frozen=True)
class CardLicence:
    """What the front matter of a hub's card says."""

    license: str
    license_name: str | None = None
    license_link: str | None = None


UNKNOWN: Final = CardLicence("unknown")
"""The hub's word where nobody has said."""
MIXED: Final = CardLicence("other", "mixed", "dataset.json")
"""Several, of which the manifest's ledger has each with its scenes."""


def card_licence(licences: Collection[str | None]) -> CardLicence:
    """The card's entry for scenes under these licences; None stands for some that nobody knows.

    | licences | the card |
    |---|---|
    | none, or only None | `unknown` |
    | one, which the hub knows | its identifier |
    | one, which it does not | `other`, with its name and its link |
    | several | those in the public domain, which ask for nothing, left out: as above |
    | several still, or some that nobody knows | `other`, named `mixed` |
    """
    known = {one: find_terms(one) for one in licences if one is not None}
    if not known:
        return UNKNOWN
    terms = {found.id: found for found in known.values() if found is not None}
    others = {one for one, found in known.items() if found is None}
    if None in licences:
        return MIXED
    asking = {name: one for name, one in terms.items() if one.conditions}
    if not others and not asking:  # one public domain is as good as another
        asking = dict([min(terms.items())])
    if len(asking) + len(others) > 1:
        return MIXED
    for one in asking.values():
        return CardLicence(one.id) if one.on_hub else CardLicence("other", one.id, one.link)
    return _free_text(next(iter(others)))


def _free_text(licence: str) -> CardLicence:
    """A licence that imig does not know: its own words, and the address among them."""
    address = re.search(r"https?://\S+", licence)
    words = licence if address is None else licence.replace(address[0], " ")
    name = re.sub(r"[^a-z0-9.+]+", "-", words.lower()).strip("-.") or "see-link"
    link = "dataset.json" if address is None else address[0].rstrip(".,;)>]")
    return CardLicence("other", name[:96], link)
