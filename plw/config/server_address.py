"""Addresses of servers that speak the OpenAI protocol: what is one, and what is Azure's."""

from urllib.parse import parse_qsl, urlsplit

from plw.errors import UserError

API_VERSION = "api-version"
"""The one parameter that an address may have behind it; others may be keys."""
AZURE_DOMAINS = (".openai.azure.com", ".openai.azure.us", ".cognitiveservices.azure.com", ".services.ai.azure.com")
DEPLOYMENT = "/openai/deployments/"
AZURE_MODELS = "/models"
"""Path of an address, of models that are not OpenAI's."""
_ALLOWED = "http://HOST:PORT/v1 or https://HOST/v1"
_ONE_REQUEST = ("/chat/completions", "/completions", "/models")


def is_azure(address: str) -> bool:
    """Whether an address is that of a resource of Azure's."""
    return (urlsplit(address).hostname or "").endswith(AZURE_DOMAINS)


def base_address(field: str, value: str | None) -> None:
    """``value`` is a web address that requests' paths are added to, without a key in it; ``None`` (not set) passes.

    Raises:
        UserError: it is none, is that of a request, or has another query behind it than an ``api-version``.
    """
    if value is None:
        return
    try:
        parts = urlsplit(value)
        sound = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        sound = False
    if not sound or any(letter.isspace() for letter in value):
        raise UserError(f"{field}={value.partition('?')[0]} is no web address; allowed: {_ALLOWED}")
    if parts.username or parts.password:
        raise UserError(f"{field} holds a user's name or password; a key comes from the environment")
    # What stands behind the path may be a key.
    bare, path = f"{field}={parts._replace(query='', fragment='').geturl()}", parts.path.rstrip("/")
    if "#" in value:
        raise UserError(f"{bare} has a # behind it; allowed: {_ALLOWED}")
    given = [name for name, text in parse_qsl(parts.query, keep_blank_values=True) if text]
    if "?" in value and given != [API_VERSION]:
        raise UserError(
            f"{bare} has another query behind it than ?{API_VERSION}=DATE, Azure's; allowed: {_ALLOWED}, and a key "
            "comes from the environment"
        )
    for part in _ONE_REQUEST:
        if path.endswith(part) and not (is_azure(value) and path == AZURE_MODELS):
            raise UserError(f"{bare} is the address of one request; give it without {part}")
    if is_azure(value) and DEPLOYMENT in path and not given:
        raise UserError(f"{bare} lacks its {API_VERSION}; allowed: '{field}=\"{value}?{API_VERSION}=2024-06-01\"'")
