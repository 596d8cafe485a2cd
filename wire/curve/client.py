"""A collector's or web server's side of CURVE, and why the broker refuses its connection."""

import logging
import os

import zmq

from gpu_monitor.wire.curve.keys import BROKER_PUBLIC, OWN_SECRET, KeysError, client_keys, stamp
from gpu_monitor.wire.curve.monitor import Handshakes

LINK_PATIENCE_SECONDS = 5.0
REFUSED_PATIENCE_SECONDS = 1.0
"""After a first refusal: the key may be about to change on both sides."""

log = logging.getLogger(__name__)

_EVENTS = (
    zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)
_DIFFERENT = 0x11000002  # ZMQ_PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH: one side has keys
_ASKS = "it requires keys: name them in config.yml (keys)"
_HAS_NONE = "it has no keys, or is not a broker"


class Lock:
    """Sets up one socket at a time; open a new one whenever `is_changed`.

    Without a folder of keys the socket does not encrypt; `why` still explains refusals.
    """

    def __init__(self, folder: str, enrol: str) -> None:
        """`enrol` is the command, without its key, that enrols this machine at the broker.

        Raises KeysError if the keys cannot be used.
        """
        self._folder = folder
        self._enrol = enrol
        self._stamps = self._read_stamps()
        self._keys = client_keys(folder) if folder else None
        self._handshakes: Handshakes | None = None
        self._why = ""
        self._broken = ""
        self._refused_patience = REFUSED_PATIENCE_SECONDS

    @property
    def patience(self) -> float:
        """Seconds without a connection after which to open a new socket: libzmq does not reconnect
        one that was refused."""
        return self._refused_patience if self.why() else LINK_PATIENCE_SECONDS

    def is_changed(self) -> bool:
        """Whether the folder holds other keys now; broken ones are logged once and ignored.

        Call this regularly: libzmq blocks once thousands of its events have not been read.
        """
        self._read_events()
        stamps = self._read_stamps()
        if stamps == self._stamps and not self._broken:
            return False
        self._stamps = stamps
        try:
            keys = client_keys(self._folder)
        except KeysError as error:
            if str(error) != self._broken:
                self._broken = str(error)
                log.warning("%s; until then the previous keys are used", error)
            return False
        self._broken = ""
        changed, self._keys = keys != self._keys, keys
        self._why = "" if changed else self._why
        return changed

    def put_on(self, socket: "zmq.Socket[bytes]") -> None:
        """Call this before the socket connects."""
        if self._keys is not None:
            self._keys.lock(socket)
        self._handshakes = Handshakes(socket, _EVENTS)

    def take_off(self) -> None:
        """Call this before the socket is closed."""
        if self.why():
            self._refused_patience = min(2 * self._refused_patience, LINK_PATIENCE_SECONDS)
        if self._handshakes is not None:
            self._handshakes.close()
            self._handshakes = None

    def why(self) -> str:
        """Why the broker refused the last connection; empty if it did not, or gave no reason."""
        self._read_events()
        return self._why

    def _read_events(self) -> None:
        for event, code in self._handshakes.drain() if self._handshakes is not None else ():
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self._why, self._refused_patience = "", REFUSED_PATIENCE_SECONDS
            else:
                self._why = self._words(event, code) or self._why

    def _words(self, event: int, code: int) -> str:
        keys = self._keys
        if keys is not None and event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
            return (
                "it does not know this machine's key; "
                f"there: {self._enrol} --public='{keys.own.public}'"
            )
        if event == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL and code == _DIFFERENT:
            return _ASKS if keys is None else _HAS_NONE
        if event != zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL or self._why in (_ASKS, _HAS_NONE):
            return ""  # whichever end notices the difference first closes the connection
        if keys is None:
            return f"it closes the connection; perhaps {_ASKS}"
        path = os.path.join(self._folder, BROKER_PUBLIC)
        return f"it closes the connection; perhaps it has no keys, or {path} is not its own.pub"

    def _read_stamps(self) -> tuple[tuple[int, ...], ...]:
        if not self._folder:
            return ()
        return tuple(stamp(os.path.join(self._folder, n)) for n in (OWN_SECRET, BROKER_PUBLIC))
