"""broker.request_budget: bursts, refills, and when it equals a new one."""

from gpu_monitor.broker.request_budget import (
    BURST_REQUESTS,
    PICTURE_COST,
    REQUESTS_PER_SECOND,
    RequestBudget,
)


def spent(budget: RequestBudget, cost: float, now: float) -> int:
    """How many requests it pays for."""
    count = 0
    while budget.spend(cost, now):
        count += 1
    return count


def test_a_burst_is_paid_for_and_no_more() -> None:
    assert spent(RequestBudget(10.0), 1.0, 10.0) == BURST_REQUESTS


def test_it_is_filled_with_time_but_never_above_a_burst() -> None:
    budget = RequestBudget(0.0)
    spent(budget, 1.0, 0.0)
    assert spent(budget, 1.0, 1.0) == REQUESTS_PER_SECOND - 1  # the refused one is a debt
    assert spent(budget, 1.0, 1000.0) == BURST_REQUESTS


def test_a_picture_costs_as_much_as_hundreds_of_other_requests() -> None:
    assert spent(RequestBudget(0.0), PICTURE_COST, 0.0) == BURST_REQUESTS / PICTURE_COST


def test_it_is_full_until_spent_and_again_after_a_while() -> None:
    budget = RequestBudget(0.0)
    assert budget.is_full(0.0)
    budget.spend(PICTURE_COST, 0.0)
    assert not budget.is_full(0.0) and budget.is_full(PICTURE_COST / REQUESTS_PER_SECOND)


def test_a_clock_that_stands_still_fills_nothing() -> None:
    budget = RequestBudget(5.0)
    spent(budget, 1.0, 5.0)
    assert not budget.spend(1.0, 4.0)
