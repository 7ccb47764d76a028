"""Starts a program from a small process of its own, and tells what it took.

The operating system counts the memory a process had before it became another program as that program's, so a
big process cannot measure a small one. arguments: fd seconds command...; writes one JSON object to the fd.
"""

import json
import os
import select
import sys
import time


def main(fd: int, timeout_s: float, command: list[str]) -> None:
    started_s = time.perf_counter()
    pid = os.posix_spawn(command[0], command, os.environ)
    handle = os.pidfd_open(pid)
    in_time = bool(select.select([handle], [], [], timeout_s)[0])
    if not in_time:
        os.kill(pid, 9)
    _, status, usage = os.wait4(pid, 0)
    told = {
        "started_s": started_s,
        "wall_s": time.perf_counter() - started_s,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "rss_mb": usage.ru_maxrss / 1024,
        "code": os.waitstatus_to_exitcode(status) if in_time else None,
    }
    os.write(fd, json.dumps(told).encode())


main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:])
