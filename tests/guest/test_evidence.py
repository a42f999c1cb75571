"""What judges the guest of tests/guest/evidence.py: a line that is not there, an address or a failed command must not pass."""

from __future__ import annotations

from tests.guest import evidence

NAMES = ("said", "report.txt", "allocation-sites.txt", "modules.txt")
GOOD = {
    "said": "\n".join(line.replace("\\", "").replace(" +", "  ").replace("[0-9]+", "9") for line in evidence.WANTED["said"])
    + 4 * "\nleft with 0" + "\n",
    "report.txt": """4. Kernel
   Command line: console=ttyS0 quiet
   slub_debug=U,nfs_inode_cache guest=cmd4
   Tainted: 8192 = E: unsigned module
   Modules: 24 (modules.txt); tainting: failover (E)

6. What grows
   8041 active objects, 1172 bytes each with what is lost to packing; reclaimable by its flag (on
   SLUB active objects include free ones in per-CPU slabs).
   Who allocated the 8041 objects of 'nfs_inode_cache' that are in use (allocation-sites.txt has the
   stack traces):
   - nfs_alloc_inode [nfs]: 8041 objects, 8.98 MiB, 100.0%
   - of these 8000 called by alloc_inode, iget5_locked, nfs_fhget [nfs], nfs_readdir_entry_decode
     [nfs], nfs_readdir_page_filler [nfs]
   - of these 40 called by alloc_inode, iget5_locked, nfs_fhget [nfs], nfs_lookup [nfs],
     nfs_atomic_open [nfs], path_openat
   - of these 1 called by alloc_inode, iget5_locked, nfs_fhget [nfs], nfs_get_root [nfs],
     nfs_get_tree_common [nfs]
""",
    "allocation-sites.txt": """\
# alloc_traces of nfs_inode_cache: objects, function, age in jiffies (least/mean/greatest), processes; the way to it
   8000 nfs_alloc_inode+0x1d/0x60 [nfs] age=1/2/3 pid=113
        nfs_readdir_entry_decode+0x327/0x480 [nfs]
""",
    "modules.txt": "failover 16384 0 - Live 0x0 (E)\nnfs 524288 2 nfsv4, Live 0x0\n",
}


def test_texts_as_they_should_be() -> None:
    assert evidence.faults(GOOD) == []


def test_every_line_that_is_missing_is_said() -> None:
    found = evidence.faults(dict.fromkeys(NAMES, ""))
    assert len(found) == sum(map(len, evidence.WANTED.values())) + 1 and found[-1] == "said: a command failed"
    assert set(evidence.WANTED) == set(NAMES)


def test_what_must_not_be_there() -> None:
    assert evidence.faults({**GOOD, "report.txt": GOOD["report.txt"] + "   - not seen: vmallocinfo (no such file)\n"}) == [
        "report.txt: vmallocinfo is not seen, and is among the files"]
    modules = GOOD["modules.txt"] + "a 1 0 - Live 0xffffffffc04a6000\n"
    assert evidence.faults({**GOOD, "modules.txt": modules}) == ["modules.txt: an address"]
    said = GOOD["said"].replace("left with 0\n", "left with 1\n", 1)
    assert evidence.faults({**GOOD, "said": said}) == ["said: a command failed"]
