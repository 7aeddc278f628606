"""What the API takes and gives: OpenAI's chat completions, with all that is ours under the one extension key `chitchat`.

Fields of OpenAI's that a chit-chat bot has no use for are passed over; those that would change what the answer means are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, Field

from chitchat.dialogue import Message

MAX_MESSAGES = 2048
MAX_CHOICES = 12
"""As many candidates as are scored in full."""
MAX_PAIRS = 256


def _joined(content: Any) -> Any:
    """The text of a list of parts, in which clients may send it; anything but text parts is left to fail."""
    if isinstance(content, list) and all(
        isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str) for part in content
    ):
        return "".join(part["text"] for part in content)
    return content


def _listed(value: Any) -> Any:
    return [] if value is None else [value] if isinstance(value, str) else value


_Text: TypeAlias = Annotated[str, Field(min_length=0)]
"""That is Unicode: only with a bound does pydantic look for half a surrogate pair, which JSON may hold and no tokenizer takes."""
_Stop: TypeAlias = Annotated[str, Field(min_length=1)]
_Stops: TypeAlias = _Stop | Annotated[list[_Stop], Field(max_length=4)] | None
_Texts: TypeAlias = _Text | Annotated[list[_Text], Field(max_length=MAX_MESSAGES)] | None


class TextPart(BaseModel):
    type: Literal["text"]
    text: str


class ChatMessage(BaseModel):
    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[_Text, BeforeValidator(_joined, json_schema_input_type=str | list[TextPart])]

    def message(self) -> Message:
        return Message("system" if self.role == "developer" else self.role, self.content)


class ResponseFormat(BaseModel):
    type: Literal["text"]


class StreamOptions(BaseModel):
    include_usage: bool | None = False


class Extension(BaseModel, extra="forbid"):
    """What is ours in a request; a misspelt key is refused, or a conversation would not be kept and nobody told."""

    session: str | None = Field(None, min_length=1, max_length=64)
    """Keeps the conversation: `new`, or the id from an earlier reply, with which only the new message need be sent. Kept is the
    first choice, whole, whatever `n`, `stop` and `max_tokens` make of it."""
    candidates: bool = False
    """Adds every candidate with its scores, some 60 KB of them."""


class ChatRequest(BaseModel):
    """`POST /v1/chat/completions`."""

    model: str
    messages: list[ChatMessage] = Field(min_length=1, max_length=MAX_MESSAGES)
    n: int | None = Field(None, ge=1, le=MAX_CHOICES)
    temperature: float | None = Field(None, ge=0, le=2, allow_inf_nan=False)
    top_p: float | None = Field(None, ge=0, le=1, allow_inf_nan=False)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    stop: Annotated[list[_Stop], BeforeValidator(_listed, json_schema_input_type=_Stops), Field(max_length=4)] = []
    seed: int | None = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    tools: Annotated[list[Any], Field(max_length=0)] | None = None
    functions: Annotated[list[Any], Field(max_length=0)] | None = None
    logprobs: Literal[False] | None = None
    top_logprobs: Literal[0] | None = None
    response_format: ResponseFormat | None = None
    modalities: list[Literal["text"]] | None = None
    audio: None = None
    chitchat: Extension | None = None

    @property
    def token_limit(self) -> int | None:
        """Tokens of one choice at most; `max_tokens` is the older name."""
        return self.max_completion_tokens or self.max_tokens


class ScorePair(BaseModel):
    context: Annotated[list[_Text], BeforeValidator(_listed, json_schema_input_type=_Texts), Field(max_length=MAX_MESSAGES)] = []
    """The messages before the reply, oldest first."""
    reply: str = Field(min_length=1)


class ScoreRequest(BaseModel):
    """`POST /v1/score`."""

    model: str | None = None
    pairs: list[ScorePair] = Field(min_length=1, max_length=MAX_PAIRS)


class Error(BaseModel):
    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """Every answer but a good one."""

    error: Error


def error_json(message: str, *, kind: str, code: str | None = None, param: str | None = None) -> dict[str, Any]:
    """An error body as OpenAI's clients read it."""
    return ErrorBody(error=Error(message=message, type=kind, param=param, code=code)).model_dump()


def fault(errors: Sequence[Any]) -> tuple[str, str]:
    """The first of pydantic's errors in words, and the parameter that is at fault, "" when it is none."""
    first = errors[0]
    if first["type"] == "json_invalid":  # its place is a character's, not a parameter's
        return f"请求体第 {first['loc'][-1] + 1} 个字符处：不是合法的 JSON", ""
    param = ".".join(str(part) for part in first["loc"] if part != "body")
    bounds = first.get("ctx", {})
    words = _FAULTS.get(first["type"], "值不可用").format_map(
        {key: str(value).replace(" or ", ", ") for key, value in bounds.items()}
    )
    return f"{param or '请求体'}：{words}", param


_FAULTS = {
    "extra_forbidden": "没有这一项",
    "missing": "缺少这一项",
    "model_attributes_type": "应为 JSON 对象（Content-Type: application/json）",
    "model_type": "应为 JSON 对象",
    "string_type": "应为文字",
    "string_unicode": "含有不是 UTF-8 的字符",
    "string_too_short": "不能为空",
    "int_type": "应为整数",
    "int_parsing": "应为整数",
    "int_from_float": "应为整数",
    "float_type": "应为数字",
    "float_parsing": "应为数字",
    "finite_number": "应为有限的数",
    "bool_type": "应为 true 或 false",
    "bool_parsing": "应为 true 或 false",
    "list_type": "应为数组",
    "too_long": "最多 {max_length} 项",
    "too_short": "至少 {min_length} 项",
    "greater_than_equal": "应不小于 {ge}",
    "less_than_equal": "应不大于 {le}",
    "less_than": "应小于 {lt}",
    "literal_error": "可用的只有 {expected}",
    "none_required": "这里用不了",
}
