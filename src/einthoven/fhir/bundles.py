"""Resources together: as one bundle, or a line each for bulk export."""

from typing import Any

import msgspec

from einthoven.fhir.elements import instant

__all__ = ["bundle_of", "ndjson_of", "search_bundle_of"]


def bundle_of(resources: list[dict[str, Any]], issued_ns: int) -> dict[str, Any]:
    """A collection in which every reference is to one of its own entries, by URN."""
    return {
        "resourceType": "Bundle",
        "type": "collection",
        "timestamp": instant(issued_ns),
        "entry": _entries(resources),
    }


def search_bundle_of(
    matches: list[dict[str, Any]], included: list[dict[str, Any]], issued_ns: int, url: str
) -> dict[str, Any]:
    """The answer to a question, with what the matches refer to; references as in `bundle_of`."""
    entries = _entries([*matches, *included])
    for number, entry in enumerate(entries):
        entry["search"] = {"mode": "match" if number < len(matches) else "include"}
    return {
        "resourceType": "Bundle",
        "type": "searchset",
        "timestamp": instant(issued_ns),
        "total": len(matches),
        "link": [{"relation": "self", "url": url}],
        "entry": entries,
    }


def _entries(resources: list[dict[str, Any]]) -> list[dict[str, Any]]:
    names = {f"{one['resourceType']}/{one['id']}": f"urn:uuid:{one['id']}" for one in resources}
    return [{"fullUrl": f"urn:uuid:{one['id']}", "resource": _renamed(one, names)} for one in resources]


def _renamed(value: Any, names: dict[str, str]) -> Any:
    """The same with every reference by its URN."""
    if isinstance(value, dict):
        return {
            key: names.get(inner, inner)
            if key == "reference" and isinstance(inner, str)
            else _renamed(inner, names)
            for key, inner in value.items()
        }
    return [_renamed(one, names) for one in value] if isinstance(value, list) else value


def ndjson_of(resources: list[dict[str, Any]]) -> bytes:
    """A resource a line, as bulk exports have them."""
    return b"".join(msgspec.json.encode(one) + b"\n" for one in resources)
