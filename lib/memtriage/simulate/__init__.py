"""Bounded, undoable memory leaks of known kinds, without a kernel module.

=============  =====================================================================================================
kinds          the table: what each kind is, which part of the ledger grows, which rights it needs, what to expect
processes      heap, workers, shared memory, page tables, threads: leaks of user space and what it drags along
objects        locks, open files, unread messages and other descriptors: slab that cannot be reclaimed
trees          names and inodes: reclaimable slab, the same pinned, names that do not exist
sockets        TCP connections full of unread data
groups         cgroups created and abandoned
leaker         the process that holds the leak, and the one that cleans up after everything else has ended
measure        the ledger, exactly and now, and what one object costs on this kernel
safety         how much may be taken
runner         pace, progress, end
copytree       a tree of files from a listing
=============  =====================================================================================================
"""
