"""Logarithm, exponential and normal quantile from IEEE-754 basic operations only.

The C library's `log` and `exp` differ in the last bit between machines; a plan's hash must not.
Every step here is an addition, multiplication, division, square root or exact scaling, which
IEEE 754 rounds the same way everywhere.

Sources: log and exp follow the reductions and minimax coefficients of fdlibm 5.3 (e_log.c,
e_exp.c; error below 1 ulp). The quantile is algorithm AS 241, PPND16: M. J. Wichura, "The
percentage points of the normal distribution", Applied Statistics 37 (1988) 477-484.
"""

from __future__ import annotations

import math

import numpy as np

from doorbuster.compiling import compilable

_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
_INVERSE_LN2 = 1.44269504088896338700e00
_SQRT_HALF = 0.70710678118654752440
_LARGEST_POWER = 1010
# Scaling by a power of two is exact; a table is read faster than `ldexp` is called.
_POWERS_OF_TWO = np.array([math.ldexp(1.0, k) for k in range(-_LARGEST_POWER, _LARGEST_POWER + 1)])


@compilable
def log(x: float) -> float:
    """Natural logarithm. Range: x > 0 and finite."""
    mantissa, exponent = math.frexp(x)
    if mantissa < _SQRT_HALF:
        mantissa *= 2.0
        exponent -= 1
    f = mantissa - 1.0
    s = f / (2.0 + f)
    z = s * s
    w = z * z
    even = w * (
        3.999999999940941908e-01 + w * (2.222219843214978396e-01 + w * 1.531383769920937332e-01)
    )
    odd = z * (
        6.666666666666735130e-01
        + w
        * (2.857142874366239149e-01 + w * (1.818357216161805012e-01 + w * 1.479819860511658591e-01))
    )
    half_square = 0.5 * f * f
    k = float(exponent)
    return k * _LN2_HIGH - ((half_square - (s * (half_square + (odd + even)) + k * _LN2_LOW)) - f)


@compilable
def exp(x: float) -> float:
    """Exponential function. Range: -700 <= x <= 700 (clamped, far beyond any time in seconds)."""
    x = min(700.0, max(-700.0, x))
    k = math.floor(x * _INVERSE_LN2 + 0.5)
    high = x - k * _LN2_HIGH
    low = k * _LN2_LOW
    r = high - low
    t = r * r
    c = r - t * (
        1.66666666666666019037e-01
        + t
        * (
            -2.77777777770155933842e-03
            + t
            * (
                6.61375632143793436117e-05
                + t * (-1.65339022054652515390e-06 + t * 4.13813679705723846039e-08)
            )
        )
    )
    y = 1.0 - ((low - (r * c) / (2.0 - c)) - high)
    return y * float(_POWERS_OF_TWO[int(k) + _LARGEST_POWER])


# AS 241, PPND16: where the three regions end, and their coefficients, highest power first.
_CENTRE_HALF_WIDTH, _MIDDLE_END = 0.425, 5.0
_CENTRE_TOP = (
    2.5090809287301226727e3,
    3.3430575583588128105e4,
    6.7265770927008700853e4,
    4.5921953931549871457e4,
    1.3731693765509461125e4,
    1.9715909503065514427e3,
    1.3314166789178437745e2,
    3.3871328727963666080e0,
)
_CENTRE_BOTTOM = (
    5.2264952788528545610e3,
    2.8729085735721942674e4,
    3.9307895800092710610e4,
    2.1213794301586595867e4,
    5.3941960214247511077e3,
    6.8718700749205790830e2,
    4.2313330701600911252e1,
    1.0,
)
_MIDDLE_TOP = (
    7.74545014278341407640e-4,
    2.27238449892691845833e-2,
    2.41780725177450611770e-1,
    1.27045825245236838258e0,
    3.64784832476320460504e0,
    5.76949722146069140550e0,
    4.63033784615654529590e0,
    1.42343711074968357734e0,
)
_MIDDLE_BOTTOM = (
    1.05075007164441684324e-9,
    5.47593808499534494600e-4,
    1.51986665636164571966e-2,
    1.48103976427480074590e-1,
    6.89767334985100004550e-1,
    1.67638483018380384940e0,
    2.05319162663775882187e0,
    1.0,
)
_TAIL_TOP = (
    2.01033439929228813265e-7,
    2.71155556874348757815e-5,
    1.24266094738807843860e-3,
    2.65321895265761230930e-2,
    2.96560571828504891230e-1,
    1.78482653991729133580e0,
    5.46378491116411436990e0,
    6.65790464350110377720e0,
)
_TAIL_BOTTOM = (
    2.04426310338993978564e-15,
    1.42151175831644588870e-7,
    1.84631831751005468180e-5,
    7.86869131145613259100e-4,
    1.48753612908506148525e-2,
    1.36929880922735805310e-1,
    5.99832206555887937690e-1,
    1.0,
)


@compilable
def _rational(top: tuple[float, ...], bottom: tuple[float, ...], r: float) -> float:
    numerator = 0.0
    for coefficient in top:
        numerator = numerator * r + coefficient
    denominator = 0.0
    for coefficient in bottom:
        denominator = denominator * r + coefficient
    return numerator / denominator


@compilable
def normal_quantile(probability: float) -> float:
    """Quantile of the standard normal distribution. Range: 0 < probability < 1."""
    q = probability - 0.5
    if abs(q) <= _CENTRE_HALF_WIDTH:
        return q * _rational(_CENTRE_TOP, _CENTRE_BOTTOM, 0.180625 - q * q)
    r = math.sqrt(-log(probability if q < 0.0 else 1.0 - probability))
    if r <= _MIDDLE_END:
        x = _rational(_MIDDLE_TOP, _MIDDLE_BOTTOM, r - 1.6)
    else:
        x = _rational(_TAIL_TOP, _TAIL_BOTTOM, r - _MIDDLE_END)
    return -x if q < 0.0 else x
