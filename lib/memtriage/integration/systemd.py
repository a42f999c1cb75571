"""systemd: the unit of the flight recorder. packaging/memtriage-record.service is made of it."""

from __future__ import annotations

from memtriage.integration.table import Wanted

UNIT = """\
# The flight recorder of memtriage, made by memtriage config systemd. Copy to /etc/systemd/system, then:
# systemctl enable --now memtriage-record
#
# Group= is the group of your monitoring engine: it may read the recording (check_mem_recorder) and the copy of slabinfo
# (check_slab_growth) and nothing else. Debian's Icinga 2 and NRPE run as nagios; others call it icinga or nrpe.

[Unit]
Description=Flight recorder for memory: goes on when nothing else can run
After=local-fs.target
StartLimitIntervalSec=0

[Service]
Type=notify
ExecStart=@PREFIX@/bin/memtriage record --publish /run/memtriage/slabinfo
ExecReload=/bin/kill -HUP $MAINPID
User=root
Group=@GROUP@
UMask=0027
LogsDirectory=memtriage
LogsDirectoryMode=0750
RuntimeDirectory=memtriage
RuntimeDirectoryMode=0750
Restart=always
RestartSec=5
# Half of this is how often the loop says that it is alive. A standing disk does not stop the loop, and so not the service.
WatchdogSec=60
TimeoutStartSec=300

# What survives a lack of memory. systemd grants these before the program starts, so that it needs no capability for them.
OOMScoreAdjust=-1000
Nice=-20
CPUSchedulingPolicy=fifo
CPUSchedulingPriority=1
IOSchedulingClass=best-effort
IOSchedulingPriority=0
LimitMEMLOCK=infinity
LimitNOFILE=65536
MemoryMin=32M
MemorySwapMax=0
TasksMax=16

# SYS_RESOURCE: the kernel's alarm (a PSI trigger; before Linux 6.5 without it none at all). SYSLOG: /dev/kmsg under dmesg_restrict=1.
# With /proc mounted hidepid=2 add CAP_SYS_PTRACE to see other users' processes.
CapabilityBoundingSet=CAP_SYS_RESOURCE CAP_SYSLOG
NoNewPrivileges=yes
ProtectSystem=strict
# Beside ProtectKernelTunables systemd 252 leaves /run to be written to.
ReadOnlyPaths=/run
ProtectHome=yes
PrivateTmp=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
RestrictNamespaces=yes
RestrictSUIDSGID=yes
RestrictAddressFamilies=AF_UNIX
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
DevicePolicy=closed
DeviceAllow=/dev/kmsg r
# Not here, as each would hide what is recorded: ProtectKernelLogs, ProtectProc=invisible, PrivateNetwork, PrivateUsers, PrivateDevices.

[Install]
WantedBy=multi-user.target
"""

PASSIVE = """\
# For passive results, made by memtriage config systemd --passive. Copy to /etc/systemd/system/memtriage-record.service.d/passive.conf
# The secret in /etc/memtriage/passive.conf (root, 0600) is handed over by systemd, readable by the service alone.

[Unit]
Wants=network-online.target
After=network-online.target

[Service]
ExecStart=
ExecStart=@PREFIX@/bin/memtriage record --publish /run/memtriage/slabinfo --passive icinga2 \\
  --passive-config ${CREDENTIALS_DIRECTORY}/passive.conf
LoadCredential=passive.conf:/etc/memtriage/passive.conf
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
StateDirectory=memtriage
StateDirectoryMode=0755
MemoryMin=80M
TasksMax=40
"""


def render(wanted: Wanted) -> dict[str, str]:
    """``memtriage-record.service``, and for passive results a drop-in to it."""
    files = {"memtriage-record.service": UNIT}
    if wanted.passive:
        files["memtriage-record-passive.conf"] = PASSIVE
    return {name: text.replace("@PREFIX@", wanted.prefix).replace("@GROUP@", wanted.group) for name, text in files.items()}
