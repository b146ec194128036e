"""Python runs this file at its start in every process of a fault's command, workers included.

FAULT_AT=N: at the Nth file-system operation below FAULT_UNDER, in processes of the role FAULT_WHO (driver or worker),
the process is killed (FAULT_HOW=kill, its id is first appended to the file FAULT_KILLED), or the driver is
(FAULT_HOW=behead), or the disk is full from then on (FAULT_HOW=full), or read-only (FAULT_HOW=readonly). FAULT_COUNT
names a file to which the number of operations is appended, for planning.
"""

import atexit
import errno
import os
import signal
import sys
import threading

_at = int(os.environ.get("FAULT_AT", "0"))
_under = os.environ.get("FAULT_UNDER", "")
_how = os.environ.get("FAULT_HOW", "kill")
_driver = os.environ.setdefault("FAULT_DRIVER", str(os.getpid()))
_mine = (_driver == str(os.getpid())) == (os.environ.get("FAULT_WHO", "driver") == "driver")
_seen = 0
_lock = threading.Lock()


def _count(path):
    global _seen
    if not str(path).startswith(_under):
        return
    with _lock:
        _seen += 1
        hit = _seen >= _at > 0
    if hit and _how == "kill":
        with open(os.environ["FAULT_KILLED"], "a") as file:
            file.write(f"{os.getpid()}\n")
        os.kill(os.getpid(), signal.SIGKILL)
    if hit and _how == "behead":
        os.kill(int(_driver), signal.SIGKILL)
    elif hit:
        number = {"full": errno.ENOSPC, "readonly": errno.EROFS}[_how]
        raise OSError(number, os.strerror(number), str(path))


def _audit(event, args):
    writes = event == "open" and (args[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    if writes or event in ("os.rename", "os.mkdir", "os.truncate", "os.link"):
        _count(os.path.abspath(args[0]) if isinstance(args[0], str | bytes | os.PathLike) else "")


def _wrapped(real, name):
    def call(descriptor, *rest):
        try:
            path = os.readlink(f"/proc/self/fd/{descriptor}")
        except OSError:
            path = ""
        _count(path)
        return real(descriptor, *rest)

    call.__name__ = name
    return call


if _under and _mine:
    sys.addaudithook(_audit)
    os.write = _wrapped(os.write, "write")
    os.fsync = _wrapped(os.fsync, "fsync")
    if "FAULT_COUNT" in os.environ:

        @atexit.register
        def _tell():
            with open(os.environ["FAULT_COUNT"], "a") as file:
                file.write(f"{_seen}\n")
