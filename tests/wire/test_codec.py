"""wire.codec: documents survive packing, of any size."""

from gpu_monitor.wire.codec import pack, unpack
from gpu_monitor.wire.limits import MAX_MESSAGE_BYTES
from tests.support.snapshots import make_snapshot


def test_a_document_survives_packing() -> None:
    assert unpack(pack(make_snapshot())) == make_snapshot()


def test_our_own_document_may_be_of_any_size() -> None:
    fleet = {"hosts": ["x" * MAX_MESSAGE_BYTES]}
    assert unpack(pack(fleet)) == fleet
