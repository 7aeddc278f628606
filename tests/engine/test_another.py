"""换一个 is answered as the request before it once more; what only sounds like it is not."""

import pytest

from chitchat.dialogue import as_context
from chitchat.engine.another import repeated_request

ASKED = ("今天好热", "开风扇吧。", "推荐部电影吧", "想笑就看老喜剧。")


@pytest.mark.parametrize(
    "text", ["换一个", "再来一个吧", "还有别的吗", "看过了，换一个", "看过了", "不要这个", "再推荐一部", "还有吗？"]
)
def test_the_request_is_put_again(text: str) -> None:
    request = repeated_request(as_context([*ASKED, text]))
    assert request is not None and request.messages == tuple(as_context(ASKED[:3]))


def test_what_was_asked_several_times_is_still_the_same_request() -> None:
    request = repeated_request(as_context([*ASKED, "换一个", "想哭就看文艺片。", "再换一个"]))
    assert request is not None and request.messages[-1].content == "推荐部电影吧"


def test_what_the_user_has_turned_down_is_known() -> None:
    request = repeated_request(as_context(["晚上吃什么", "来顿火锅。", "火锅太上火了，换一个"]))
    assert request is not None and "火锅" in request.unwanted
    request = repeated_request(as_context(["推荐部喜剧电影", "看老喜剧。", "喜剧看腻了，换一个"]))
    assert request is not None and "喜剧" not in request.unwanted  # asked for: more of it may come


@pytest.mark.parametrize(
    "context",
    [
        [*ASKED, "那我看看"],
        [*ASKED, "好，谢谢"],
        [*ASKED, "我想换个工作"],
        [*ASKED, "我看过了，很好看"],
        ["今天好累", "辛苦了。", "还有吗"],
        ["还有吗"],
    ],
)
def test_other_talk_is_left_alone(context: list[str]) -> None:
    assert repeated_request(as_context(context)) is None
