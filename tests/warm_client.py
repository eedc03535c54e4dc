"""What a test starts in place of a program: it asks the warm server for the program's process, and stands for it.

`python -I -S warm_client.py DOOR -m MODULE ARGUMENT…` has the arguments, environment, folder, streams and exit code of
`python -m MODULE ARGUMENT…`, passes signals on, and takes the program with it when it is killed. It imports next to nothing,
so that it starts at once.
"""

import json
import os
import signal
import socket
import sys


def main(door: str, *arguments: str) -> int:
    """The program's exit code; minus the signal that ended it."""
    request = json.dumps([arguments, dict(os.environ), os.getcwd()]).encode()  # noqa: PTH109  # pathlib takes its time
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(door)
        socket.send_fds(link, [len(request).to_bytes(4, "big")], [0, 1, 2])
        link.sendall(request)
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _: link.send(bytes([number])))
        answer = link.recv(4)
    assert answer, "the warm server ended: see its log beside the door"
    return int.from_bytes(answer, "big", signed=True)


if __name__ == "__main__":
    code = main(*sys.argv[1:])
    if code < 0:
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)
