"""Runs a command, then makes sure that no process of it is left behind.

    run_and_check.py COMMAND...

Exit code: the command's own; 1 when it succeeded and yet left a process. Whatever the command started and lost, however
it was detached, becomes our child (prctl(2), PR_SET_CHILD_SUBREAPER), so that nothing can be overlooked. Leftovers are
named and killed. With nextest the summary is printed again at the end, so that it is the last thing on the screen.
"""

import ctypes
import os
import re
import signal
import subprocess
import sys
import time

PR_SET_CHILD_SUBREAPER = 36
GRACE = 60.0  # seconds: a server's watchdog looks once a second, then removes what the tests shared: gigabytes on a slow disk


def children():
    try:
        with open(f"/proc/self/task/{os.getpid()}/children") as listing:
            return [int(pid) for pid in listing.read().split()]
    except OSError:
        return []


def reap():
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def command_line(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as line:
            return line.read().replace(b"\0", b" ").decode(errors="replace").strip() or f"process {pid}"
    except OSError:
        return f"process {pid}"


def main():
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")
    command = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    for name in (signal.SIGINT, signal.SIGTERM):  # ours is to outlive it and clean up
        signal.signal(name, lambda number, _: command.send_signal(number))

    # Read to the end of the command, not of the pipe: a leftover may hold the pipe open.
    summary, descriptor = [], command.stdout.fileno()
    os.set_blocking(descriptor, False)
    rest, ended = b"", False
    while True:
        try:
            block = os.read(descriptor, 65536)
        except BlockingIOError:
            if ended:
                break
            ended = command.poll() is not None
            if not ended:
                time.sleep(0.02)
            continue
        if not block:
            break
        os.write(1, block)
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            plain = re.sub(rb"\x1b\[[0-9;]*m", b"", line)
            if re.match(rb"\s+Summary \[", plain):
                summary = [line]
            elif summary:
                summary.append(line)
    code = command.wait()
    code = 128 - code if code < 0 else code

    until = time.monotonic() + GRACE
    while reap() or (left := children()) and time.monotonic() < until:
        time.sleep(0.1)
    if left:
        print(f"\nleft behind {GRACE:.0f} s after the end, now killed:", flush=True)
        for pid in left:
            print(f"  {pid} {command_line(pid)}", flush=True)
        while left := children():  # the children of those that die become ours in turn
            for pid in left:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
            reap()
        code = code or 1
        if summary:
            print(flush=True)
            os.write(1, b"\n".join(summary) + b"\n")
    sys.exit(code)


if __name__ == "__main__":
    main()
