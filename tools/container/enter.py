"""Becomes a user of a container image as a runtime would, and executes a program in it.

    enter.py ROOT UID PROGRAM [ARGUMENT…]
    enter.py ROOT UID --write PATH      writes a file there and removes it
    enter.py ROOT UID --read PATH       prints a file

The image needs nothing for it, not even a shell: no capabilities are left, and none can be gained.
"""

import ctypes
import os
import sys
from pathlib import Path

PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 24, 38


def main():
    root, uid, what, *arguments = sys.argv[1:]
    uid = int(uid)
    libc = ctypes.CDLL(None, use_errno=True)
    os.chroot(root)
    os.chdir("/")
    # Until the kernel knows no further one.
    for capability in range(64):
        if libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0):
            break
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "no_new_privs")
    if what == "--write":
        path = Path(arguments[0])
        path.write_text("x")
        path.unlink()
    elif what == "--read":
        sys.stdout.write(Path(arguments[0]).read_text())
    else:
        os.execvp(what, [what, *arguments])


main()
