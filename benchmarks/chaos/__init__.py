"""`python -m benchmarks.chaos`: clips are scored while everything that scores them is broken.

Two sites run at once: a server alone, and two replicas behind nginx. On each, `syncnet-client`
scores a folder of clips into one file, and is started again whenever it ends, as a user would. A
seeded schedule of faults hits processes, disks, streams and ports meanwhile. What counts is the
file in the end: every clip once, with the bits of a quiet run.

Everything is bounded in time and number and touches nothing but loopback addresses and processes
that this program has started. It runs in namespaces of its own, where `unshare` gives them, because
it fills its disk and /dev/shm; without, those two faults are left out, and what is left behind is
not counted.
"""
