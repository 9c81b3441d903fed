"""ICC profiles of colours that a file states by numbers: primaries, white point, exponent.

What a picture says that way becomes a profile, and goes the way of all profiles.
"""

from __future__ import annotations

import struct
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from imig.pictures.stripped import StatedColours

_SRGB = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
"""x and y of white, red, green and blue (IEC 61966-2-1)."""
_PRIMARIES = {
    1: _SRGB,
    5: (0.3127, 0.3290, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06),
    6: (0.3127, 0.3290, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    7: (0.3127, 0.3290, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    9: (0.3127, 0.3290, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
    11: (0.314, 0.351, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    12: (0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    22: (0.3127, 0.3290, 0.630, 0.340, 0.295, 0.605, 0.155, 0.077),
}
"""By the number of ITU-T H.273, table 2."""
_UNSPECIFIED = 2
_EXPONENTS = {4: 2.2, 5: 2.8, 8: 1.0, 1: None, 6: None, 13: None, 14: None, 15: None}
"""By the number of ITU-T H.273, table 3; None: sRGB's curve, which is what browsers show the
transfer of television (1, 6, 14, 15) with."""

_SRGB_GAMMA = 1 / 2.2
_GAMMA_TOLERANCE = 0.05
"""libpng's, for what counts as the same exponent (PNG_GAMMA_THRESHOLD)."""
_GAMMAS = (0.1, 2.0)
"""Of a file that means it: nothing is encoded with less or more."""

_D50 = np.array([0.9642, 1.0, 0.8249])
"""What every profile refers to (ICC.1:2022, 7.2.16)."""
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
"""ICC.1:2022, annex E.3."""
_CURVE_POINTS = 4096


class UnusableColoursError(ValueError):
    """The numbers mean no colours, or brightness that a screen does not have (PQ, HLG)."""


def stated_colours_to_profile(colours: StatedColours) -> bytes:
    """The profile of colours that are not sRGB; empty for those that are, or are not stated.

    As the PNG specification ranks them: cICP, then sRGB, then gAMA and cHRM, of which each stands
    alone too.

    Raises
    ------
    UnusableColoursError
        When the numbers cannot be meant.
    """
    if colours.code_points is not None:
        primaries, transfer = colours.code_points
        if transfer == _UNSPECIFIED or primaries == _UNSPECIFIED:
            return b""
        if primaries not in _PRIMARIES or transfer not in _EXPONENTS:
            raise UnusableColoursError(f"primaries {primaries}, transfer {transfer}")
        return _profile_unless_srgb(_PRIMARIES[primaries], _EXPONENTS[transfer])
    if colours.is_srgb:
        return b""
    exponent = None
    if colours.gamma is not None:
        if not _GAMMAS[0] <= colours.gamma <= _GAMMAS[1]:
            raise UnusableColoursError(f"gamma {colours.gamma:g}")
        if abs(colours.gamma / _SRGB_GAMMA - 1) > _GAMMA_TOLERANCE:
            exponent = 1 / colours.gamma
    return _profile_unless_srgb(colours.chromaticities or _SRGB, exponent)


def _profile_unless_srgb(primaries: tuple[float, ...], exponent: float | None) -> bytes:
    if exponent is None and np.allclose(primaries, _SRGB, atol=2e-3):
        return b""
    return _make_profile(primaries, exponent)


@lru_cache(maxsize=8)
def _make_profile(primaries: tuple[float, ...], exponent: float | None) -> bytes:
    """A version 2 profile of three primaries and one curve; None is sRGB's."""
    matrix = _primaries_to_d50(primaries)
    ramp = np.linspace(0, 1, _CURVE_POINTS)
    if exponent is None:
        curve = np.where(ramp <= 0.04045, ramp / 12.92, ((ramp + 0.055) / 1.055) ** 2.4)
    else:
        curve = ramp**exponent
    points = np.rint(curve * 65535).astype(">u2").tobytes()
    text = b"stated by the file\0"
    description = b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(78)
    tags = {
        b"desc": description,
        b"cprt": b"text\0\0\0\0none\0",
        b"wtpt": _xyz(_D50),
        b"rXYZ": _xyz(matrix[:, 0]),
        b"gXYZ": _xyz(matrix[:, 1]),
        b"bXYZ": _xyz(matrix[:, 2]),
    }
    curves = b"curv\0\0\0\0" + struct.pack(">I", _CURVE_POINTS) + points
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curves)
    offset = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += name + struct.pack(">II", offset + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    size = offset + len(body)
    header = struct.pack(">I4xI4s4s4s12x4s28x3I48x", size, 0x02400000, b"mntr", b"RGB ", b"XYZ ",
                         b"acsp", *_fixed(_D50))  # fmt: skip
    return header + table + body


def _primaries_to_d50(primaries: tuple[float, ...]) -> NDArray[np.float64]:
    """Columns: XYZ of red, green and blue, adapted to D50."""
    points = np.array(primaries, dtype=np.float64).reshape(4, 2)
    if (points[:, 1] <= 0).any() or (points < 0).any() or (points.sum(axis=1) > 1.0001).any():
        raise UnusableColoursError("chromaticities that no light has")
    xyz = np.stack([points[:, 0], points[:, 1], 1 - points.sum(axis=1)]) / points[:, 1]
    white, columns = xyz[:, 0], xyz[:, 1:]
    if abs(np.linalg.det(columns)) < 1e-3:
        raise UnusableColoursError("chromaticities on one line")
    matrix = columns * np.linalg.solve(columns, white)
    adaptation = (
        np.linalg.inv(_BRADFORD) @ np.diag(_BRADFORD @ _D50 / (_BRADFORD @ white)) @ _BRADFORD
    )
    adapted: NDArray[np.float64] = adaptation @ matrix
    if np.abs(adapted).max() > 4:
        raise UnusableColoursError("chromaticities whose white is none of their mixtures")
    return adapted


def _xyz(values: NDArray[np.float64]) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *_fixed(values))


def _fixed(values: NDArray[np.float64]) -> list[int]:
    return [round(float(value) * 65536) for value in values]
