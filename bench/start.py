"""From the start of the server to its first answer, its memory, and its idle time, beside a server that does nothing.

    python bench/start.py             5 starts of each, in turn; about 2 minutes

The server that does nothing has the same components and imports torch as well.
"""

import argparse
import statistics
import sys
import time
from http.client import HTTPConnection

from ratios import add_store, compare
from serving import NO_OP, cpu_seconds, memory, one_shot, start

IDLE = 5  # seconds


def measure(code: list[str]) -> tuple[float, float, float]:
    """Start a server; return the seconds to its first answer, its memory in MB after ten more, and its idle time in percent."""
    began = time.perf_counter()
    process, port = start(code)
    try:
        connection = HTTPConnection("127.0.0.1", port)
        one_shot(connection)
        first = time.perf_counter() - began
        for _ in range(10):
            one_shot(connection)
        held, used = memory(process), cpu_seconds(process)
        time.sleep(IDLE)
        return first, held, 100 * (cpu_seconds(process) - used) / IDLE
    finally:
        process.terminate()
        process.wait()


def main() -> int:
    """Start both servers in turn and print one table; return 1 where a ratio got worse."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--starts", type=int, default=5, help="of each server (default: %(default)s)")
    add_store(parser)
    flags = parser.parse_args()
    servers = {"ours": ["app.py"], "no-op": ["-c", "import torch\n" + NO_OP]}
    for code in servers.values():
        measure(code)  # whose files are then in memory
    found = {name: [] for name in servers}
    for _ in range(flags.starts):
        for name, code in servers.items():
            found[name].append(measure(code))
    print("| | ours, median (range) | no-op with torch, median (range) | ratio |\n|---|---|---|---|")
    ratios = {}
    for place, what in enumerate(("first answer, s", "memory, MB", "idle, % of a processor")):
        ours, floor = ([row[place] for row in found[name]] for name in servers)
        ratio = statistics.median(ours) / max(statistics.median(floor), 1e-9)
        if place < 2:
            ratios[what] = ratio
        print(f"| {what} | {statistics.median(ours):.2f} ({min(ours):.2f} to {max(ours):.2f}) | {statistics.median(floor):.2f} "
              f"({min(floor):.2f} to {max(floor):.2f}) | {ratio:.2f} |" if place < 2 else
              f"| {what} | {statistics.median(ours):.2f} | {statistics.median(floor):.2f} | |")
    print(f"\n{flags.starts} starts of each, in turn")
    return 1 if compare("start", ratios, flags.store) else 0


if __name__ == "__main__":
    sys.exit(main())
