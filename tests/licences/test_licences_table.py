"""What imig reads in a licence's name, and what a card says of it."""

from __future__ import annotations

import pytest

from imig.licences.table import TABLE, CardLicence, card_licence, find_terms
from imig.models.families import FAMILIES

OTHER = "other"
FLUX = CardLicence(
    OTHER,
    "flux-1-dev-non-commercial-license",
    "https://huggingface.co/black-forest-labs/FLUX.1-dev/blob/main/LICENSE.md",
)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("CC-BY-4.0", "cc-by-4.0"),
        ("cc by 4.0", "cc-by-4.0"),
        ("CC_BY_SA_3.0", "cc-by-sa-3.0"),
        ("CC BY-NC-ND 2.0", "cc-by-nc-nd-2.0"),
        ("cc by-sa 3.0 de", "cc-by-sa-3.0"),
        ("CC-BY", "cc-by"),
        ("CC0", "cc0-1.0"),
        ("Attribution-NonCommercial-ShareAlike License", "cc-by-nc-sa"),
        ("Attribution-NonCommercial 4.0 International", "cc-by-nc-4.0"),
        ("http://creativecommons.org/licenses/by-nc-nd/2.0/", "cc-by-nc-nd-2.0"),
        ("No Derivatives, see https://creativecommons.org/licenses/by-nd/4.0", "cc-by-nd-4.0"),
        ("https://creativecommons.org/publicdomain/zero/1.0/", "cc0-1.0"),
        ("http://flickr.com/commons/usage/", "no-known-copyright-restrictions"),
        # COCO's own entries, as imig joins name and address.
        (
            "No known copyright restrictions http://flickr.com/commons/usage/",
            "no-known-copyright-restrictions",
        ),
        (
            "United States Government Work http://www.usa.gov/copyright.shtml",
            "public-domain-mark",
        ),
        (
            "Attribution-NoDerivs License http://creativecommons.org/licenses/by-nd/2.0/",
            "cc-by-nd-2.0",
        ),
        ("see http://www.usa.gov/copyright.shtml.", "public-domain-mark"),
        ("CC BY-NC 4.0: https://a.org/ours", "cc-by-nc-4.0"),
        ("https://notunlicense.org/", None),
        ("https://unlicense.org.a.org/", None),
        ("https://huggingface.co/facebook/sam3-other", None),
        ("https://huggingface.co/facebook/sam3/blob/main/LICENSE", "sam-license"),
        ("CC BY-NC 4.0 International", "cc-by-nc-4.0"),
        ("CC BY-NC-SA 2.0 Generic", "cc-by-nc-sa-2.0"),
        ("CC BY-NC 3.0 Unported", "cc-by-nc-3.0"),
        ("CC BY-ND 4.0 Deed", "cc-by-nd-4.0"),
        ("Creative Commons BY-NC 4.0", "cc-by-nc-4.0"),
        (
            "Creative Commons Attribution-NonCommercial 4.0 International Public License",
            "cc-by-nc-4.0",
        ),
        ("Attribution-NonCommercial 4.0 International (CC BY-NC 4.0)", "cc-by-nc-4.0"),
        ("Attribution 4.0 International (CC BY-NC 4.0)", None),
        ("our own (CC BY-NC 4.0)", None),
        ("our own (for partners)", None),
        ("CC BY 4.0 NC", None),
        ("CC0 1.0 Universal", "cc0-1.0"),
        ("MIT License", "mit"),
        ("Apache License 2.0", "apache-2.0"),
        ("Public License", None),
        ("No known copyright restrictions", "no-known-copyright-restrictions"),
        ("United States Government Work", "public-domain-mark"),
        ("All rights reserved.", "all-rights-reserved"),
        ("Apache-2.0", "apache-2.0"),
        ("ODbL-1.0", "odbl"),
        ("cc-by-me-4.0", None),
        ("cc-nc-4.0", None),
        ("our own", None),
        (None, None),
    ],
)
def test_a_licence_is_found_by_what_people_call_it(text: str | None, name: str | None) -> None:
    found = find_terms(text)
    assert (found.id if found is not None else None) == name


@pytest.mark.parametrize(
    ("licence", "commercial", "derivatives", "share_alike"),
    [
        ("CC-BY-4.0", True, True, ""),
        ("CC-BY-SA-4.0", True, True, "cc-by-sa"),
        ("CC-BY-NC-4.0", False, True, ""),
        ("CC-BY-ND-4.0", True, False, ""),
        ("CC-BY-NC-SA-4.0", False, True, "cc-by-nc-sa"),
        ("CC-BY-NC-ND-4.0", False, False, ""),
    ],
)
def test_creative_commons_six(
    licence: str, commercial: bool, derivatives: bool, share_alike: str
) -> None:
    terms = find_terms(licence)
    assert terms is not None
    assert terms.on_hub
    assert (terms.commercial, terms.derivatives, terms.share_alike) == (
        commercial, derivatives, share_alike,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("licences", "card"),
    [
        ([], CardLicence("unknown")),
        ([None], CardLicence("unknown")),
        (["CC-BY-4.0"], CardLicence("cc-by-4.0")),
        (["CC-BY-4.0", "cc by 4.0"], CardLicence("cc-by-4.0")),
        (["CC-BY-4.0", "CC0-1.0"], CardLicence("cc-by-4.0")),
        (["CC0-1.0", "pddl"], CardLicence("cc0-1.0")),
        (["CC-BY-4.0", None], CardLicence(OTHER, "mixed", "dataset.json")),
        (["CC-BY-4.0", "CC-BY-NC-4.0"], CardLicence(OTHER, "mixed", "dataset.json")),
        (["FLUX.1 [dev] non-commercial"], FLUX),
        (["FLUX.1 [dev] non-commercial", "CC0-1.0"], FLUX),
        (["Our terms: https://a.org/terms."], CardLicence(OTHER, "our-terms", "https://a.org/terms")),
        (["Nach Vereinbarung"], CardLicence(OTHER, "nach-vereinbarung", "dataset.json")),
        (["https://a.org/t"], CardLicence(OTHER, "see-link", "https://a.org/t")),
        (
            ["CC-BY-SA-2.0"],
            CardLicence(
                OTHER, "cc-by-sa-2.0", "https://creativecommons.org/licenses/by-sa/2.0/"
            ),
        ),
    ],
)  # fmt: skip
def test_the_card(licences: list[str | None], card: CardLicence) -> None:
    assert card_licence(licences) == card


def test_every_checkpoint_s_licence_is_known() -> None:
    stated = {one.licence for family in FAMILIES.values() for one in family.checkpoints}
    assert {one for one in stated if find_terms(one) is None} == set()


def test_no_name_means_two_licences() -> None:
    names = [name for one in TABLE for name in (one.id, *one.names)]
    assert len(set(names)) == len(names)
    assert all(name == name.lower() and " " not in name for name in names)


def test_the_hub_s_identifiers_are_the_hub_s() -> None:
    """As huggingface.co/docs/hub/repositories-licenses lists them."""
    hub = {
        "apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "cc0-1.0", "pddl", "unlicense",
        "odc-by", "odbl", "cdla-permissive-1.0", "cdla-permissive-2.0", "cdla-sharing-1.0", "gfdl",
        "creativeml-openrail-m", "openrail++",
    }  # fmt: skip
    assert {one.id for one in TABLE if one.on_hub} == hub
