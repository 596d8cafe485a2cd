"""What NVIDIA's catalogue says about each Xid: the program's fault or the card's; data only.

A class follows the catalogue's immediate action on data center GPUs since Ampere, in its edition
of 2025-10-29 (Xid 1 to 172; docs.nvidia.com/deploy/xid-errors/analyzing-xid-catalog.html, also in
leptonai/gpud as catalog_generated.go): RESTART_APP and IGNORE are the program's, RESET_GPU,
RESTART_VM, RESTART_BM and CHECK_MECHANICALS make the card useless, every other action needs
attention for a day. The words are our own. A code that is in none of the tables is reported by its
number and needs attention for a day.
"""

APPLICATION_XIDS = frozenset(
    {8, 11, 13, 25, 31, 32, 37, 43, 44, 45, 60, 66, 67, 68, 69, 80, 137, 141}  # faulty programs
    | {39, 40, 41, 70, 71, 72, 75, 76, 77, 85, *range(126, 136)}  # copy engines
    | {82, 83, 84, 86, 88, 89, *range(96, 106), 139}  # video, image and optical flow engines
    | {38, 63, 92, 93, 94, 121, 152, 153, 157, 160, 161}  # contained, corrected or put off
    | {14, 106, 107, 108, 154, 162}  # messages
)
"""The program that hit one of these ends or has to be restarted; the card needs nothing.

A row or page that waits for a reset (63, 94), a failed remapping (157) and the action that the
driver recommends (154) are reported from NVML's own queries, which also say when they are over.
"""

CROSS_USER_XIDS = frozenset({13, 31})
"""Program errors that point to the card if programs of several users run into them."""

DEGRADED_XIDS = {
    48: "uncorrectable memory (ECC) error",
    61: "the GPU's internal controller reported a warning",
    74: "NVLink error",
    78: "a virtual GPU could not be started",
    142: "error of a video encoder",
    144: "NVLink error (SAW)",
    145: "NVLink error (RLW)",
    146: "NVLink error (TLW)",
    147: "NVLink error (TREX)",
    148: "NVLink error (NVLPW)",
    149: "NVLink error (NETIR)",
    150: "NVLink error (MSE)",
    159: "error on the link to the CPU (CHI)",
    163: "power smoothing is off",
    164: "power smoothing hardware is nearly worn out",
    165: "power smoothing hardware is worn out",
    166: "NVLink traffic before encryption was set up",
    167: "the GPU did not answer on PCIe in time",
    168: "faulty memory in a protected region: less memory is usable",
    169: "the GPU's security processor halted",
    170: "error on an encrypted NVLink",
    171: "uncorrectable error in the GPU's memory (DRAM)",
    172: "uncorrectable error in the GPU's caches (SRAM)",
}
"""These need attention for a day."""

FAILED_XIDS = {
    46: "the GPU stopped processing: reset the GPU",
    54: "power cable not connected: connect it",
    62: "the GPU's internal controller halted: reset the GPU",
    64: "faulty memory could not be taken out of use: reset the GPU",
    79: "the GPU fell off the bus: reset it or reboot",
    95: "memory error that may have affected any program: reset the GPU",
    109: "a context switch timed out: reset the GPU",
    110: "security fault: reset the GPU; if it comes back, power-cycle the host",
    119: "the GPU's system processor (GSP) does not respond: reset the GPU",
    120: "the GPU's system processor (GSP) failed: reset the GPU",
    136: "an NVLink could not be trained: reset the GPU",
    140: "uncorrectable memory (ECC) error: reset the GPU",
    143: "the GPU could not be initialized: reset the GPU",
    151: "encryption keys could not be renewed: restart the virtual machine",
    155: "an NVLink went down: reset the GPU",
    156: "a faulty unit will be taken out of use: reset the GPU",
    158: "the GPU timed out: reset the GPU",
}
"""After these the card is of no use until it is reset, reloaded or repaired."""


def describe(code: int) -> tuple[str | None, str | None]:
    """What a code means, and what to do about it; each None where that is not known."""
    if code in FAILED_XIDS:
        meaning, _, advice = FAILED_XIDS[code].partition(": ")
        return meaning, advice
    return DEGRADED_XIDS.get(code), None
