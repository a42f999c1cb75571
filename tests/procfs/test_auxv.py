import os
import struct

import pytest

from memtriage.procfs import auxv, files
from tests.procfs import samples


def test_page_size_in_each_width_and_order():
    assert auxv.parse(samples.AUXV) == (4096,)
    for form in ("<4I", ">4I", ">4Q"):
        assert auxv.parse(struct.pack(form, 6, 65536, 0, 0)) == (65536,)
    assert auxv.parse(auxv.made(16384)).page_size == 16384


@pytest.mark.parametrize("data", [b"", b"\0" * 16, b"\6", samples.AUXV[:32],
                                  struct.pack("<4Q", 6, 4095, 0, 0), struct.pack("<4Q", 6, 0, 0, 0)])
def test_no_page_size(data):
    with pytest.raises(files.Malformed, match="no page size in it"):
        auxv.parse(data)


def test_live():
    assert auxv.read().page_size == os.sysconf("SC_PAGE_SIZE")
