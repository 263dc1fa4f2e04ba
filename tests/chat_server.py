"""A language model on this machine: an OpenAI-compatible server in a thread, which misbehaves as its script says.

>>> with chat_server("500", "truncated", "good") as server:
...     ChatRefiner(Endpoint(server.url, "tiny"))("Pour the bottle.", "right")
"""

import contextlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LEVELS = {
    "hand_level": "The right hand reaches for the bottle from the side and tilts it while the left hand rests.",
    "finger_level": "All five fingers wrap around the body below the neck, and the thumb closes against the others.",
    "joint_level": "The knuckles and the middle joints bend deeply, then the wrist rolls while they stay as they are.",
}
CHINESE = {
    "hand_level": "右手从侧面伸向瓶子并倾斜它，左手放松。",
    "finger_level": "五个手指环绕瓶颈下方的瓶身，拇指对着其他手指。",
    "joint_level": "指关节和中间关节深度弯曲，然后手腕转动而它们保持不变。",
}
GERMAN = {
    "hand_level": "Die rechte Hand greift von der Seite nach der Flasche und kippt sie, die linke ruht daneben.",
    "finger_level": "Alle fünf Finger legen sich um den Bauch der Flasche, der Daumen schliesst gegen die anderen.",
    "joint_level": "Grundgelenke und Mittelgelenke beugen sich tief, dann rollt das Handgelenk, sie bleiben ruhig.",
}


class ChatServer:
    """Answers one step of ``script`` per question and repeats the last; ``requests`` keeps what it was asked."""

    def __init__(self, script, delay=1.0):
        self.script, self.delay, self.requests, self.headers = list(script), delay, [], []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    def next_step(self, body, headers):
        with self._lock:
            step = self.script[min(len(self.requests), len(self.script) - 1)]
            self.requests.append(body)
            self.headers.append(headers)
        return step

    def _handler(server):
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                step = server.next_step(body, {name.lower(): value for name, value in self.headers.items()})
                if self.path != "/v1/chat/completions":
                    return self.send(404, {"error": {"message": f"no {self.path} here"}})
                return answer(self, step, body, server.delay)

            def send(self, code, content, headers=()):
                raw = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(code)
                for name, value in (("Content-Type", "application/json"), *headers):
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                with contextlib.suppress(OSError):
                    self.wfile.write(raw)

            def log_message(self, *_):
                pass

        return Handler


def completion(content, finish="stop"):
    message = {"role": "assistant", "content": content}
    return {
        "id": "chat-1",
        "object": "chat.completion",
        "created": 1,
        "model": "tiny-v1",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }


def answer(handler, step, body, delay):
    """Play one step of the script: a name below, a text to say as it is, or (code, body, headers)."""
    good = json.dumps(LEVELS)
    contents = {
        "good": good,
        "fenced": f"Here you are:\n```json\n{good}\n```",
        "thinking": f"<think>The user wants {{three}} levels.</think>\n{good}",
        "truncated": good[: len(good) // 2],
        "chinese": json.dumps(CHINESE, ensure_ascii=False),
        "german": json.dumps(GERMAN, ensure_ascii=False),
        "extra key": json.dumps(LEVELS | {"confidence": "high"}),
        "level missing": json.dumps({k: v for k, v in LEVELS.items() if k != "finger_level"}),
        "level empty": json.dumps(LEVELS | {"joint_level": "  "}),
        "a number": json.dumps(LEVELS | {"joint_level": 3}),
        "all the same": json.dumps(dict.fromkeys(LEVELS, LEVELS["hand_level"])),
        "prose": "I cannot help with that.",
        "array": "[1, 2, 3]",
        "nothing": "",
    }
    statuses = {
        "500": (500, {"error": {"message": "the model fell over"}}, ()),
        "503 page": (503, b"<html><body>Bad gateway</body></html>", (("Content-Type", "text/html"),)),
        "429": (429, {"error": {"message": "slow down"}}, (("Retry-After", "0.05"),)),
        "429 for an hour": (429, {"error": {"message": "slow down"}}, (("Retry-After", "3600"),)),
        "401": (401, {"error": {"message": f"wrong key {handler.headers['Authorization']}"}}, ()),
        "402": (402, {"error": {"message": "Insufficient Balance"}}, ()),
        "404": (404, {"error": {"message": "model not found"}}, ()),
        "echo": (400, {"error": {"message": f"cannot read {handler.headers['Authorization']}"}}, ()),
        "half a body": (200, json.dumps(completion(good)).encode()[:80], ()),
        "web page": (200, b"<html><body>Welcome</body></html>", (("Content-Type", "text/html"),)),
        "no choices": (200, {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": []}, ()),
    }
    if isinstance(step, tuple):
        return handler.send(*step)
    if step == "slow":
        time.sleep(delay)
        return handler.send(200, completion(good))
    if step == "hangs up":
        handler.close_connection = True
        return handler.connection.close()
    if step == "plain only" and ("response_format" in body or "temperature" in body):
        return handler.send(400, {"error": {"message": "unknown parameter response_format"}})
    if step == "cut off":
        return handler.send(200, completion(good[: len(good) // 2], "length"))
    if step in statuses:
        return handler.send(*statuses[step])
    return handler.send(200, completion(good if step == "plain only" else contents.get(step, step)))


@contextlib.contextmanager
def chat_server(*script, delay=1.0):
    """A :class:`ChatServer` for the length of a block."""
    server = ChatServer(script, delay)
    try:
        yield server
    finally:
        server.close()
