"""The patterns that read memory questions end in time, whatever they are given."""

import pytest

from chitchat.engine.recall import asked_of_user
from chitchat.engine.rejection import without_loops


@pytest.mark.parametrize("clause", ["啊哈哈啊哈哈" * 8 + "救命", "没说" * 30 + "你", "说猜" * 25 + "你"])
def test_long_laughs_and_repetitions_do_not_freeze_it(clause: str) -> None:
    assert asked_of_user(without_loops(clause)) is None  # took minutes
