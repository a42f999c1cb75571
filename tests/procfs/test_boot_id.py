import pytest

from memtriage.procfs import boot_id
from memtriage.procfs.files import Malformed
from tests.procfs import samples


def test_uuid() -> None:
    assert boot_id.parse(samples.BOOT_ID) == "ad5c9904-f88a-4157-b0ba-9cc6689fd95e"
    assert boot_id.parse(samples.BOOT_ID.upper()) == "ad5c9904-f88a-4157-b0ba-9cc6689fd95e"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"ad5c9904-f88a-4157-b0ba-9cc6689fd95\n",
        b"ad5c9904-f88a-4157-b0ba-9cc6689fd95g\n",
        b"ad5c9904f88a4157b0ba9cc6689fd95e\n",
        b"ad5c9904-f88a-4157-b0ba-9cc6689fd95e x\n",
    ],
)
def test_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        boot_id.parse(data)
