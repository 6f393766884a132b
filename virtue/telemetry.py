"""The telemetry of the libraries that virtue stands on, which is off: nothing phones home.

They read the environment when they are imported, so it is set before any of them is.
"""

import logging
import os
import sys

LOG = logging.getLogger("virtue")

SWITCHES = {
    "ORT_DISABLE_TELEMETRY": "1",  # onnxruntime: 1.29 and later write an identifier and send events
    "HF_HUB_DISABLE_TELEMETRY": "1",  # huggingface_hub, hf_xet, transformers
    "DO_NOT_TRACK": "1",  # others that may come: https://donottrack.sh
}
"""Environment variables, and the values that turn telemetry off."""


def turn_off_telemetry() -> None:
    """Turns it off in this process and those it starts, whatever the environment said before: that nothing
    phones home is a promise, not a default. A library that was imported before keeps what it read."""
    early = [name for name in ("onnxruntime", "huggingface_hub") if name in sys.modules]
    if early and not SWITCHES.items() <= os.environ.items():
        LOG.warning("%s was imported before virtue: its telemetry may be on", " and ".join(early))
    os.environ.update(SWITCHES)
