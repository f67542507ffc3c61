"""Names and texts quoted for ClickHouse's SQL."""


def quoted_name(name: str) -> str:
    """Return an identifier in ClickHouse's backticks."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def quoted_text(text: str) -> str:
    """Return a ClickHouse string literal."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
