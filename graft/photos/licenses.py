"""Licence names as SPDX-like tokens, so that one allow-list serves every source."""

import re
from functools import lru_cache

# Flickr's numbers, https://www.flickr.com/services/api/flickr.photos.licenses.getInfo.html. A number that is not here
# stays "Flickr licence N", which no allow-list holds.
FLICKR_LICENSES = {
    "0": "All Rights Reserved",
    "1": "CC-BY-NC-SA-2.0",
    "2": "CC-BY-NC-2.0",
    "3": "CC-BY-NC-ND-2.0",
    "4": "CC-BY-2.0",
    "5": "CC-BY-SA-2.0",
    "6": "CC-BY-ND-2.0",
    "7": "No known copyright restrictions",
    "8": "United States Government Work",
    "9": "CC0-1.0",
    "10": "PD",
}

_ADDRESS = re.compile(r"creativecommons\.org/(?:licenses/([a-z-]+)/(\d\.\d)|publicdomain/(zero|mark)\b)", re.IGNORECASE)
_WORDS = (
    (r"creative commons", "cc"),
    (r"attribution", "by"),
    (r"non-?commercial", "nc"),
    (r"share-? ?alike", "sa"),
    (r"no-?deriv(?:ative)?s", "nd"),
    (r"[\s_-]+", " "),
)
_NAME = re.compile(
    r"cc ((?:by|sa|nc|nd)(?: (?:by|sa|nc|nd))*)(?: v?(\d\.\d))?"
    r"(?: (?:international|unported|generic|license|deed|igo|[a-z]{2}))*"
)
_ZERO = re.compile(r"cc ?0( 1\.0)?( universal)?( public domain dedication)?")
_PUBLIC_DOMAIN = ("pd", "public domain", "public domain mark", "public domain mark 1.0", "pdm 1.0")


@lru_cache(maxsize=4096)
def spdx(name: str, address: str = "", version: str = "") -> str:
    """The token of a licence.

    The version for one country ("CC BY-SA 3.0 de") has the token of the international one: lists of allowed licences
    do not tell them apart. A name that is not understood is no reason to guess.

    Args:
        name: as the source writes it, e.g. "CC BY-SA 4.0" or "Creative Commons Attribution 2.0 Generic".
        address: of the licence's text; a Creative Commons address decides, whatever the name says.
        version: for a Creative Commons name without one, where the source is known to mean it.

    Returns:
        CC0-1.0, PD, CC-BY-4.0, CC-BY-NC-SA-2.0 …, or the name as it was.
    """
    if found := _ADDRESS.search(address):
        if found[3]:
            return "CC0-1.0" if found[3].lower() == "zero" else "PD"
        return f"CC-{found[1].upper()}-{found[2]}"
    plain = name.strip().lower()
    for pattern, short in _WORDS:
        plain = re.sub(pattern, short, plain)
    if _ZERO.fullmatch(plain):
        return "CC0-1.0"
    if plain in _PUBLIC_DOMAIN:
        return "PD"
    if found := _NAME.fullmatch(plain):
        return "-".join(["CC", *found[1].upper().split(), *filter(None, [found[2] or version])])
    return name.strip()


@lru_cache(maxsize=4096)
def license_address(token: str) -> str:
    """Where the text of a Creative Commons licence stands; "" for any other token."""
    if token == "CC0-1.0":
        return "https://creativecommons.org/publicdomain/zero/1.0/"
    found = re.fullmatch(r"CC-([A-Z-]+)-(\d\.\d)", token)
    return f"https://creativecommons.org/licenses/{found[1].lower()}/{found[2]}/" if found else ""
