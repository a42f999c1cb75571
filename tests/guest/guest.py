"""A small virtual machine that really runs out of memory: built from Debian's own packages, run under QEMU, no network, nothing kept.

    python tests/guest/guest.py build          once; about half a minute
    python tests/guest/guest.py run SCRIPT...  boots it and runs a script of this folder in it

Needs apt-get, dpkg-deb, mkfs.ext4, debugfs, cpio and qemu-system-x86_64, no root. Everything lies in $MEMTRIAGE_GUEST, by default
memtriage-guest in the folder for temporary files.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "lib"))

from memtriage.simulate.libc import die_with_parent  # noqa: E402 - of this checkout, installed or not

LAB = Path(os.environ.get("MEMTRIAGE_GUEST") or os.path.join(tempfile.gettempdir(), "memtriage-guest"))
PACKAGES = ("busybox-static", "bash", "dash", "coreutils", "procps", "util-linux", "mount", "python3", "atop", "sysstat", "libc-bin",
            "mawk", "base-files", "base-passwd", "findutils", "kmod", "netbase", "nfs-kernel-server", "python3-nagiosplugin",
            "python3-psutil", "nagios-nrpe-server", "nagios-nrpe-plugin", "monitoring-plugins-basic", "monitoring-plugins-contrib")
NEEDED = ("apt-get", "dpkg-deb", "mkfs.ext4", "debugfs", "cpio", "qemu-system-x86_64", "depmod", "modprobe")
BOOT_MODULES = ("virtio_pci", "virtio_blk", "ext4", "crc32c_generic")
MODULES = ("nfsd", "nfsv4", "virtio_net")
"""On the root disk, to be loaded by whoever needs them."""
LEFT_OUT = re.compile(r"^(perl|libperl|debconf|dpkg|adduser|passwd|tar|libsemanage|libsepol|libpam|gcc-|libgdbm|xz-utils|systemd|udev|"
                      "linux-image)")
DISKS = {"fast": "", "ssd": ",throttling.iops-total=3000,throttling.bps-total=125000000",
         "hdd": ",throttling.iops-total=120,throttling.bps-total=60000000"}

COUNTED = ("-accel", "tcg,thread=single", "-icount", "shift=2,sleep=on,align=off")
"""A processor of 250 million instructions a second."""

INIT = """#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc proc /proc; $b mount -t sysfs sys /sys; $b mount -t devtmpfs dev /dev
for module in {modules}; do $b insmod /modules/$module; done
count=0
while [ ! -b /dev/vdc ] && [ $count -lt 300 ]; do $b usleep 10000; count=$((count + 1)); done
$b mount -t ext4 -o ro,noatime /dev/vda /new
for folder in proc sys dev; do $b mount -o move /$folder /new/$folder; done
exec $b switch_root /new /sbin/first </dev/console >/dev/console 2>&1
"""

FIRST = """#!/bin/bash
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=/work/lib
mount -t tmpfs -o mode=1777,size=20% tmp /tmp; mount -t tmpfs -o mode=755,size=20% run /run
mkdir -p /dev/shm; mount -t cgroup2 cgroup2 /sys/fs/cgroup; echo +memory > /sys/fs/cgroup/cgroup.subtree_control
ip link set lo up 2>/dev/null
mount -o ro,noatime /dev/vdb /work; mount -o noatime /dev/vdc /scratch
for word in $(< /proc/cmdline); do case $word in guest=*) IFS=, read -ra words <<< "${word#guest=}" ;; esac; done
python3 "/work/${words[0]}" "${words[@]:1}" > /dev/ttyS1 2>&1 < /dev/null
echo "exit $?" > /dev/ttyS1
sync; umount /scratch; echo o > /proc/sysrq-trigger; sleep 10
"""


class Result(NamedTuple):
    code: int
    """What the script left with; 99 where the guest did not get as far."""
    said: str
    console: str
    scratch: Path
    """The image of the scratch disk; :func:`fetch` takes files out of it."""


def missing() -> list[str]:
    """The programs that are not on this host."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    return [name for name in NEEDED if shutil.which(name, path=path) is None]


def call(*command: object, **more: object) -> str:
    env = {**os.environ, "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin", "LC_ALL": "C"}
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=600, check=False, env=env,
                          **more)  # type: ignore[call-overload]
    if done.returncode:
        raise SystemExit(f"{command[0]}: {done.stderr.strip()[-500:] or done.returncode}")
    return str(done.stdout)


def build() -> None:
    """Fetches packages, unpacks them, makes kernel, initrd and root disk; a build is left where it is whole and made by this file."""
    recipe = hashlib.sha256(Path(__file__).read_bytes().partition(b"\ndef run(")[0]).hexdigest()
    made = LAB / "recipe"
    if made.exists() and made.read_text() == recipe:
        return
    made.unlink(missing_ok=True)
    archives, status = LAB / "apt/archives", LAB / "apt/status"
    (archives / "partial").mkdir(parents=True, exist_ok=True)
    status.write_bytes(b"")
    options = ["-q", "-o", f"Dir::State::status={status}", "-o", f"Dir::Cache::archives={archives}", "-o", "Dir::Cache::pkgcache=",
               "-o", "Dir::Cache::srcpkgcache=", "-o", "Debug::NoLocking=1", "-o", "APT::Sandbox::User=", "-o",
               "APT::Keep-Downloaded-Packages=1"]
    call("apt-get", *options, "-y", "--no-install-recommends", "--download-only", "install", *PACKAGES)
    about = call("apt-cache", "show", "--no-all-versions", "linux-image-amd64")
    depends = re.search(r"^Depends:.*?(linux-image-[0-9][^ ,]*)", about, re.MULTILINE)
    if depends is None:
        raise SystemExit("no kernel package is known: apt-get update")
    if not list(archives.glob(depends[1] + "_*.deb")):
        call("apt-get", *options, "download", depends[1], cwd=archives)
    kernel_package, = archives.glob(depends[1] + "_*.deb")
    root, kernel = LAB / "root", LAB / "kernel"
    for folder in (root, kernel):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")
    for name in ("proc", "sys", "dev", "run", "tmp", "work", "scratch", "etc", "var"):
        (root / name).mkdir(exist_ok=True)
    for package in sorted(archives.glob("*.deb")):
        if not LEFT_OUT.match(package.name):
            _unpack(package, root)
    _unpack(kernel_package, kernel)
    release = depends[1].replace("linux-image-", "")
    _modules(root, kernel, release)
    _finish_root(root)
    _initrd(root, kernel, release)
    image = LAB / "root.img.new"
    image.unlink(missing_ok=True)
    blocks = sum(path.lstat().st_size // 4096 + 1 for path in root.rglob("*") if not path.is_symlink())
    call("mkfs.ext4", "-q", "-O", "^has_journal,^metadata_csum", "-m", "0", "-d", root, image, f"{blocks // 256 * 120 // 100 + 40}M")
    image.rename(LAB / "root.img")
    made.write_text(recipe)


def _unpack(package: Path, folder: Path) -> None:
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE) as stream:
        call("tar", "-x", "--keep-directory-symlink", "-C", folder, stdin=stream.stdout)
    if stream.returncode:
        raise SystemExit(f"{package.name} cannot be unpacked")


def _finish_root(root: Path) -> None:
    """What the packages' scripts would have done, as far as it is needed; and away with what takes room."""
    for name in ("doc", "man", "locale", "info", "i18n", "zoneinfo", "perl", "bash-completion"):
        shutil.rmtree(root / "usr/share" / name, ignore_errors=True)
    for path in (root / "usr/lib").glob("*/gconv"):
        shutil.rmtree(path)
    for name in ("passwd", "group"):
        shutil.copy(root / f"usr/share/base-passwd/{name}.master", root / "etc" / name)
    (root / "etc/mtab").symlink_to("/proc/self/mounts")
    for name, target in (("awk", "mawk"), ("sar", "sar.sysstat"), ("sh", "dash")):
        if not (root / "usr/bin" / name).exists():
            (root / "usr/bin" / name).symlink_to(target)
    for name, words in (("hosts", "127.0.0.1 localhost guest\n"), ("exports", ""),
                        ("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\nservices: files\nrpc: files\n")):
        (root / "etc" / name).write_text(words)
    (root / "var/lib/nfs").mkdir(parents=True, exist_ok=True)
    # What is installed from our wheel lies on another disk, see run().
    (root / "usr/lib/python3/dist-packages/memtriage.pth").write_text("/work/lib\n")
    compiled(root, root / "usr/lib/python3", "/usr/lib/python3")
    for folder in (root / "usr/lib").glob("python3.*"):
        for name in ("test", "idlelib", "lib2to3", "ensurepip", "pydoc_data"):
            shutil.rmtree(folder / name, ignore_errors=True)
        compiled(root, folder, f"/usr/lib/{folder.name}")
    (root / "sbin/first").write_text(FIRST)
    (root / "sbin/first").chmod(0o755)


def compiled(root: Path, folder: Path, name: str) -> None:
    """Compiles ``folder``, which the guest will see as ``name``, with the guest's own Python: under emulation that takes minutes."""
    loader, = (root / "usr/lib64").glob("ld-linux-*.so.*")
    libraries = ":".join(str(path) for path in (root / "usr/lib").glob("*-linux-gnu"))
    command = [loader, "--library-path", libraries, root / "usr/bin/python3", "-m", "compileall", "-q", "--invalidation-mode",
               "unchecked-hash", "-s", folder, "-p", name, folder]
    subprocess.run([str(word) for word in command], capture_output=True, timeout=300, check=False, env={"PYTHONHOME": str(root / "usr")})


def _modules(root: Path, kernel: Path, release: str) -> None:
    call("depmod", "-b", kernel, release)
    for module in MODULES:
        for line in call("modprobe", "-d", kernel, "-S", release, "--show-depends", module).splitlines():
            if line.startswith("insmod "):
                path = Path(line.split()[1])
                to = root / path.relative_to(kernel)
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, to)
    for name in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
        shutil.copy(kernel / "lib/modules" / release / name, root / "lib/modules" / release)
    call("depmod", "-b", root, release)


def wheel(folder: Path) -> Path:
    """Builds this checkout's wheel in ``folder``, from a copy: a build leaves files behind."""
    source = folder / "source"
    for name in ("lib", "checks", "bin"):
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy(ROOT / name, source)
    call(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", folder, source)
    shutil.rmtree(source)
    found, = folder.glob("*.whl")
    return found


def _initrd(root: Path, kernel: Path, release: str) -> None:
    work = LAB / "initrd"
    shutil.rmtree(work, ignore_errors=True)
    for name in ("bin", "modules", "proc", "sys", "dev", "new"):
        (work / name).mkdir(parents=True)
    shutil.copy(root / "bin/busybox", work / "bin/busybox")
    order: list[str] = []
    for module in BOOT_MODULES:
        for line in call("modprobe", "-d", kernel, "-S", release, "--show-depends", module).splitlines():
            path = line.split()[1] if line.startswith("insmod ") else ""
            if path and os.path.basename(path) not in order:
                order.append(os.path.basename(path))
                shutil.copy(path, work / "modules")
    (work / "init").write_text(INIT.replace("{modules}", " ".join(order)))
    (work / "init").chmod(0o755)
    names = "\n".join(str(path.relative_to(work)) for path in sorted(work.rglob("*")))
    command = ["cpio", "-o", "-H", "newc", "--quiet"]
    packed = subprocess.run(command, input=names.encode(), cwd=work, capture_output=True, timeout=60, check=True)
    (LAB / "initrd.gz").write_bytes(gzip.compress(packed.stdout, 1))
    shutil.copy(next((kernel / "boot").glob("vmlinuz-*")), LAB / "vmlinuz")


def run(script: str, *words: str, memory: int = 512, cpus: int = 1, disk: str = "fast", limit: float = 600, swap: int = 0,
        folder: Path | None = None, counted: bool = False, network: tuple[str, ...] = ("-net", "none"),
        files: tuple[Path, ...] = (), machine: str = "q35", boot: str = "", kernel: Path | None = None) -> Result:
    """Boots the guest, runs ``script`` of this folder in it with ``words``, and returns what it said. Every disk is throttled alike.

    ``counted``: the guest's clock follows the instructions it executes while it is busy (QEMU's icount), so that a host with other work
    makes everything take longer, and the guest does not notice: its programs take the same share of its seconds everywhere.
    ``network`` are QEMU's own words; ``files`` are copied to /work beside the scripts. ``machine`` is QEMU's,
    with options: ``q35,hpet=off`` for a guest that its real-time clock wakes. ``boot`` are more words for the kernel's command line;
    ``kernel`` is another one than Debian's, a vmlinux with all in it that the disks need.
    """
    work = Path(tempfile.mkdtemp(prefix="run-", dir=folder or LAB))
    share = work / "share"
    share.mkdir()
    call(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-compile", "--target", share / "lib",
         wheel(work))
    for path in (*HERE.glob("*.py"), *files):
        shutil.copy(path, share)
    compiled(LAB / "root", share, "/work")
    for name, size, options in (("work", "16M", ["-d", share]), ("scratch", "1200M", ["-N", "200000"]),
                                *([("swap", f"{swap}M", [])] if swap else [])):
        image = work / name
        if name == "swap":
            with open(image, "wb") as handle:
                handle.truncate(swap * 1024 * 1024)
        else:
            call("mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=1,lazy_journal_init=1", *options, image, size)
    append = ("console=ttyS0 quiet loglevel=3 panic=-1 psi=1 log_buf_len=4M random.trust_cpu=on tsc=reliable no_timer_check "
              "cryptomgr.notests " + (boot + " " if boot else "") + "guest=" + ",".join((script, *words)))
    drives: list[str] = []
    for path, more in ((LAB / "root.img", ",snapshot=on"), (work / "work", ",readonly=on"), (work / "scratch", ""), (work / "swap", "")):
        if path.exists():
            drives += ["-drive", f"if=virtio,format=raw,file={path},cache=unsafe{more}{DISKS[disk]}"]
    said = work / "said"
    # Emulated: stable everywhere. Without erms and fsrm, whose string moves are emulated byte by byte.
    command = ["qemu-system-x86_64", *(COUNTED if counted else ("-accel", "tcg,thread=multi")), "-cpu", "max,-erms,-fsrm", "-M", machine,
               "-m", str(memory), "-smp", str(cpus), "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", *network,
               "-serial", f"file:{work / 'console'}", "-serial", f"file:{said}",
               "-kernel", str(kernel or LAB / "vmlinuz"), "-initrd", str(LAB / "initrd.gz"), "-append", append, *drives]
    parent = os.getpid()
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                          env={**os.environ, "TMPDIR": str(work)}, preexec_fn=lambda: die_with_parent(parent)) as guest:  # noqa: PLW1509
        try:
            error = guest.communicate(timeout=limit)[1]
        except subprocess.TimeoutExpired:
            error = f"out of time: ended after {limit:.0f} s".encode()
        finally:
            guest.kill()  # whatever happened, no guest is left
    text = said.read_text("utf-8", "replace").replace("\r\n", "\n") if said.exists() else ""
    console = (work / "console").read_text("utf-8", "replace") if (work / "console").exists() else ""
    code = re.search(r"^exit (\d+)$", text, re.MULTILINE)
    return Result(int(code[1]) if code else 99, text, console + error.decode("utf-8", "replace"), work / "scratch")


def fetch(result: Result, name: str, to: Path) -> None:
    """Copies a file out of the scratch disk."""
    call("debugfs", "-R", f"dump {name} {to}", result.scratch)


def clean(result: Result) -> None:
    shutil.rmtree(result.scratch.parent)


if __name__ == "__main__":
    if missing():
        raise SystemExit(f"needs {', '.join(missing())}")
    build()
    if sys.argv[1:2] == ["run"]:
        outcome = run(*sys.argv[2:])
        print(outcome.said, outcome.console, sep="\n")
        clean(outcome)
        sys.exit(outcome.code)
