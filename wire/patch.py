"""RFC 7396 merge patches between JSON-shaped documents; pure."""

from typing import Any, TypeAlias

Object: TypeAlias = dict[str, Any]


def merge(target: Any, patch: Any) -> Any:
    """`patch` applied to `target` (RFC 7396, section 2).

    A new document: nothing that is passed in is changed, and what the patch does not name is
    shared with `target`.
    """
    if type(patch) is not dict:
        return patch
    result = dict(target) if type(target) is dict else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif type(value) is dict:
            result[key] = merge(result.get(key), value)
        else:
            result[key] = value
    return result


def compare(old: Object, new: Object) -> Object:
    """The patch that makes `new` of `old`: `merge(old, compare(old, new)) == new`.

    `new` holds no member that is None, which a merge patch cannot say. An array that differs
    travels whole. Members that are the same object are skipped without a look inside.
    """
    patch: Object = {key: None for key in old if key not in new}
    for key, value in new.items():
        if key not in old:
            patch[key] = value
            continue
        before = old[key]
        if before is value:
            continue
        if type(before) is dict and type(value) is dict:
            if inner := compare(before, value):
                patch[key] = inner
        elif not same(before, value):
            patch[key] = value if type(value) is not dict else compare({}, value)
    return patch


def same(one: Any, other: Any) -> bool:
    """Equal as JSON: True is not 1, though Python's == says so."""
    if one is other:
        return True
    if one != other:
        return False
    if type(one) is list:
        return all(map(same, one, other))
    if type(one) is dict:
        return all(same(value, other[key]) for key, value in one.items())
    return (type(one) is bool) == (type(other) is bool)
