"""How the verdict and the report of an experiment write values and effects."""

import math

from pipelines.experiments.effects import Effect, Span


def percent(share: float, digits: int = 1) -> str:
    """A relative effect with its sign.

    >>> percent(0.0821), percent(-0.004), percent(math.inf), percent(math.nan)
    ('+8.2 %', '−0.4 %', '∞', '–')
    """
    if math.isnan(share):
        return "–"
    if math.isinf(share):
        return "∞" if share > 0 else "−∞"
    text = f"{100 * share:+.{digits}f} %"
    return text.replace("-", "−") if float(text[:-2]) else f"{0:.{digits}f} %"


def span_text(span: Span) -> str:
    """A relative interval.

    >>> span_text(Span(0.05, 0.01, 0.09)), span_text(Span(math.nan, -math.inf, math.inf))
    ('+1.0 % to +9.0 %', 'not known yet')
    """
    if not math.isfinite(span.low) and not math.isfinite(span.high):
        return "not known yet"
    low = -1.0 if span.low == -math.inf else span.low
    high = "any rise" if math.isinf(span.high) else percent(span.high)
    return f"{percent(low)} to {high}"


def amount(number: float, kind: str) -> str:
    """A metric's value: shares in percent, the rest with four significant digits.

    >>> amount(0.0471, "proportion"), amount(12.3456, "mean"), amount(1234.5, "quantile")
    ('4.71 %', '12.35', '1,234')
    """
    if not math.isfinite(number):
        return "–" if math.isnan(number) else "∞" if number > 0 else "−∞"
    if kind in ("proportion", "slow_share"):
        return f"{100 * number:.{2 if abs(number) >= 0.01 or number == 0 else 3}f} %".replace("-", "−")
    return plain(number)


def plain(number: float) -> str:
    """A number with four significant digits, thousands parted.

    >>> plain(0.000123456), plain(1234567.0), plain(-2.5), plain(0.0)
    ('0.0001235', '1,234,567', '−2.5', '0')
    """
    if number == 0:
        return "0"
    text = f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.4g}"
    return text.replace("-", "−")


def pvalue_text(pvalue: float) -> str:
    """A p-value.

    >>> pvalue_text(0.0314), pvalue_text(1e-9), pvalue_text(1.0)
    ('0.031', '< 0.0001', '1')
    """
    return "< 0.0001" if pvalue < 0.0001 else f"{pvalue:.2g}"


def effect_text(effect: Effect) -> str:
    """An effect in a sentence: from what to what, with its interval."""
    confidence = f"{100 * (1 - effect.level):.4g} %"
    values = f"{amount(effect.control_value, effect.kind)} → {amount(effect.treatment_value, effect.kind)}"
    if math.isnan(effect.relative.estimate) or (
        not math.isfinite(effect.relative.low) and not math.isfinite(effect.relative.high)
    ):
        return values
    return f"{values}, {percent(effect.relative.estimate)} ({confidence} interval {span_text(effect.relative)})"
