"""Run a command that dies with its parent: ``python -I -S leash.py PARENT_PID DATA_LIMIT_BYTES COMMAND…``.

A small program between the supervisor and each child, so that nothing runs between fork and exec in a process that
may hold threads. On Linux the kernel then kills the child when the parent is gone, even by ``kill -9``; elsewhere only
the supervisor's own clean-up applies. A data limit above 0 makes the kernel refuse the child more memory than that.
"""

import ctypes
import os
import resource
import signal
import sys

PR_SET_PDEATHSIG = 1


def run_leashed(parent_pid: int, data_limit_bytes: int, command: list[str]) -> None:
    """Tie this process to its parent, bound its memory and become the command. Does not return."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent_pid:
            # The parent went away before the kernel knew about the leash.
            sys.exit(1)
    if data_limit_bytes > 0:
        resource.setrlimit(resource.RLIMIT_DATA, (data_limit_bytes, data_limit_bytes))
    os.execvp(command[0], command)


if __name__ == "__main__":
    run_leashed(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
