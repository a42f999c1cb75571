"""What date(1) printed in thirty languages, made with glibc 2.36's locales and coreutils 9.1, TZ=Europe/Berlin."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memtriage.report import dateline

MAY, DECEMBER = 1778547845.0, 1798725845.0
"""2026-05-12 03:04:05 CEST and 2026-12-31 15:04:05 CET."""

LINES = """
Tue May 12 03:04:05 CEST 2026|Thu Dec 31 15:04:05 CET 2026
Tue May 12 03:04:05 AM CEST 2026|Thu Dec 31 03:04:05 PM CET 2026
Di 12. Mai 03:04:05 CEST 2026|Do 31. Dez 15:04:05 CET 2026
mar. 12 mai 2026 03:04:05 CEST|jeu. 31 déc. 2026 15:04:05 CET
mar 12 may 2026 03:04:05 CEST|jue 31 dic 2026 15:04:05 CET
mar 12 mag 2026, 03:04:05, CEST|gio 31 dic 2026, 15:04:05, CET
ter 12 mai 2026 03:04:05 CEST|qui 31 dez 2026 15:04:05 CET
2026年  5月 12日 火曜日 03:04:05 CEST|2026年 12月 31日 木曜日 15:04:05 CET
2026年 05月 12日 星期二 03:04:05 CEST|2026年 12月 31日 星期四 15:04:05 CET
西元2026年05月12日 (週二) 03時04分05秒 CEST|西元2026年12月31日 (週四) 15時04分05秒 CET
Вт 12 мая 2026 03:04:05 CEST|Чт 31 дек 2026 15:04:05 CET
wto, 12 maj 2026, 03:04:05 CEST|czw, 31 gru 2026, 15:04:05 CET
di 12 mei 2026  3:04:05 CEST|do 31 dec 2026 15:04:05 CET
tis 12 maj 2026 03:04:05 CEST|tor 31 dec 2026 15:04:05 CET
2026. 05. 12. (화) 03:04:05 CEST|2026. 12. 31. (목) 15:04:05 CET
Út 12. května 2026, 03:04:05 CEST|Čt 31. prosince 2026, 15:04:05 CET
Sal 12 May 2026 03:04:05 CEST|Prş 31 Ara 2026 15:04:05 CET
вівторок, 12 травня 2026 03:04:05 +0200|четвер, 31 грудня 2026 15:04:05 +0100
2026. máj. 12., kedd, 03:04:05 CEST|2026. dec. 31., csütörtök, 15:04:05 CET
ti 12.5.2026 03.04.05 +0200|to 31.12.2026 15.04.05 +0100
Tue, 12 May 2026 03:04:05 +0200|Thu, 31 Dec 2026 15:04:05 +0100
2026-05-12T03:04:05+02:00|2026-12-31 14:04:05Z
1778547845|@1798725845.25
"""


@pytest.mark.parametrize("line", LINES.strip().split("\n"))
def test_the_same_two_moments_in_every_language(line: str) -> None:
    may, december = line.split("|")
    assert dateline.parse(may.encode()) == MAY
    assert dateline.parse(december.encode()) == DECEMBER + (0.25 if "@" in line else 0)


@pytest.mark.parametrize("line", ["", "----", "Mem:  24684084 1554100", "root 1 0.0 0.0 1 2 ? S 03:04 0:00 init", "25:61:61 May 12 2026",
                                  "Tue Feb 30 03:04:05 UTC 2026", "Tue May 12 2026", "03:04:05", "x" * 500])
def test_what_is_no_date(line: str) -> None:
    assert dateline.parse(line.encode()) is None


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    found = dateline.parse(data)
    assert found is None or isinstance(found, float)


@given(st.text(alphabet="0123456789:.-+ AaPpMm年月日JanfebMär2026T", max_size=60))
def test_nearly_dates(text: str) -> None:
    found = dateline.parse(text.encode())
    assert found is None or isinstance(found, float)
