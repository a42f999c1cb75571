"""A check for tests of the engines' limits: its output is laid out by the suite's own renderer, of exactly as many bytes as asked for.

    probe.py LIBRARY BYTES
"""

import os
import sys

sys.path.insert(0, sys.argv[1])
from memtriage.plugin import Report, render

wanted = int(sys.argv[2])
headline = "4.50% of 3.84 GiB available (177 MiB); culprit: slab cache 'kmalloc-4k' 2.40 GiB, unreclaimable"
perfdata = [f"part_{number}={number * 1000003}B;;;0;4125081600" for number in range(12)]
left = wanted - len(render("PROBE", Report(2, headline, [], perfdata), 4096))
details = ["%-98s." % f"line {number}" for number in range(left // 100)]
if left % 100:
    details.append("e" * (left % 100 - 1))
output = render("PROBE", Report(2, headline, details, perfdata), wanted + 100)
assert len(output) == wanted
while output:  # one write, as the checks do; the pipe takes 64 KiB at a time
    output = output[os.write(1, output):]
os._exit(2)
