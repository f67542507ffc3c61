"""SQL expressions (DuckDB) for what every raw log has: times, prices, counts, properties.

Each takes SQL and gives SQL; none fails on a bad value, all of them give NULL, which the import then counts as
rejected with a reason.
"""

from collections.abc import Mapping

from schemas.taxonomy import REFERRERS

#: Decimal places of a currency's minor unit (ISO 4217) where they are not two.
_EXPONENTS = {0: ("BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF"), 3: "BHD IQD JOD KWD LYD OMR TND"}

#: Marketing medium as GA4 and campaign tags write it -> ``schemas.taxonomy.REFERRERS``.
_MEDIUMS = {
    "direct": ("(none)", "none", "direct"),
    "search": ("organic", "search"),
    "social": ("social", "social-network", "social-media"),
    "email": ("email", "e-mail", "newsletter"),
    "ads": ("cpc", "ppc", "cpm", "cpv", "cpa", "paid", "paidsearch", "paid_social", "display", "banner", "affiliate"),
    "other": ("referral", "other"),
}


def literal(text: str) -> str:
    """Quote text as an SQL string."""
    return "'" + text.replace("'", "''") + "'"


def present(text: str) -> str:
    """Empty text is no value."""
    return f"nullif(trim({text}), '')"


def number(text: str) -> str:
    """A decimal number of moderate size; NULL for anything else ("nan" and "inf" too)."""
    return f"TRY_CAST({text} AS DECIMAL(18, 3))"


def whole(text: str) -> str:
    """A whole number; "3.0" counts as one."""
    return f"TRY_CAST({number(text)} AS BIGINT)"


def count(text: str) -> str:
    """A quantity that fits 32 bits."""
    return f"TRY_CAST({number(text)} AS INTEGER)"


def local_ms(text: str, *formats: str, offset_ms: int = 0) -> str:
    """Milliseconds since the epoch of a time without a zone, written as in ``formats`` ``offset_ms`` ahead of UTC."""
    return f"epoch_ms(try_strptime({text}, [{', '.join(map(literal, formats))}])) - {offset_ms}"


def iso_ms(text: str) -> str:
    """Milliseconds since the epoch of an ISO 8601 time; UTC where it names no zone."""
    return f"epoch_ms(TRY_CAST({text} AS TIMESTAMPTZ))"


def scaled_ms(text: str, unit_ms: str) -> str:
    """Milliseconds since the epoch of a count of units of ``unit_ms`` milliseconds (1000 for seconds)."""
    return f"TRY_CAST(TRY_CAST({text} AS DECIMAL(18, 0)) * {unit_ms} AS BIGINT)"


def minor_units(amount: str, currency: str = "NULL") -> str:
    """An amount in major units (35.79) as minor units (3579), by the currency's decimal places."""
    cases = " ".join(
        f"WHEN {currency} IN ({', '.join(map(literal, names.split()))}) THEN {10**places}"
        for places, names in _EXPONENTS.items()
    )
    scale = "100" if currency == "NULL" else f"CASE {cases} ELSE 100 END"
    return f"TRY_CAST(round(TRY_CAST({amount} AS DECIMAL(18, 6)) * {scale}) AS BIGINT)"


def properties(entries: Mapping[str, str]) -> str:
    """A map of those entries that have a value."""
    pairs = ", ".join(f"{{'k': {literal(name)}, 'v': {value}}}" for name, value in entries.items())
    return f"map_from_entries(list_filter([{pairs}], lambda entry: entry.v IS NOT NULL))"


def spread_ms(identity: str, range_ms: int) -> str:
    """A fixed place in [0, range_ms) for an identity: the same in every import, even across the identities."""
    return f"CAST(md5_number_lower({identity}) % {range_ms} AS BIGINT)"


def referrer_kind(text: str) -> str:
    """The kind of referrer behind a marketing medium, or the kind itself; NULL when unknown."""
    cases = " ".join(
        f"WHEN lower({text}) IN ({', '.join(map(literal, mediums))}) THEN {literal(kind)}"
        for kind, mediums in _MEDIUMS.items()
    )
    return f"CASE {cases} WHEN {text} IN ({', '.join(map(literal, REFERRERS[1:]))}) THEN {text} END"


def device_of_agent(user_agent: str) -> str:
    """The device behind a browser's user agent string."""
    return (
        f"CASE WHEN {user_agent} IS NULL THEN NULL "
        f"WHEN regexp_matches({user_agent}, '(?i)ipad|tablet') THEN 'tablet' "
        f"WHEN regexp_matches({user_agent}, '(?i)mobi|iphone|android') THEN 'mobile' ELSE 'desktop' END"
    )


def path_of_url(url: str) -> str:
    """The path of a URL: no host, and no query or fragment, which may name people."""
    return f"nullif(regexp_extract({url}, '^(?:[a-z]+://[^/?#]+)?([^?#]*)', 1), '')"
