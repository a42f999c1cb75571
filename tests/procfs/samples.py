"""Example data of kernel files, by the parser they are for: the tests assert their values, the fuzzers mutate them."""

from __future__ import annotations

import struct
from pathlib import Path

MEMINFO_6_18 = b"""\
MemTotal:       24684084 kB
MemFree:        23702048 kB
MemAvailable:   24300820 kB
Buffers:          230920 kB
Cached:           506936 kB
SwapCached:            0 kB
Active(anon):       1536 kB
Shmem:              8872 kB
KReclaimable:     150700 kB
Slab:             177180 kB
SReclaimable:     150700 kB
SUnreclaim:        26480 kB
Percpu:              712 kB
Balloon:               0 kB
HugePages_Total:       4
Hugepagesize:       2048 kB
DirectMap1G:    25165824 kB
"""

MEMINFO_2_6_9 = b"""\
MemTotal:       515892 kB
MemFree:         9872 kB
Buffers:        101720 kB
Cached:         143212 kB
SwapCached:          0 kB
Active:         285664 kB
Inactive:        71044 kB
HighTotal:           0 kB
HighFree:            0 kB
LowTotal:       515892 kB
LowFree:          9872 kB
SwapTotal:     1048568 kB
SwapFree:      1048568 kB
Dirty:              60 kB
Slab:           131100 kB
Committed_AS:   341128 kB
PageTables:       2640 kB
VmallocTotal:   499704 kB
HugePages_Total:     0
Hugepagesize:     4096 kB
"""

MEMINFO_2_4 = b"""\
        total:    used:    free:  shared: buffers:  cached:
Mem:  527654912 496807936 30846976        0 58724352 205897728
Swap: 1073733632 10522624 1063211008
MemTotal:       515288 kB
MemFree:         30124 kB
MemShared:           0 kB
"""

SLABINFO_2_1 = b"""\
slabinfo - version: 2.1
# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables <limit> <batchcount> <sharedfactor> : slabdata \
<active_slabs> <num_slabs> <sharedavail>
nfs_inode_cache   2380741 2380752   1096   29    8 : tunables    0    0    0 : slabdata  82096  82096      0
fsnotify_mark_connector 136680 136680     24  170    1 : tunables    0    0    0 : slabdata    804    804      0
iwl_cmd_pool:0000:04:00.0      0      0    280   29    2 : tunables    0    0    0 : slabdata      0      0      0
kmalloc-192(123:docker-4f.scope)     42     84    192   42    2 : tunables    0    0    0 : slabdata      2      2      0
dentry              4660   5250    192   21    1 : tunables    0    0    0 : slabdata    250    250      0
"""

SLABINFO_2_1_STATISTICS = b"""\
slabinfo - version: 2.1 (statistics)
# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables <limit> <batchcount> <sharedfactor> : slabdata \
<active_slabs> <num_slabs> <sharedavail> : globalstat <listallocs> <maxobjs> <grown> <reaped> <error> <maxfreeable> <nodeallocs> \
<remotefrees> <alienoverflow> : cpustat <allochit> <allocmiss> <freehit> <freemiss>
ip_fib_alias          17    113     32  113    1 : tunables  120   60    8 : slabdata      1      1      0 : globalstat      17     17     1    \
0 0    0    0    0    0 : cpustat     15      2      0      0
size-64             5000   5310     64   59    1 : tunables  120   60    8 : slabdata     90     90     60 : globalstat   12345   6000    99    \
3 0    1    2    3    4 : cpustat 100000   2000 99000 3000
"""  # noqa: E501

SLABINFO_2_0 = b"""\
slabinfo - version: 2.0
# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables <batchcount> <limit> <sharedfactor> : slabdata \
<active_slabs> <num_slabs> <sharedavail>
ip_conntrack_expect      0      0    128   31    1 : tunables  120   60    0 : slabdata      0      0      0
fib6 nodes             9    119     32  119    1 : tunables  120   60    0 : slabdata      1      1      0
size-131072(DMA)       0      0 131072    1   32 : tunables    8    4    0 : slabdata      0      0      0
"""

SLABINFO_1_1 = b"""\
slabinfo - version: 1.1
kmem_cache            80     80    248    5    5    1
ip fib hash           10    112     32    1    1    1
inode_cache       121044 121044    512 17292 17292    1
"""

SLABINFO_1_1_SMP = b"""\
slabinfo - version: 1.1 (SMP)
kmem_cache            80     80    248    5    5    1 :  252  126
tcp_bind_bucket     12    113     32    1    1    1 :  252  126
"""

VMSTAT_6 = b"""\
nr_free_pages 826129
nr_slab_reclaimable 37675
pgmajfault 1034
oom_kill 3
thp_fault_alloc 18446744073709551615
"""

VMSTAT_2_6_32 = b"nr_free_pages 12345\nnr_slab_reclaimable 100\npgpgin 7\nallocstall 12\n"

PRESSURE = b"""\
some avg10=12.34 avg60=5.60 avg300=0.99 total=123456789
full avg10=1.00 avg60=100.00 avg300=0.00 total=98765432109876
"""

ZONEINFO_6 = b"""\
Node 0, zone      DMA
  per-node stats
      nr_inactive_anon 1484
      nr_slab_reclaimable 37675
  pages free     3840
        boost    0
        min      60
        low      75
        high     90
        promo    105
        spanned  4095
        present  3998
        managed  3840
        cma      0
        protection: (0, 3019, 4171, 4171, 4171)
      nr_free_pages 3840
      numa_other   0
  pagesets
    cpu: 0
              count:    5
              high:     7
              batch:    1
              high_min: 37
              high_max: 240
  vm stats threshold: 4
  node_unreclaimable:  0
  start_pfn:           1
Node 0, zone   Normal
  pages free     192533
        boost    0
        min      5355
        low      6693
        high     8031
        promo    9369
        spanned  5505024
        present  5505024
        managed  360448
        cma      0
        protection: (0, 0, 0, 0, 0)
      nr_free_pages 192533
  pagesets
    cpu: 0
              count:    0
              high:     6693
              batch:    63
  vm stats threshold: 24
  node_unreclaimable:  0
  start_pfn:           1048576
Node 1, zone  Movable
  pages free     0
        boost    0
        min      32
        low      32
        high     32
        promo    32
        spanned  0
        present  0
        managed  0
        cma      0
        protection: (0, 0, 0, 0, 0)
"""

ZONEINFO_2_6_32 = b"""\
Node 0, zone      DMA
  pages free     3973
        min      16
        low      20
        high     24
        scanned  0
        spanned  4095
        present  3836
    nr_free_pages 3973
    nr_inactive_anon 0
        protection: (0, 2983, 8033, 8033)
  pagesets
    cpu: 0
              count: 0
              high:  0
              batch: 1
  vm stats threshold: 6
  all_unreclaimable: 1
  prev_priority:     12
  start_pfn:         1
  inactive_ratio:    1
"""

ZONEINFO_2_6_18 = b"""\
Node 0, zone   Normal
  pages free     100
        min      16
        low      20
        high     24
        active   5
        inactive 6
        scanned  0 (a: 6 i: 0)
        spanned  4095
        present  4000
    nr_anon_pages 1
        protection: (0, 0)
  pagesets
    cpu: 0 pcp: 0
              count: 5
              high: 186
              batch: 31
  all_unreclaimable: 0
  prev_priority:     12
  start_pfn:         0
"""

STAT_6 = b"""\
cpu  27404 1 59562 988529 536 2 49 20 3 4
cpu0 1383 0 1296 535097 52 0 12 5 0 0
intr 477424 0 0 0 25
ctxt 463252
btime 1795571946
processes 6209
procs_running 1
procs_blocked 2
softirq 287781 0 59607
"""

STAT_2_4 = b"""\
cpu  1 2 3 4
cpu0 1 2 3 4
page 5741 1808
swap 1 0
intr 1462898
disk_io: (3,0):(1,2,3,4,5)
ctxt 1
btime 1062191376
processes 460
"""

UPTIME = b"5388.58 9885.29\n"
BOOT_ID = b"ad5c9904-f88a-4157-b0ba-9cc6689fd95e\n"
OSRELEASE = b"6.18.44-fc-v669\n"
LOADAVG = b"0.33 12.11 0.03 1/85 6213\n"
DENTRY_STATE = b"96196\t94696\t45\t0\t4878\t0\n"
DENTRY_STATE_4 = b"92024\t72390\t45\t0\t0\t0\n"
AUXV = struct.pack("<8Q", 33, 0x7FFC0A5F2000, 16, 0x178BFBFF, 6, 4096, 0, 0)

INODE_NR = b"91160\t271\n"
FILE_NR = b"449\t0\t9223372036854775807\n"

SWAPS = b"""\
Filename				Type		Size		Used		Priority
/dev/dm-1                               partition	8388604		1024		-2
/swap\\040files/a\\134b                    file		1048572		0		5
/swapfile\\040(deleted)                  file\t\t512000\t\t100\t\t-3
"""

SOCKSTAT = b"""\
sockets: used 290
TCP: inuse 35 orphan 2 tw 4 alloc 59 mem 1234
UDP: inuse 12 mem 62
UDPLITE: inuse 0
RAW: inuse 0
FRAG: inuse 3 memory 8192
"""

ARCSTATS = b"""\
13 1 0x01 147 39984 7346534 1234567890
name                            type data
hits                            4    8771612
c_min                           4    1050000000
c_max                           4    16800000000
size                            4    1603939792
memory_available_bytes          3    -1072697344
arc_no_grow                     4    1
some_text                       7    two words
"""

MM_STAT_9 = b"  4096  1234  12288   0  16384  5  6  7  8\n"
MM_STAT_8 = b"    4096     1234    12288        0    16384        5        6        7\n"
MM_STAT_7 = b"    4096     1234    12288        0    16384        5        6\n"

CGROUP_V1_STAT = b"""\
cache 4096
inactive_file 1
hierarchical_memory_limit 536870912
total_cache 435597312
total_shmem 9084928
total_inactive_file 249995264
total_active_file 176517120
"""

CGROUP_V2_STAT = b"""\
anon 1000
file 2000
kernel 10
shmem 300
inactive_file 400
active_file 500
slab_reclaimable 600
slab_unreclaimable 700
"""

PID_STAT = (
    b"6218 (head) R 6203 6203 4396 0 -1 4194304 103 0 7 0 11 12 0 0 20 0 1 0 538859 2998272 408 "
    b"18446744073709551615 94497979727872 94497979751977 140731463724752 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 "
    b"94497979767824 94497979769440 94498618830848 140731463731927 140731463731950 140731463731950 140731463733226 "
    b"0\n"
)
PID_STAT_KTHREAD = (
    b"2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 1 0 0 20 0 1 0 15 0 0 18446744073709551615 0 0 0 0 0 0 0 "
    b"2147483647 0 0 0 0 0 1 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
)
STATM = b"732 428 399 6 0 89 0\n"

STATUS = b"""\
Name:\tmy\\\\prog\\nx 
Umask:\t0022
State:\tR (running)
Tgid:\t6220
Pid:\t6220
PPid:\t6203
Uid:\t1000\t1001\t1002\t1003
Gid:\t0\t0\t0\t0
Groups:\t 
VmPeak:\t    2928 kB
VmLck:\t       4 kB
VmRSS:\t    1776 kB
RssAnon:\t     112 kB
RssFile:\t    1660 kB
RssShmem:\t       4 kB
VmSwap:\t      20 kB
untag_mask:\t0xffffffffffffffff
Threads:\t17
SigQ:\t0/96365
SigPnd:\t0000000000000000
Speculation_Store_Bypass:\tthread vulnerable
Cpus_allowed_list:\t0-1
"""  # noqa: W291 - as the kernel writes it

STATUS_KTHREAD = b"Name:\tkworker/u8:2-events_unbound\nUmask:\t0000\nState:\tI (idle)\nPid:\t33\nPPid:\t2\nUid:\t0\t0\t0\t0\nThreads:\t1\n"
CMDLINE = b"/usr/bin/java\0-Xmx4g\0\0-jar\0a b.jar\0"

SMAPS_ROLLUP = b"""\
562a12210000-7ffd73fbe000 ---p 00000000 00:00 0                          [rollup]
Rss:                1768 kB
Pss:                 473 kB
Pss_Anon:            116 kB
Private_Dirty:       116 kB
Swap:                  8 kB
"""

PID_CGROUP = b"""\
12:cpu,cpuacct:/user.slice
4:memory:/docker/0a:b:c
1:name=systemd:/user.slice/user-0.slice (deleted)
0::/../other.scope
"""

LIMITS = b"""\
Limit                     Soft Limit           Hard Limit           Units     
Max cpu time              unlimited            unlimited            seconds   
Max stack size            8388608              unlimited            bytes     
Max processes             96365                96365                processes 
Max address space         18446744073709551614 18446744073709551614 bytes     
Max nice priority         0                    0                    
Max realtime timeout      unlimited            unlimited            us        
"""  # noqa: W291 - as the kernel writes it

OOM_LOGS = [(Path(__file__).parents[1] / "fixtures" / "oom" / f"{name}.log").read_bytes() for name in (
    "2.6.32-rhel6-memcg", "2.6.33-vsz", "5.0-memcg-constraint", "6.6-exiting-only", "6.8-newline-in-name", "6.18-syslog-forgery")]
BUDDYINFO = b"""\
Node 0, zone      DMA      0      0      1 
Node 0, zone   Normal   4806   2589   1928 
Node 1, zone   Normal      x      0      1 
"""  # noqa: W291 - as the kernel writes it
VMALLOCINFO = b"""0xffffb0a5c0000000-0xffffb0a5c0005000   20480 irq_init_percpu_irqstack+0xca/0x100 vmap
0xffffb0a5c0006000-0xffffb0a5c0008000    8192 acpi_os_map_iomem+0x1bc/0x1e0 phys=0x00000000000a0000 ioremap
0xffffb0a5c0009000-0xffffb0a5c000e000   20480 kernel_clone+0x9d/0x3c0 pages=4 vmalloc N0=4
0xffffb0a5c0010000-0xffffb0a5c0015000   20480 kernel_clone+0x9d/0x3c0 pages=4 vmalloc N0=4
0xffffb0a5c0020000-0xffffb0a5c0022000    8192 pages=1 vmalloc
0xffffb0a5c0030000-0xffffb0a5c0032000    8192 unpurged vm_area
what is this
"""
ALLOCINFO = b"""allocinfo - version: 1.0
#     <size>  <calls> <tag info>
    10485760     2560 mm/slub.c:2424 func:alloc_slab_page
     2097152      512 drivers/net/x.c:88 [x_driver] func:x_refill
           x        0 broken
"""
ALLOCINFO_2 = b"""allocinfo - version: 2.0
#     <size>  <calls> <tag info>
       49152       48 arch/x86/kernel/cpu/mce/core.c:2709 func:mce_device_create accurate:no
           0        0 arch/x86/kernel/kdebugfs.c:105 func:create_setup_data_nodes
"""
ALLOCINFO_7_2 = (Path(__file__).parents[1] / "fixtures/sites/allocinfo").read_bytes()
ALLOC_TRACES = (Path(__file__).parents[1] / "fixtures/sites/alloc_traces").read_bytes()
ALLOC_TRACES_KMALLOC = b"""\
    338 pci_alloc_dev+0x2c/0xa0 waste=521872/1544 age=290837/291891/293509 pid=1 cpus=106 nodes=0-1
        __kmem_cache_alloc_node+0x11f/0x4e0
        kmalloc_trace+0x26/0xa0
        pci_alloc_dev+0x2c/0xa0
        pci_scan_single_device+0xd2/0x150

   4000 <not-available> age=1/2/3 pid=0-77

     12 0xffffffffc04a6123 age=5 pid=7
        0xffffffffc04a6123

"""
ALLOC_CALLS = b"""\
      7 acpi_ns_internalize_name+0x44/0xa0 age=89 pid=1
     99 bio_alloc_bioset.cold+0x1/0x2 [md_mod] age=1/2/3 pid=0-9 cpus=0,3
"""
"""Before Linux 5.14, in the order of addresses."""
SYSVIPC_SHM = b"""\
  key shmid perms     size  cpid  lpid nattch  uid  gid cuid cgid      atime dtime      ctime      rss swap
    0     3  1600 67108864   702   731      6   26   26   26   26 1761904800     0 1761904800 33554432    0
    0     4  1600 67108864   x
"""
NET_TCP = b"""\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2354154 1 00000000ccb4117e 100 0 0 10 0
   1: 0100007F:1F90 0100007F:C93C 01 00000000:00000046 00:00000000 00000000    33        0 0 3 000000005a631335
   2: 0100007F:1F90 0100007F:C93E 01 00000000:00000000 00:00000000 00000000    33        0 2354160 3 000000005a631336 20 4 30 10 -1
"""
NET_TCP6 = b"""\
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid \
 timeout inode
   0: 00000000000000000000000001000000:0277 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0 \
       0 77 1 0
"""

ALL: dict[str, list[bytes]] = {
    "alloc_traces": [ALLOC_TRACES, ALLOC_TRACES_KMALLOC, ALLOC_CALLS, b"No data\n"],
    "allocinfo": [ALLOCINFO, ALLOCINFO_2, ALLOCINFO_7_2],
    "arcstats": [ARCSTATS],
    "boot_id": [BOOT_ID],
    "buddyinfo": [BUDDYINFO],
    "cgroup": [b"max\n", b"536870912\n"],
    "dentry_state": [DENTRY_STATE, DENTRY_STATE_4],
    "file_nr": [FILE_NR],
    "auxv": [AUXV],
    "inode_nr": [INODE_NR],
    "kmsg": OOM_LOGS,
    "oom_report": OOM_LOGS,
    "kpageflags": [bytes(range(64))],
    "keyed": [CGROUP_V1_STAT, CGROUP_V2_STAT],
    "loadavg": [LOADAVG],
    "meminfo": [MEMINFO_6_18, MEMINFO_2_6_9, MEMINFO_2_4],
    "osrelease": [OSRELEASE],
    "pid.cgroup": [PID_CGROUP],
    "pid.cmdline": [CMDLINE],
    "pid.limits": [LIMITS],
    "pid.smaps_rollup": [SMAPS_ROLLUP],
    "pid.stat": [PID_STAT, PID_STAT_KTHREAD],
    "pid.statm": [STATM],
    "pid.status": [STATUS, STATUS_KTHREAD],
    "pressure": [PRESSURE],
    "slabinfo": [SLABINFO_2_1, SLABINFO_2_1_STATISTICS, SLABINFO_2_0, SLABINFO_1_1, SLABINFO_1_1_SMP],
    "sockstat": [SOCKSTAT],
    "net_tcp": [NET_TCP, NET_TCP6],
    "stat": [STAT_6, STAT_2_4],
    "swaps": [SWAPS],
    "sysvipc_shm": [SYSVIPC_SHM],
    "uptime": [UPTIME],
    "vmallocinfo": [VMALLOCINFO],
    "vmstat": [VMSTAT_6, VMSTAT_2_6_32],
    "zoneinfo": [ZONEINFO_6, ZONEINFO_2_6_32, ZONEINFO_2_6_18],
    "zram": [MM_STAT_9, MM_STAT_8, MM_STAT_7],
}
"""By module below memtriage.procfs."""
