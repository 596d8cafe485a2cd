"""The classes of Xids are those of NVIDIA's catalogue, and the documentation lists them."""

import re

import pytest

from gpu_monitor.collector.gpu.xid import XID_FADE_SECONDS, XidLog
from gpu_monitor.collector.gpu.xid_catalog import (
    APPLICATION_XIDS,
    CROSS_USER_XIDS,
    DEGRADED_XIDS,
    FAILED_XIDS,
    describe,
)
from tests.support.house import ROOT

IMMEDIATE_ACTIONS = {
    "RESTART_APP": "8 11 13 25 31 32 39-41 60 68-72 75-77 80 82-86 88 89 94 96-105 126-135 139",
    "IGNORE": "14 37 38 43 44 63 66 67 92 93 106-108 121 137 141 152 153 157 160 161",
    "WORKFLOW_XID_45": "45",
    "XID_154": "154",
    "RESET_GPU": "46 62 64 95 109 110 119 120 136 140 143 155 156 158",
    "RESTART_BM": "79",
    "RESTART_VM": "151",
    "CHECK_MECHANICALS": "54",
    "WORKFLOW_XID_48": "48",
    "WORKFLOW_NVLINK_ERR": "74",
    "WORKFLOW_NVLINK5_ERR": "144-150",
    "UPDATE_SWFW": "78",
    "CHECK_UVM": "159",
    "CONTACT_SUPPORT": "1-7 9 10 12 15-24 26-30 33-36 42 47 49-53 55-59 61 65 73 81 87 90 91"
    " 111-118 122-125 138 142",
    "": "162-172",
}
"""The catalogue's column of that name, for each Xid from 1 to 172, in the edition of 2025-10-29."""
OF_THE_PROGRAM = {"RESTART_APP", "IGNORE", "WORKFLOW_XID_45", "XID_154"}
OF_A_USELESS_CARD = {"RESET_GPU", "RESTART_BM", "RESTART_VM", "CHECK_MECHANICALS"}
POWER_SMOOTHING_IS_BACK = 162
"""Without an action in the catalogue, but good news."""
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()


def codes(text: str) -> list[int]:
    """The numbers of a list like `8 39-41`."""
    found: list[int] = []
    for first, last in re.findall(r"(\d+)(?:-(\d+))?", text):
        found += range(int(first), int(last or first) + 1)
    return found


ACTIONS = {code: action for action, text in IMMEDIATE_ACTIONS.items() for code in codes(text)}


def test_every_xid_of_the_catalogue_has_an_action() -> None:
    assert sorted(ACTIONS) == list(range(1, 173))


@pytest.mark.parametrize("code", ACTIONS)
def test_the_class_of_an_xid_follows_the_catalogues_action(code: int) -> None:
    is_application = ACTIONS[code] in OF_THE_PROGRAM or code == POWER_SMOOTHING_IS_BACK
    xids = XidLog()
    xids.record(code, 0.0)
    is_critical = any(finding.severity == "critical" for finding in xids.findings(0.0))

    assert (code in APPLICATION_XIDS) == is_application == (xids.findings(0.0) == ())
    assert (code in FAILED_XIDS) == (ACTIONS[code] in OF_A_USELESS_CARD) == is_critical
    assert bool(xids.findings(XID_FADE_SECONDS)) == (code in FAILED_XIDS)


@pytest.mark.parametrize("code", [*codes("110 136 144-151 155 156 158 159 163-172"), *FAILED_XIDS])
def test_an_xid_that_may_cost_a_card_is_explained(code: int) -> None:
    meaning, advice = describe(code)
    assert meaning is not None and len(meaning.split()) >= 2
    assert (advice is not None) == (code in FAILED_XIDS)


@pytest.mark.parametrize("code", FAILED_XIDS)
def test_the_words_of_a_failure_say_what_to_do(code: int) -> None:
    _, _, remedy = FAILED_XIDS[code].partition(": ")
    assert re.search(r"\b(reset|reboot|restart|connect|power-cycle)\b", remedy)


def test_the_documentation_lists_the_failures_and_names_the_edition() -> None:
    (listed,) = re.findall(r"Xids that leave the GPU useless \(([\d, ]+)\)", OPERATIONS)
    assert codes(listed) == sorted(FAILED_XIDS)
    assert "edition of 2025-10-29" in OPERATIONS and "Xids up to 172" in OPERATIONS


def test_the_documentation_names_only_xids_of_the_class_that_it_means() -> None:
    (others,) = re.findall(r"other Xids, such as ([^|]+) \|", OPERATIONS)
    assert set(codes(others.replace(" to ", "-"))) <= DEGRADED_XIDS.keys()
    (harmless,) = re.findall(r"the card needs nothing \(such as ([\d, ]+)\)", OPERATIONS)
    assert set(codes(harmless)) <= APPLICATION_XIDS
    (crossing,) = re.findall(r"Xids (\d+ or \d+) in programs of different users", OPERATIONS)
    assert set(codes(crossing)) == CROSS_USER_XIDS
