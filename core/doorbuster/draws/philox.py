"""Philox 4x32-10: uniform draws as a pure function of their name, without generator state.

Source: J. Salmon, M. Moraes, R. Dror, D. Shaw, "Parallel random numbers: as easy as 1, 2, 3",
SC 2011, section 3.3; multipliers, Weyl constants and known answers as in Random123.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from doorbuster.compiling import compilable, inlined

_ROUND_COUNT = 10
_MULTIPLIER_0, _MULTIPLIER_1 = 0xD2511F53, 0xCD9E8D57
_WEYL_0, _WEYL_1 = 0x9E3779B9, 0xBB67AE85
_MASK_32 = 0xFFFFFFFF
_TWO_POW_26, _TWO_POW_MINUS_53 = 67108864.0, 2.0**-53


@inlined
def _multiply_high_low(multiplier: int, value: int) -> tuple[int, int]:
    """The upper and lower 32 bits of a 32 by 32 bit product.

    Compiled, the product wraps around a signed 64-bit integer; masking the shifted bits then gives
    the same two halves as Python's unbounded product.
    """
    product = multiplier * value
    return (product >> 32) & _MASK_32, product & _MASK_32


@inlined
def philox4x32(
    counter_0: int, counter_1: int, counter_2: int, counter_3: int, key_0: int, key_1: int
) -> tuple[int, int, int, int]:
    """Ten Philox rounds over four 32-bit counter words and two 32-bit key words.

    Range: every argument and every result in [0, 2**32).
    Source: module docstring.
    """
    for _ in range(_ROUND_COUNT):
        high_0, low_0 = _multiply_high_low(_MULTIPLIER_0, counter_0)
        high_1, low_1 = _multiply_high_low(_MULTIPLIER_1, counter_2)
        counter_0, counter_1, counter_2, counter_3 = (
            high_1 ^ counter_1 ^ key_0,
            low_1,
            high_0 ^ counter_3 ^ key_1,
            low_0,
        )
        key_0 = (key_0 + _WEYL_0) & _MASK_32
        key_1 = (key_1 + _WEYL_1) & _MASK_32
    return counter_0, counter_1, counter_2, counter_3


@inlined
def draw(seed: int, visitor: int, purpose: int, attempt: int) -> float:
    """A uniform number in [0, 1) that depends on its four names and on nothing else.

    Range: 0 <= seed, visitor < 2**63; 0 <= purpose, attempt < 2**32. The result is a multiple
    of 2**-53.
    """
    word_0, word_1, _, _ = philox4x32(
        visitor & _MASK_32,
        (visitor >> 32) & _MASK_32,
        purpose & _MASK_32,
        attempt & _MASK_32,
        seed & _MASK_32,
        (seed >> 32) & _MASK_32,
    )
    return ((word_0 >> 5) * _TWO_POW_26 + (word_1 >> 6)) * _TWO_POW_MINUS_53


@compilable
def draw_array(
    seed: int, visitors: NDArray[np.int64], purpose: int, attempt: int
) -> NDArray[np.float64]:
    """`draw` for many visitors at once: shape (n,) in, shape (n,) out, equal bit for bit.

    Give the purpose as an `int`: of an enum, Numba looks at every member, which takes 0.5 ms.
    """
    uniforms = np.empty(visitors.shape[0], dtype=np.float64)
    for index in range(visitors.shape[0]):
        uniforms[index] = draw(seed, visitors[index], purpose, attempt)
    return uniforms
