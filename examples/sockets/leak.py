"""`python examples/sockets/leak.py [PORTS]`: a server that forgets to close its ports; says how many it got, and what ended it.

    xdpsim run --attach examples/sockets/port_quota.o:port_quota -- python examples/sockets/leak.py

Not here: the quota (port_quota.c).
"""

from __future__ import annotations

import os
import socket
import sys


def main() -> int:
    """Bind so many ports of the loopback interface and keep them; 1 when it could not have them all."""
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    held: list[socket.socket] = []
    for _ in range(wanted):
        leaking = socket.socket()
        try:
            leaking.bind(("127.0.0.1", 0))
        except OSError as error:
            print(f"process {os.getpid()} holds {len(held)} ports of {wanted}: {error.strerror}")
            return 1
        held.append(leaking)
    print(f"process {os.getpid()} holds {len(held)} ports of {wanted}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
