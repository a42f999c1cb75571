"""Who allocated a cache's objects, and which module taints, on a real kernel: what `memtriage evidence` says of it in a virtual machine.

    python tests/guest/evidence.py            boots it once, about a minute; leaves with 1 where a line is not as it should be
    python tests/guest/evidence.py --keep     and keeps the kernel's files as tests/fixtures/sites
    python tests/guest/evidence.py --kernel VMLINUX [--module loop.ko]
        the same by /proc/allocinfo, of a kernel built with CONFIG_MEM_ALLOC_PROFILING: none of Debian's is. What it needs of disks
        (virtio, ext4) and network (IPv4) must be built in

What is played: tests/guest/debugged.py.
"""

from __future__ import annotations

import argparse
import re
import sys
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.guest import guest  # noqa: E402 - of this checkout, installed or not

CACHE = "nfs_inode_cache"
OUT = guest.LAB / "evidence"
FIXTURE = ROOT / "tests/fixtures/sites"
PROFILING = r"no /proc/allocinfo \(Linux 6\.10 and later with CONFIG_MEM_ALLOC_PROFILING, booted with sysctl\.vm\.mem_profiling=1\)"
WANTED = {
    "said": (
        r"allocation-sites\.txt +[0-9]+ B  who allocated it",
        r"modules\.txt +[0-9]+ B  /proc/modules, without addresses",
        rf"allocation-sites\.txt +left out: the kernel tracks who allocated '{CACHE}', and debugfs is not mounted on /sys/kernel/debug; "
        + PROFILING,
        r"allocation-sites\.txt +left out: the kernel does not track who allocated 'file_lock_cache': boot with "
        r"slub_debug=U,file_lock_cache and mount debugfs; " + PROFILING,
    ),
    "report.txt": (
        r"Command line: console=ttyS0 .* slub_debug=U,nfs_inode_cache guest=cmd[0-9]+",
        r"Tainted: 8192 = E: unsigned module",
        r"Modules: [0-9]+ \(modules\.txt\); tainting: failover \(E\)",
        r"8041 active objects, 11[0-9]{2} bytes each with what is lost to packing; reclaimable by its flag .*",
        r"Who allocated the 8041 objects of 'nfs_inode_cache' that are in use \(allocation-sites\.txt has the stack traces\):",
        r"- nfs_alloc_inode \[nfs\]: 8041 objects, [89]\.[0-9]{2} MiB, 100\.0%",
        r"- of these 8000 called by alloc_inode, iget5_locked, nfs_fhget \[nfs\], nfs_readdir_entry_decode \[nfs\], .*",
        r"- of these 40 called by alloc_inode, iget5_locked, nfs_fhget \[nfs\], nfs_lookup \[nfs\], .*",
        r"- of these 1 called by alloc_inode, iget5_locked, nfs_fhget \[nfs\], nfs_get_root \[nfs\], .*",
    ),
    "allocation-sites.txt": (
        r"# alloc_traces of nfs_inode_cache: objects, function, age in jiffies \(least/mean/greatest\), processes; the way to it",
        r"   8000 nfs_alloc_inode\+0x[0-9a-f]+/0x[0-9a-f]+ \[nfs\] age=[0-9]+/[0-9]+/[0-9]+ pid=[0-9]+",
        r"        nfs_readdir_entry_decode\+0x[0-9a-f]+/0x[0-9a-f]+ \[nfs\]",
    ),
    "modules.txt": (r"failover [0-9]+ 0 - Live 0x0 \(E\)", r"nfs [0-9]+ 2 nfsv4, Live 0x0"),
}
"""Whole lines, by where they stand: those of the report with what they are wrapped to."""
PROFILED = {
    "said": (
        r"allocation-sites\.txt +[0-9]+ B  who allocated it",
        r"  2[34]\.[0-9] MiB +[0-9.]+% +anon_pipe_get_page at fs/\.\. allocinfo",
    ),
    "report.txt": (
        r"Command line: console=ttyS0 .* sysctl\.vm\.mem_profiling=1 guest=cmd[0-9]+",
        r"Lines of source that allocated objects of 192 bytes, the size of those of '\S+' \(/proc/allocinfo; other caches may have "
        r"that size too\):",
        r"- 11\.0 MiB in 60000 calls: fs/locks\.c:[0-9]+ func:locks_alloc_lock",
        r"Lines of source that allocated most of all the kernel's memory, the slab's pages and the objects in them both "
        r"\(/proc/allocinfo; allocation-sites\.txt has 50\):",
    ),
    "allocation-sites.txt": (
        r"# /proc/allocinfo, the 50 largest: bytes, calls, place",
        r"    11520000    60000 fs/locks\.c:[0-9]+ func:locks_alloc_lock",
    ),
}
"""The same where /proc/allocinfo is there; of Linux 7.2."""


def faults(texts: dict[str, str], lines_of: dict[str, tuple[str, ...]] = WANTED, commands: int = 4) -> list[str]:
    """What is not as it should be."""
    found = [f"{name}: no line {wanted}" for name, lines in lines_of.items() for wanted in lines
             if not re.search(f"^{wanted}$", unwrapped(texts[name]) if name == "report.txt" else texts[name], re.MULTILINE)]
    found += [f"{name}: an address" for name, text in texts.items() if name != "said" and re.search("0x[0-9a-f]{8}", text)]
    if "not seen: vmallocinfo" in texts["report.txt"]:
        found.append("report.txt: vmallocinfo is not seen, and is among the files")
    if texts["said"].count("left with 0\n") != commands:
        found.append("said: a command failed")
    return found


def unwrapped(report: str) -> str:
    """The report with a sentence, or an entry of a list, a line; a sentence begins with a capital or a number."""
    text = re.sub(r"\n     (?=\S)", " ", report)
    text = re.sub(r"\n   (?![-A-Z0-9]|\s)", " ", text)
    return re.sub(r"^   ", "", text, flags=re.MULTILINE)


def play(kernel: Path | None, modules: tuple[Path, ...]) -> None:
    if kernel is None:
        result = guest.run("debugged.py", limit=600, boot=f"slub_debug=U,{CACHE}")
    else:
        result = guest.run("debugged.py", "profiled", limit=600, boot="sysctl.vm.mem_profiling=1", kernel=kernel, files=modules)
    if result.code:
        guest.clean(result)
        raise SystemExit(f"the guest left with {result.code} (99: did not get as far): {result.said[-1500:]}\n{result.console[-500:]}")
    OUT.mkdir(exist_ok=True)
    (OUT / "said").write_text(result.said)
    for name in ("bundle.tar.gz", "modules", "alloc_traces" if kernel is None else "allocinfo"):
        (OUT / name).unlink(missing_ok=True)
        guest.fetch(result, name, OUT / name)
    guest.clean(result)


def told() -> dict[str, str]:
    """What was printed, and the texts of the bundle."""
    texts = {"said": (OUT / "said").read_text()}
    with tarfile.open(OUT / "bundle.tar.gz") as archive:
        for member in archive.getmembers():
            handle = archive.extractfile(member)
            if handle is not None:
                texts[member.name.partition("/")[2]] = handle.read().decode("utf-8", "replace")
    return texts


def keep(release: str, profiled: bool) -> None:
    FIXTURE.mkdir(exist_ok=True)
    sources = FIXTURE / "SOURCES"
    made = sources.read_text().splitlines() if sources.exists() else []
    if profiled:  # 115 KiB, most of it noughts
        rows = [row for row in (OUT / "allocinfo").read_text().splitlines() if row.split()[:2] != ["0", "0"] or "[" in row]
        (FIXTURE / "allocinfo").write_text("".join(row + "\n" for row in rows))
        new = (f"allocinfo: /proc/allocinfo of {release}, built with CONFIG_MEM_ALLOC_PROFILING, in a virtual machine, without the lines "
               "that count nothing, but for those of a module; made by tests/guest/evidence.py --kernel VMLINUX --keep")
    else:
        for name in ("alloc_traces", "modules"):
            (FIXTURE / name).write_bytes((OUT / name).read_bytes())
        new = (f"alloc_traces, modules: /sys/kernel/debug/slab/{CACHE}/alloc_traces and /proc/modules of {release} in a virtual machine; "
               "made by tests/guest/evidence.py --keep")
    kept = [row for row in made if row.partition(":")[0] != new.partition(":")[0]]
    sources.write_text("".join(row + "\n" for row in sorted([*kept, new])))


def main() -> int:
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--keep", action="store_true", help="keep the kernel's files as a fixture")
    reader.add_argument("--kernel", type=Path, metavar="VMLINUX", help="boot this one, by /proc/allocinfo")
    reader.add_argument("--module", type=Path, action="append", default=[], metavar="FILE", help="of it, to be loaded; may be repeated")
    args = reader.parse_args()
    if guest.missing():
        print(f"needs {', '.join(guest.missing())}")
        return 1
    guest.build()
    play(args.kernel, tuple(args.module))
    texts = told()
    wrong = faults(texts) if args.kernel is None else faults(texts, PROFILED, 2)
    for fault in wrong:
        print(f"WRONG: {fault}")
    kernel = re.search(r"Linux version (\S+)", texts["report.txt"])
    if wrong or kernel is None:
        print(texts["said"], texts["report.txt"], sep="\n")
        return 1
    print(*re.findall(r"(?:Who allocated|Lines of source).*?(?=\n\n)", texts["report.txt"], re.DOTALL), sep="\n")
    print(f"evidence on Linux {kernel[1]}: as it should be")
    if args.keep:
        keep(f"Linux {kernel[1]}", args.kernel is not None)
    return 0


if __name__ == "__main__":
    sys.exit(main())
