"""Runs a command without a network: `python tests/no_network.py COMMAND...`. The first process of it that
asks for a socket, be it in Python, C++ or Rust, is killed (SIGSYS), so that telemetry does not pass unseen.

Works for any user, in any container: Linux itself watches the system calls.
"""

import os
import sys

ENVIRONMENT = dict(os.environ)  # before virtue, which turns telemetry off in its own

from virtue.indexer.confinement import KILL_PROCESS, forbid  # noqa: E402

if __name__ == "__main__":
    if not forbid(("socket", "io_uring_setup"), KILL_PROCESS):
        sys.exit("this system cannot watch system calls")
    os.execvpe(sys.argv[1], sys.argv[1:], ENVIRONMENT)
