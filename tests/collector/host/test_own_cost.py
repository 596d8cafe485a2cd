"""What the collector reports about itself."""

from gpu_monitor.collector.host.own_cost import OwnCost
from gpu_monitor.wire.document import COLLECTOR_FIELDS


def test_own_cost_fills_the_documents_fields() -> None:
    cost = OwnCost()
    first, second = cost.sample(0.0, 0.00123), cost.sample(1.0, 0.00123)

    assert first.keys() == COLLECTOR_FIELDS.keys() - {"cpu_percent"}
    assert second.keys() == COLLECTOR_FIELDS.keys()
    assert second["sample_seconds"] == 0.0012 and second["memory_mib"] > 5
