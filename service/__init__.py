"""The running system. Said here, before torch loads its OpenMP: how long a thread that waits spins before it sleeps."""

import os

# libgomp itself takes 300,000 turns, some milliseconds, or few where its own threads outnumber the cores; it knows
# nothing of other processes. Where those keep the cores busy, the spinning takes the time of the thread that is waited
# for: six starts at 64^3 with two busy processes beside them on two cores took more than a minute, with 10,000 turns
# 21 s, with 1,000 11 s. Alone, twenty starts take 6.4, 7.3 and 8.5 s.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
