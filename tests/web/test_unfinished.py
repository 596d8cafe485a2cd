"""Requests that have not arrived completely, as a table."""

from hypothesis import given
from hypothesis import strategies as st

from gpu_monitor.web.unfinished import UnfinishedRequests


def test_a_request_expires_once_its_time_has_passed() -> None:
    requests = UnfinishedRequests[str](10.0, 100)
    requests.begin("a", 0.0)
    requests.begin("b", 5.0)
    requests.receive("a", 1, 9.0)
    assert requests.expired(9.9) == []
    assert requests.expired(10.0) == ["a"]
    assert requests.expired(15.0) == ["a", "b"]


def test_drips_do_not_postpone_the_end() -> None:
    requests = UnfinishedRequests[str](10.0, 100)
    for second in range(10):
        requests.receive("a", 1, float(second))
    assert requests.expired(10.0) == ["a"]


def test_a_body_has_its_own_time() -> None:
    requests = UnfinishedRequests[str](10.0, 100)
    requests.begin("a", 0.0)
    requests.begin("a", 8.0)
    assert requests.expired(17.9) == []
    assert requests.expired(18.0) == ["a"]


def test_the_oldest_give_way_until_the_others_fit() -> None:
    requests = UnfinishedRequests[str](10.0, 100)
    for name, size in (("a", 10), ("b", 50), ("c", 60)):
        requests.receive(name, size, 0.0)
    assert requests.overdrawn() == ["a", "b"]
    requests.end("b")
    assert requests.overdrawn() == []


steps = st.tuples(
    st.sampled_from(["begin", "receive", "end"]), st.integers(0, 4), st.integers(0, 9)
)


@given(st.lists(steps, max_size=60))
def test_bytes_and_ages_are_those_of_the_requests_that_are_left(
    taken: list[tuple[str, int, int]],
) -> None:
    requests = UnfinishedRequests[int](10.0, 20)
    expected: dict[int, tuple[float, int]] = {}
    for now, (step, client, size) in enumerate(taken):
        if step == "begin":
            requests.begin(client, now)
            expected.pop(client, None)
            expected[client] = (now, 0)
        elif step == "receive":
            began, held = expected.get(client, (now, 0))
            expected[client] = (began, held + size)
            assert requests.receive(client, size, now) == held + size
        else:
            requests.end(client)
            expected.pop(client, None)
    assert len(requests) == len(expected)
    now = len(taken)
    assert requests.expired(now) == [c for c, (began, _) in expected.items() if now - began >= 10]
    excess, oldest = sum(held for _, held in expected.values()) - 20, []
    for client, (_, held) in expected.items():
        if excess > 0:
            oldest.append(client)
            excess -= held
    assert requests.overdrawn() == oldest
