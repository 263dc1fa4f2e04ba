"""The language model as refiner, against a server on this machine that misbehaves on purpose."""

import json
import os
import socket
import sys
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from chat_server import CHINESE, GERMAN, LEVELS, chat_server

from hoi_lib import cli, llm
from hoi_lib.errors import ConfigError, TextError
from hoi_lib.llm import ChatRefiner, Endpoint, endpoint, is_english
from hoi_lib.refiner import Refinement, RefinerError, refine, refine_all
from hoi_lib.text import CATEGORIES, HANDS, VERBS, captions

pytest.importorskip("openai")

SENTENCE = "Pour the bottle with right hand."
KEY = "sk-this-is-secret"
DEEPSEEK = "https://api.deepseek.com"
GOOD = Refinement(*LEVELS.values())
VARIABLES = ("DEEPSEEK_API_KEY", "OPENAI_API_KEY", "HOI_LLM_KEY", "HOI_LLM_URL", "HOI_LLM_MODEL")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch, tmp_path):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def refiner_of(server, naps=None, **options):
    options = {"timeout": 5.0, "sleep": (naps if naps is not None else []).append} | options
    return ChatRefiner(Endpoint(server.url, "tiny", KEY), **options)


def kept(tmp_path):
    return sorted((tmp_path / "cache").rglob("*"))


# --- what is asked ---


def test_the_question_carries_the_principles_the_sentence_and_the_hand():
    with chat_server("good") as server:
        assert refiner_of(server)(SENTENCE, "left") == GOOD
    (asked,) = server.requests
    system, user = asked["messages"]
    assert asked["model"] == "tiny" and asked["temperature"] == 0
    assert system == {"role": "system", "content": llm.PROMPT}
    assert json.loads(user["content"]) == {"sentence": SENTENCE, "hand": "left"}
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    for word in ("Hierarchy", "coarse to fine", "Specific interaction", "other one", *LEVELS):
        assert word in llm.PROMPT


@pytest.mark.parametrize(("text", "side"), [("Pour it with left hand.", "left"), ("Pour it.", "right")])
def test_without_a_side_the_text_decides(text, side):
    with chat_server("good") as server:
        refiner_of(server)(text)
    assert json.loads(server.requests[0]["messages"][1]["content"])["hand"] == side


@pytest.mark.parametrize("text", ["", "12 3", "word " * 300])
def test_a_text_that_is_no_sentence_is_never_sent(text):
    with chat_server("good") as server, pytest.raises(TextError):
        refiner_of(server)(text)
    assert server.requests == []


# --- answers that come and cannot be used ---

BAD_ANSWERS = {
    "truncated": "no end",
    "cut off": "cut off",
    "chinese": "not in English",
    "german": "not in English",
    "extra key": "confidence",
    "level missing": "finger_level",
    "level empty": "joint_level",
    "a number": "joint_level",
    "all the same": "same",
    "prose": "no JSON object",
    "array": "no JSON object",
    "nothing": "no JSON object",
}


@pytest.mark.parametrize("step", BAD_ANSWERS)
def test_a_bad_answer_is_sent_back_with_the_reason(step):
    with chat_server(step, "good") as server:
        assert refiner_of(server)(SENTENCE) == GOOD
    again = server.requests[1]["messages"]
    assert [m["role"] for m in again] == ["system", "user", "assistant", "user"]
    assert BAD_ANSWERS[step] in again[3]["content"]


@pytest.mark.parametrize("step", BAD_ANSWERS)
def test_an_answer_that_stays_bad_is_one_clear_error_and_is_not_kept(step, tmp_path):
    with chat_server(step) as server, pytest.raises(TextError) as error:
        refiner_of(server, attempts=3)(SENTENCE)
    assert len(server.requests) == 3 and not isinstance(error.value, RefinerError)
    assert BAD_ANSWERS[step] in error.value.what and "3 tries" in error.value.what
    assert len(str(error.value).splitlines()) == 2 and kept(tmp_path) == []


@pytest.mark.parametrize("step", ["fenced", "thinking"])
def test_wrapping_around_a_good_answer_is_taken_off(step):
    with chat_server(step) as server:
        assert refiner_of(server)(SENTENCE) == GOOD
    assert len(server.requests) == 1


def test_control_characters_and_line_breaks_never_reach_a_terminal():
    said = LEVELS | {"hand_level": "  The right\n hand \x1b[31mreaches\x1b[0m for the bottle and tilts it.\t"}
    with chat_server(json.dumps(said)) as server:
        assert refiner_of(server)(SENTENCE).hand == "The right hand [31mreaches [0m for the bottle and tilts it."


def test_every_text_of_the_rules_passes_for_english_and_other_languages_do_not():
    for verb in VERBS:
        for category in CATEGORIES:
            for hands in HANDS:
                refined = refine(captions(verb, category, hands).imperative)
                assert is_english(f"{refined.hand} {refined.finger} {refined.joint}")
    french = (
        "La main droite saisit la bouteille par le côté et la penche; les doigts entourent le corps, le pouce ferme."
    )
    spanish = "La mano derecha toma la botella y la inclina; los dedos rodean el cuerpo y el pulgar cierra la mano."
    dutch = "De rechterhand pakt de fles van opzij en kantelt hem; alle vijf de vingers liggen om het lichaam heen."
    for text in (" ".join(CHINESE.values()), " ".join(GERMAN.values()), french, spanish, dutch, "", "123"):
        assert not is_english(text)


# --- servers that fail ---


@pytest.mark.parametrize("step", ["500", "503 page", "429", "hangs up", "half a body", "web page", "no choices"])
def test_what_may_pass_is_asked_again(step):
    with chat_server(step, step, "good") as server:
        assert refiner_of(server)(SENTENCE) == GOOD
    assert len(server.requests) == 3
    assert all(len(asked["messages"]) == 2 for asked in server.requests)


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ("500", "error 500 (the model fell over)"),
        ("503 page", "error 503"),
        ("429", "error 429 (slow down)"),
        ("hangs up", "cannot be reached"),
        ("half a body", "chat completions"),
        ("web page", "chat completions"),
    ],
)
def test_what_does_not_pass_is_one_clear_error(step, words, tmp_path):
    with chat_server(step) as server, pytest.raises(RefinerError) as error:
        refiner_of(server, attempts=3)(SENTENCE)
    assert words in error.value.what and server.url in error.value.what and len(server.requests) == 3
    assert len(str(error.value).splitlines()) == 2 and kept(tmp_path) == []


def test_a_slow_server_is_left_and_asked_again():
    with chat_server("slow", "good", delay=1.0) as server:
        assert refiner_of(server, timeout=0.15)(SENTENCE) == GOOD
    with chat_server("slow", delay=1.0) as server, pytest.raises(RefinerError, match=r"no answer within 0\.15 s"):
        refiner_of(server, timeout=0.15, attempts=2)(SENTENCE)


def test_a_server_that_is_not_there():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(RefinerError, match="cannot be reached"):
        ChatRefiner(Endpoint(url, "tiny", KEY), attempts=2, sleep=lambda _: None)(SENTENCE)


@pytest.mark.parametrize("step", ["401", "402", "404", "429 for an hour"])
def test_what_cannot_pass_is_asked_once(step):
    with chat_server(step) as server, pytest.raises(RefinerError):
        refiner_of(server)(SENTENCE)
    assert len(server.requests) == 1


def test_pauses_double_and_retry_after_goes_before_them():
    naps = []
    with chat_server("500", "500", "429", "500", "good") as server:
        refiner_of(server, naps, pause=0.5)(SENTENCE)
    assert naps == [0.5, 1.0, 0.05, 4.0]


def test_retry_after_may_be_a_date():
    later = format_datetime(datetime.now(timezone.utc) + timedelta(seconds=20), usegmt=True)
    naps = []
    with chat_server((429, {}, (("Retry-After", later),)), (429, {}, (("Retry-After", "soon"),)), "good") as server:
        refiner_of(server, naps)(SENTENCE)
    assert 17 < naps[0] <= 20 and naps[1] == 2.0


def test_servers_without_json_mode_are_asked_plainly():
    with chat_server("plain only") as server:
        refiner = refiner_of(server)
        assert refiner(SENTENCE) == GOOD and refiner("Lift it.") == GOOD
    assert ["response_format" in asked for asked in server.requests] == [True, False, False]


# --- the cache ---


def test_nothing_is_asked_twice_and_the_answer_says_where_it_comes_from(tmp_path):
    with chat_server("truncated", "good") as server:
        refiner_of(server)(SENTENCE)
        refiner_of(server)(f"  {SENTENCE.replace(' ', '  ')} ")
    assert len(server.requests) == 2
    (path,) = (tmp_path / "cache" / "refined").iterdir()
    record = json.loads(path.read_text())
    assert record["model"] == "tiny" and record["served_by"] == "tiny-v1" and record["attempts"] == 2
    assert record["prompt_sha256"] == llm.PROMPT_HASH and record["url"] == server.url and record["text"] == SENTENCE
    assert abs(datetime.fromisoformat(record["date"]) - datetime.now(timezone.utc)) < timedelta(minutes=1)
    assert refiner_of(server)(SENTENCE) == GOOD  # the server is gone, the answer is not


def test_a_known_answer_needs_neither_key_nor_package(monkeypatch):
    with chat_server("good") as server:
        refiner_of(server)(SENTENCE)
    monkeypatch.setitem(sys.modules, "openai", None)
    monkeypatch.setitem(sys.modules, "pydantic", None)
    assert ChatRefiner(Endpoint(server.url, "tiny"))(SENTENCE) == GOOD


def test_another_model_side_text_or_prompt_is_another_question(monkeypatch):
    with chat_server("good") as server:
        refiner_of(server)(SENTENCE, "right")
        refiner_of(server)(SENTENCE, "left")
        refiner_of(server)("Lift it.", "right")
        ChatRefiner(Endpoint(server.url, "other", KEY))(SENTENCE, "right")
        monkeypatch.setattr(llm, "PROMPT_HASH", "0" * 16)
        refiner_of(server)(SENTENCE, "right")
    assert len(server.requests) == 5


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"text": 3}', "half"])
def test_a_damaged_answer_is_asked_again_and_mended(damage, tmp_path):
    with chat_server("good") as server:
        refiner_of(server)(SENTENCE)
        (path,) = (tmp_path / "cache" / "refined").iterdir()
        path.write_text(path.read_text()[: path.stat().st_size // 2] if damage == "half" else damage)
        assert refiner_of(server)(SENTENCE) == GOOD and refiner_of(server)(SENTENCE) == GOOD
    assert len(server.requests) == 2


def test_an_answer_to_another_question_is_not_taken(tmp_path):
    with chat_server("good") as server:
        refiner_of(server)(SENTENCE)
        refiner_of(server)("Lift it.")
        one, two = (tmp_path / "cache" / "refined").iterdir()
        one.write_text(two.read_text())
        refiner_of(server)(SENTENCE)
        refiner_of(server)("Lift it.")
    assert len(server.requests) == 3


def test_an_answer_that_cannot_be_kept_is_given_with_a_warning(tmp_path):
    (tmp_path / "cache").write_text("a file stands where the folder should be")
    with chat_server("good") as server, pytest.warns(UserWarning, match="was not kept"):
        assert refiner_of(server)(SENTENCE) == GOOD


def test_a_full_disk_leaves_no_half_written_answer(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "replace", full)
    with chat_server("good") as server, pytest.warns(UserWarning, match="No space left"):
        refiner_of(server)(SENTENCE)
    assert [p for p in kept(tmp_path) if p.is_file()] == []


def test_a_batch_that_was_stopped_goes_on_where_it_was():
    texts = [f"{verb} the bottle." for verb in ("Pour", "Shake", "Lift", "Place")]
    with chat_server("good", "good", "401") as server:
        with pytest.raises(RefinerError):
            refine_all(texts, refiner_of(server), workers=1)
        server.script = ["good"]
        refined, failed = refine_all(texts, refiner_of(server))
    assert len(refined) == 4 and not failed
    assert len(server.requests) in (5, 6)  # the refused one, and one more that may have been on its way


# --- the key and the address ---


@pytest.mark.parametrize(
    "step", ["401", "echo", "402", "500", KEY, json.dumps(LEVELS | {"hand_level": KEY}), "extra key"]
)
def test_the_key_appears_nowhere(step, tmp_path, capfd):
    with chat_server(step) as server, pytest.raises(TextError) as error:
        refiner_of(server, attempts=2)(SENTENCE)
    assert KEY not in str(error.value) and KEY not in repr(Endpoint("http://x", "m", KEY))
    with chat_server("good") as server:
        refiner_of(server)(SENTENCE)
    assert not any(KEY in path.read_text() for path in kept(tmp_path) if path.is_file())
    assert KEY not in "".join(capfd.readouterr())


@pytest.mark.parametrize(
    ("variables", "arguments", "want"),
    [
        ({}, {}, (DEEPSEEK, "deepseek-chat", None)),
        ({"DEEPSEEK_API_KEY": " d "}, {}, (DEEPSEEK, "deepseek-chat", "d")),
        ({"OPENAI_API_KEY": "o"}, {}, ("https://api.openai.com/v1", "gpt-4.1-mini", "o")),
        ({"OPENAI_API_KEY": "o", "DEEPSEEK_API_KEY": "d"}, {}, (DEEPSEEK, "deepseek-chat", "d")),
        ({"OPENAI_API_KEY": "o"}, {"url": f"{DEEPSEEK}/v1"}, (f"{DEEPSEEK}/v1", "deepseek-chat", None)),
        ({"HOI_LLM_URL": "http://a/v1/", "HOI_LLM_MODEL": "m"}, {}, ("http://a/v1", "m", None)),
        (
            {"HOI_LLM_URL": "http://a"},
            {"url": "http://b:1/v1/chat/completions", "model": "n"},
            ("http://b:1/v1", "n", None),
        ),
        ({"OPENAI_API_KEY": "o", "HOI_LLM_KEY": "h"}, {"url": "http://b"}, ("http://b", "deepseek-chat", "h")),
    ],
)
def test_arguments_go_before_variables_before_deepseek(variables, arguments, want, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = endpoint(**arguments)
    assert (found.url, found.model, found.key) == want


def test_the_key_of_one_provider_is_never_sent_to_the_other(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "o")
    assert endpoint("https://api.deepseek.com").key is None
    monkeypatch.setenv("DEEPSEEK_API_KEY", "d")
    assert endpoint("https://api.openai.com/v1").key == "o"


@pytest.mark.parametrize(
    "url", ["localhost:80", "ftp://a", "http://", f"http://me:{KEY}@a", f"http://a?k={KEY}", "http://a:b"]
)
def test_an_address_that_is_none_is_refused_without_repeating_it(url):
    with pytest.raises(ConfigError) as error:
        endpoint(url)
    assert KEY not in str(error.value)


def test_a_missing_key_and_a_missing_package_say_what_to_do(monkeypatch):
    with pytest.raises(ConfigError, match="needs a key") as error:
        ChatRefiner(endpoint())(SENTENCE)
    assert "DEEPSEEK_API_KEY" in error.value.mend
    monkeypatch.setenv("DEEPSEEK_API_KEY", "a\nb c")
    with pytest.raises(ConfigError, match="characters that no key has"):
        endpoint()
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(ConfigError, match="needs openai and pydantic"):
        ChatRefiner(Endpoint("http://127.0.0.1:9", "m", KEY))(SENTENCE)


# --- the command line ---


def hoi(*arguments):
    with pytest.raises(SystemExit) as ended:
        cli.main([str(a) for a in arguments])
    return ended.value.code or 0


def test_the_command_asks_prints_and_fails_in_one_line(capsys, monkeypatch):
    monkeypatch.setenv("HOI_LLM_KEY", KEY)
    with chat_server("good") as server:
        assert hoi("refine", SENTENCE, "--with", "llm", "--url", server.url, "--model", "tiny") == 0
    out, _ = capsys.readouterr()
    assert [line.split()[0] for line in out.splitlines()] == ["hand", "finger", "joint"] and GOOD.finger in out
    with chat_server("401") as server:
        assert hoi("refine", "Lift it.", "--with", "llm", "--url", server.url, "--debug") == 2
    _, err = capsys.readouterr()
    assert "refuses the key" in err and KEY not in err


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("Pour.", "--data", "d", "--out", "o"),
        ("--data", "d"),
        ("Pour.", "--out", "o"),
        ("Pour.", "--model", "m"),
        ("--data", "nowhere", "--out", "o"),
    ],
)
def test_arguments_that_do_not_fit_together(arguments, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert hoi("refine", *arguments) == 2
    assert capsys.readouterr().err.startswith("hoi: ") and not (tmp_path / "o").exists()


def test_a_whole_data_set_from_the_command_line(tmp_path, capsys):
    from tiny_store import tiny_store

    store = tiny_store(tmp_path / "store")
    folder, out = store.folder, tmp_path / "refined.json"
    with chat_server("good") as server:
        options = ("--with", "llm", "--url", server.url, "--data", folder, "--out", out)
        assert hoi("refine", *options) == 0
        asked = len(server.requests)
        out.unlink()
        assert hoi("refine", *options) == 0 and len(server.requests) == asked > 0
    row = store.table[0]
    assert hoi("refine", row["caption"], "--with", "file", "--file", out, "--hand", "right") == 0
    assert GOOD.joint in capsys.readouterr().out
