"""The same question over all hosts of an Icinga 2 installation: what grows where, and on which kernels."""
