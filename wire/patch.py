"""RFC 7396 merge patches between JSON-shaped documents; pure."""

from typing import Any, TypeAlias

Object: TypeAlias = dict[str, Any]


def merge(target: Any, patch: Any) -> Any:
    """`target` after `patch` (RFC 7396, section 2).

    A new document that shares with `target` what the patch does not name; neither argument is
    changed.
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
    """The patch from `old` to `new`: `merge(old, compare(old, new)) == new`.

    `new` must not hold a member that is None, which a merge patch cannot express. An array that
    differs travels whole. Members that are the same object are not compared.
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
    """Whether both are equal as JSON: unlike in Python, True is not 1."""
    if one is other:
        return True
    if one != other:
        return False
    if type(one) is list:
        return all(map(same, one, other))
    if type(one) is dict:
        return all(same(value, other[key]) for key, value in one.items())
    return (type(one) is bool) == (type(other) is bool)
