"""A language model as refiner, behind any endpoint that speaks the OpenAI protocol; DeepSeek by default.

The paper gives its refiner's three principles and keeps its prompt to a supplement: :data:`PROMPT` is written afresh
from them. An answer has to be one JSON object with three English texts. What is not is asked again, with the reason;
so is what the network or the server spoils, after a pause. Every answer is kept as one file under ``HOI_CACHE``, with
the model, the hash of the prompt and the date, so that no question is asked (or paid) twice and a run can be repeated.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from functools import cached_property, lru_cache
from pathlib import Path
from urllib.parse import urlsplit

from hoi_lib import records
from hoi_lib.errors import ConfigError, OutputError, TextError
from hoi_lib.refiner import CHAPTER, LEVELS, Refinement, RefinerError, side_of
from hoi_lib.text import parse
from hoi_lib.textfeatures import cache_home

PROMPT = """\
You write about hands for a system that animates them. You are given a sentence about somebody handling an object, \
and one of that person's hands. Describe what this hand does in three English texts, by three principles.

1. Hierarchy: one text for each level, and nothing said on two levels.
   hand_level: the hand as a whole. Where it comes from, which way the palm faces, the path of the wrist, what it does \
with the object.
   finger_level: the fingers. Which of them work, where on the object each one lies, how they close and let go.
   joint_level: the joints of those fingers. How far knuckles, middle joints and end joints bend, how the base of the \
thumb turns, and how that changes while the object is moved.
2. From coarse to fine: each level refines the one before it, and each tells the motion in its natural order: \
approach, contact, manipulation, release.
3. Specific interaction: name the part of the object that is touched (its handle, rim, lid, cap, edge, the body below \
the neck), and say how the two hands share the work: what the other one holds, steadies or does, or that it rests.

Add no action and no object that the sentence does not imply, and give no reasons. Write in the present tense, in \
whole sentences: about 25 words for hand_level, 45 for finger_level, 75 for joint_level.

Answer with one JSON object and nothing around it. It has exactly these keys, each with one string:
{"hand_level": "…", "finger_level": "…", "joint_level": "…"}
"""
PROMPT_HASH = hashlib.sha256(PROMPT.encode()).hexdigest()[:16]
AGAIN = "This answer cannot be used: {}. Send the whole JSON object again, in English, with exactly the three keys."

DEEPSEEK = ("https://api.deepseek.com", "deepseek-chat", "DEEPSEEK_API_KEY")
OPENAI = ("https://api.openai.com/v1", "gpt-4.1-mini", "OPENAI_API_KEY")
OTHER_KEYS = ("HOI_LLM_KEY", "OPENAI_API_KEY", "DEEPSEEK_API_KEY")  # for any other address, tried in this order
INSTALL = "pip install openai pydantic"

ATTEMPTS = 5
TIMEOUT = 60.0  # seconds without a byte from the server
PAUSE = 1.0  # seconds before the second attempt; doubles after each
LONGEST_PAUSE = 60.0
LONGEST_TEXT = 1000  # characters of a sentence
LONGEST_LEVEL = 1600  # characters of an answer's level: more than Long-CLIP can read
PASSING = (408, 409, 425, 429)  # refusals that may pass; so may every 5xx
ENGLISH = "the and with its while then from to at as are both each around onto into they against"


@dataclass(frozen=True)
class Endpoint:
    """Where a model is asked: base address, name of the model, and the key, which is never shown."""

    url: str
    model: str
    key: str | None = field(default=None, repr=False)


def endpoint(url: str | None = None, model: str | None = None) -> Endpoint:
    """The endpoint that arguments and environment name.

    The address is ``url``, else ``HOI_LLM_URL``, else OpenAI's if only its key is set, else DeepSeek's; the model is
    ``model``, else ``HOI_LLM_MODEL``, else the provider's usual one. Keys come from ``DEEPSEEK_API_KEY`` and
    ``OPENAI_API_KEY``, each sent to its own provider; another address gets ``HOI_LLM_KEY``, else one of those two, and
    may need none. Raises :class:`ConfigError` for an address that is none.
    """
    only_openai = os.environ.get(OPENAI[2]) and not os.environ.get(DEEPSEEK[2])
    address = (url or os.environ.get("HOI_LLM_URL") or (OPENAI if only_openai else DEEPSEEK)[0]).strip().rstrip("/")
    address = address.removesuffix("/chat/completions")
    try:
        parts = urlsplit(address)
        host, plain = parts.hostname, not (parts.username or parts.password or parts.query or parts.fragment)
        sound = parts.scheme in ("http", "https") and host and plain and (parts.port is None or parts.port)
    except ValueError:
        sound = False
    if not sound:
        raise ConfigError(
            "the address of the language model is none: expected http(s)://host/path without password or query.",
            "For example --url http://localhost:8000/v1.",
            CHAPTER,
        )
    provider = next((p for p in (DEEPSEEK, OPENAI) if urlsplit(p[0]).hostname == host), None)
    names = (provider[2],) if provider else OTHER_KEYS
    key = next((os.environ[name].strip() for name in names if os.environ.get(name, "").strip()), None)
    if key and not (key.isascii() and key.isprintable() and " " not in key):
        raise ConfigError(f"the key in {' or '.join(names)} holds characters that no key has.", "Copy it again.")
    name = model or os.environ.get("HOI_LLM_MODEL") or (provider or DEEPSEEK)[1]
    return Endpoint(address, name.strip(), key)


class Unusable(Exception):
    """An answer that came and is not what was asked for."""

    def __init__(self, why: str, answer: str = ""):
        super().__init__(why)
        self.answer = answer


class Unavailable(Exception):
    """No answer, for a reason that may pass; ``wait`` is what the server asks for, in seconds."""

    def __init__(self, why: str, wait: float | None = None):
        super().__init__(why)
        self.wait = wait


class ChatRefiner:
    """Asks a language model for refinements; a known question is answered from the cache, without network or key.

    At most ``attempts`` questions are asked for one text; ``timeout`` is in seconds without a byte, ``pause`` the
    seconds before the second attempt, doubled after each, unless the server's Retry-After says otherwise. ``cache`` is
    the folder of the answers. ``workers`` texts may be asked for at the same time.
    """

    workers = 8

    def __init__(
        self,
        where: Endpoint,
        cache: str | os.PathLike | None = None,
        attempts: int = ATTEMPTS,
        timeout: float = TIMEOUT,
        pause: float = PAUSE,
        sleep: Callable[[float], None] = time.sleep,
    ):
        self.where, self.attempts, self.timeout, self.pause, self.sleep = where, attempts, timeout, pause, sleep
        self.folder = Path(cache) if cache else cache_home() / "refined"
        self._extras = {"temperature": 0, "response_format": {"type": "json_object"}}

    def __call__(self, text: str, side: str | None = None) -> Refinement:
        """The refinement of ``text`` for the hand ``side``, by default the hand that it names.

        Raises :class:`TextError` if no answer for this text can be used, :class:`RefinerError` if the endpoint cannot
        be used at all, and :class:`ConfigError` if a key or a package is missing.
        """
        parse(text)
        text, side = " ".join(text.split()), side or side_of(text)
        if len(text) > LONGEST_TEXT:
            raise TextError(f"the text has {len(text)} characters: expected a sentence of at most {LONGEST_TEXT}.")
        path = self.folder / f"{self._digest(text, side)}.json"
        known = _recall(path, text, side)
        return known or self._remember(path, text, side, *self._ask(text, side))

    def _digest(self, text: str, side: str) -> str:
        question = (self.where.url, self.where.model, PROMPT_HASH, text, side)
        return hashlib.sha256(json.dumps(question).encode()).hexdigest()[:32]

    def _remember(self, path: Path, text: str, side: str, answer: Refinement, served: str, asked: int) -> Refinement:
        """Write the answer down with all that it depends on; where that is impossible, warn and go on."""
        record = {
            "text": text,
            "side": side,
            **{f"{level}_level": getattr(answer, level) for level in LEVELS},
            "url": self.where.url,
            "model": self.where.model,
            "served_by": served,
            "settings": self._extras,
            "prompt_sha256": PROMPT_HASH,
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "attempts": asked,
        }
        try:
            with records.atomic(path) as temporary:
                temporary.write_text(json.dumps(record, indent=1, ensure_ascii=False), encoding="utf-8")
        except OutputError as error:
            warnings.warn(f"the answer was not kept: {error.what} Set HOI_CACHE.", stacklevel=3)
        return answer

    def _ask(self, text: str, side: str) -> tuple[Refinement, str, int]:
        """Ask until an answer can be used: the refinement, the model that wrote it, and the number of questions."""
        question = json.dumps({"sentence": text, "hand": side}, ensure_ascii=False)
        start = [{"role": "system", "content": PROMPT}, {"role": "user", "content": question}]
        messages, fault = start, None
        for attempt in range(1, self.attempts + 1):
            if attempt > 1:
                wait = getattr(fault, "wait", None)
                self.sleep(min(self.pause * 2 ** (attempt - 2), LONGEST_PAUSE) if wait is None else wait)
            try:
                content, served = self._request(messages)
                return read_answer(content), served, attempt
            except Unusable as error:
                fault, said = error, {"role": "assistant", "content": error.answer[:4000] or "(nothing)"}
                messages = [*start, said, {"role": "user", "content": AGAIN.format(error)}]
            except Unavailable as error:
                fault = error
        if isinstance(fault, Unavailable):
            raise self._gives_up(f"{fault} (asked {self.attempts} times)", "Try again later: answers so far are kept.")
        why = f"in {self.attempts} tries: {self._clean(fault)}."
        raise TextError(
            f"{self.where.model} gave no usable text for {text!r}, {side} hand, {why}",
            "Try again, choose another --model, or use --with rules.",
            CHAPTER,
        ) from None

    def _request(self, messages: list[dict[str, str]]) -> tuple[str, str]:
        """One question: the content of the answer and the model that the server names."""
        client = self._client
        import openai

        try:
            answer = client.chat.completions.create(model=self.where.model, messages=messages, **self._extras)
            choice = answer.choices[0]
            content, served = choice.message.content or "", str(answer.model or self.where.model)
        except openai.BadRequestError as error:
            if not self._extras:
                raise self._refusal(error) from None
            self._extras = {}  # some servers and models know neither JSON mode nor temperature
            return self._request(messages)
        except openai.APITimeoutError:
            raise Unavailable(f"no answer within {self.timeout:g} s") from None
        except openai.APIConnectionError as error:
            raise Unavailable(f"cannot be reached ({self._clean(error.__cause__ or error)})") from None
        except openai.APIStatusError as error:
            raise self._refusal(error) from None
        except (openai.APIError, ValueError, AttributeError, TypeError, IndexError):
            raise Unavailable("does not answer with chat completions") from None
        if self.where.key and self.where.key in content:
            raise Unusable("it repeats a secret")
        if choice.finish_reason == "length":
            raise Unusable("it was cut off before its end", content)
        return content, served

    def _refusal(self, error: Exception) -> Exception:
        """What an HTTP error means: worth another attempt (:class:`Unavailable`), or not (:class:`RefinerError`)."""
        code, said = error.status_code, self._said(error.body)
        if code in PASSING or code >= 500:
            wait = _retry_after(error.response.headers)
            if wait is None or wait <= LONGEST_PAUSE:
                return Unavailable(f"answers with error {code}{said}", wait)
            return self._gives_up(f"asks for a pause of {wait:.0f} s{said}", "Try again then: answers so far are kept.")
        if code in (401, 403):
            return self._gives_up(f"refuses the key (error {code})", f"Check {self._key_name()}.")
        if code == 404:
            return self._gives_up(f"has no model {self.where.model} (error 404){said}", "Check --url and --model.")
        return self._gives_up(f"refuses the request with error {code}{said}", "Check --url, --model and the account.")

    def _gives_up(self, what: str, mend: str) -> RefinerError:
        return RefinerError(f"{self.where.url}: {what}.", mend, CHAPTER)

    def _said(self, body: object) -> str:
        """The server's own words, in brackets, if it sent any."""
        inner = body.get("error", body) if isinstance(body, dict) else body
        said = inner.get("message") if isinstance(inner, dict) else inner
        return f" ({self._clean(said)})" if isinstance(said, str) and said.strip() and "<" not in said else ""

    def _clean(self, said: object) -> str:
        """Somebody else's words as one short printable line, without the key."""
        line = "".join(c if c.isprintable() else " " for c in str(said))
        if self.where.key:
            line = line.replace(self.where.key, "…")
        return " ".join(line.split())[:160].rstrip(".")

    def _key_name(self) -> str:
        host = urlsplit(self.where.url).hostname
        return next((p[2] for p in (DEEPSEEK, OPENAI) if urlsplit(p[0]).hostname == host), " or ".join(OTHER_KEYS))

    @cached_property
    def _client(self) -> object:
        try:
            import openai
            import pydantic  # noqa: F401
        except ImportError:
            raise ConfigError("the refiner llm needs openai and pydantic.", f"Run: {INSTALL}", CHAPTER) from None
        if self.where.key is None and self._key_name() in (DEEPSEEK[2], OPENAI[2]):
            raise ConfigError(
                f"{self.where.url} needs a key.", f"Set {self._key_name()}, or use --with rules.", CHAPTER
            )
        return openai.OpenAI(
            api_key=self.where.key or "none", base_url=self.where.url, timeout=self.timeout, max_retries=0
        )


def read_answer(content: str) -> Refinement:
    """The refinement in a model's answer; raises :class:`Unusable` with the reason if there is none.

    Thoughts and code fences around the JSON object are skipped. It must have the three levels, each a different
    English text of at most 1 600 characters, and no other key.
    """
    from pydantic import ValidationError

    bare = re.sub(r"<think>.*?</think>", "", content, flags=re.DOTALL)
    begin, end = bare.find("{"), bare.rfind("}")
    if begin < 0:
        raise Unusable("it holds no JSON object", content)
    if end < begin:
        raise Unusable("its JSON object has no end", content)
    try:
        levels = _levels().model_validate_json(bare[begin : end + 1])
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise Unusable(f"{place + ': ' if place else ''}{first['msg']}", content) from None
    texts = [_one_line(getattr(levels, f"{level}_level")) for level in LEVELS]
    if len(set(texts)) < len(texts):
        raise Unusable("two of its levels say the same", content)
    if not is_english(" ".join(texts)):
        raise Unusable("it is not in English", content)
    return Refinement(*texts)


@lru_cache
def _levels() -> type:
    """What an answer must be, as a pydantic model; made when it is first needed."""
    from typing import Annotated

    from pydantic import ConfigDict, StringConstraints, create_model

    text = Annotated[str, StringConstraints(strict=True, strip_whitespace=True, min_length=8, max_length=LONGEST_LEVEL)]
    fields = {f"{level}_level": (text, ...) for level in LEVELS}
    return create_model("Levels", __config__=ConfigDict(extra="forbid"), **fields)


def is_english(text: str) -> bool:
    """Whether a few sentences about hands are in English: Latin letters, and enough of its commonest small words.

    The words of :data:`ENGLISH` make up about a fifth of such a text and hardly occur in other languages.
    """
    letters = [c for c in text if c.isalpha()]
    words = re.findall(r"[^\W\d_]+", text.lower())
    if not words or sum(c.isascii() for c in letters) < 0.97 * len(letters):
        return False
    common = set(ENGLISH.split())
    return sum(word in common for word in words) >= 0.06 * len(words)


def _one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _recall(path: Path, text: str, side: str) -> Refinement | None:
    """The answer in a file of the cache; None if there is none or it is damaged."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        known = Refinement(*(record[f"{level}_level"] for level in LEVELS))
        sound = (record["text"], record["side"], record["prompt_sha256"]) == (text, side, PROMPT_HASH)
        return known if sound and all(isinstance(x, str) and x for x in asdict(known).values()) else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _retry_after(headers: object) -> float | None:
    """Seconds that a Retry-After header asks for, given as a number or as a date; None without one."""
    value = headers.get("retry-after", "")
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(timezone.utc)).total_seconds())
    except (TypeError, ValueError):
        return None
