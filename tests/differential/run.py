"""Whether other parsers read a hidden model in what the program relays under `hidden: reject`.

    python3 run.py PROGRAM [BODIES [SEED]]

Generated bodies go through the program to an upstream that keeps what arrives. Each reader, a
program of its own, then gets what the upstream got, and says which models its parsers read: one line
of JSON for each body, `{"type": …, "body": base64}` in and `{"reads": {parser: [model, …]}}` out,
null for a body that the parser refuses. Fails if a parser reads a hidden model in a relayed body.

The readers also get the bodies that the program refused, to show what refusing them prevents.
"""

import base64
import collections
import concurrent.futures
import http.client
import http.server
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True
from bodies import bodies  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
HIDDEN = {"hidden", "p/hidden"}
PYTHON = ["aiohttp==3.*", "django==5.*", "python-multipart==0.*", "starlette==0.*", "tornado==6.*", "werkzeug==3.*"]
NODE = ["@fastify/busboy@3", "body-parser@2", "busboy@1", "formidable@3", "multiparty@4"]


def install(place):
    """The commands of the readers, with what they need installed below `place`."""
    place.mkdir(parents=True, exist_ok=True)
    python, modules, go = place / "venv/bin/python", place / "node_modules", place / "reader-go"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", place / "venv"], check=True)
        subprocess.run([python, "-m", "pip", "--quiet", "install", *PYTHON], check=True)
    if not modules.exists():
        subprocess.run(["npm", "install", "--silent", "--no-save", "--prefix", place, *NODE], check=True)
    subprocess.run(["go", "build", "-o", go, HERE / "reader.go"], check=True)
    # Node looks for modules beside the file.
    script = place / "reader.mjs"
    script.write_bytes((HERE / "reader.mjs").read_bytes())
    return {"python": [python, HERE / "reader.py"], "node": ["node", script], "go": [go]}


class Upstream(http.server.BaseHTTPRequestHandler):
    """Keeps every body, by the number that the client gave it."""

    protocol_version = "HTTP/1.1"
    seen = {}

    def do_GET(self):
        self.reply(b'{"object":"list","data":[{"id":"kept"},{"id":"hidden"}]}')

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.seen[int(self.headers["X-Number"])] = (self.headers.get("Content-Type"), body)
        self.reply(b"{}")

    def reply(self, body):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def start(program, upstream, prefix):
    """The program on a free port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", delete=False) as file:
        # Everything but `hidden` is kept, so that as much as possible is relayed.
        file.write(f'model_filter: {{base_url: "http://127.0.0.1:{upstream}/v1", {prefix} hidden: reject, '
                   "regexp: ['.*'], exclude: {simple: [hidden, p/hidden]}}\n")
    process = subprocess.Popen([program, "--config", file.name, "--port", str(port)], stderr=subprocess.DEVNULL)
    while process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return process, port
        except OSError:
            time.sleep(0.02)
    sys.exit("the program does not start")


def send(port, numbered):
    """The number of the body and the status of the answer."""
    number, (content_type, body) = numbered
    fields = {"X-Number": str(number), "Content-Length": str(len(body))}
    if content_type is not None:
        fields["Content-Type"] = content_type
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.putrequest("POST", "/v1/audio/transcriptions")
        for name, value in fields.items():
            connection.putheader(name, value.encode("latin-1"))
        connection.endheaders(body)
        return number, connection.getresponse().status
    except (OSError, ValueError, http.client.HTTPException):
        return number, 0
    finally:
        connection.close()


def ask(command, cases):
    """What a reader's parsers read in each body."""
    reader = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def write():
        for content_type, body in cases:
            line = json.dumps({"type": content_type, "body": base64.b64encode(body).decode()})
            reader.stdin.write(line.encode() + b"\n")
        reader.stdin.close()

    threading.Thread(target=write, daemon=True).start()
    answers = [json.loads(line)["reads"] for line in reader.stdout]
    if reader.wait() != 0 or len(answers) != len(cases):
        sys.exit(f"{command} ended after {len(answers)} of {len(cases)} bodies")
    return answers


def main():
    program = sys.argv[1]
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 20_000
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else int(time.time())
    readers = install(pathlib.Path(os.environ.get("CARGO_TARGET_DIR", "target")).resolve() / "differential")
    upstream = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    threading.Thread(target=upstream.serve_forever, daemon=True).start()

    generated = dict(enumerate(bodies(seed, count)))
    statuses = {}
    for part, prefix in enumerate(["", 'prefix: "p/",']):
        process, port = start(program, upstream.server_address[1], prefix)
        half = [(number, body) for number, body in generated.items() if number % 2 == part]
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            statuses.update(pool.map(lambda numbered: send(port, numbered), half))
        process.terminate()
        process.wait()

    relayed = sorted(Upstream.seen)
    refused = [number for number in generated if number not in Upstream.seen]
    cases = [Upstream.seen[number] for number in relayed] + [generated[number] for number in refused]
    kinds = ", ".join(f"{status}: {number}" for status, number in sorted(collections.Counter(statuses.values()).items()))
    print(f"seed {seed}: {count} bodies, {len(relayed)} relayed (answers {kinds})")

    violations = 0
    with concurrent.futures.ThreadPoolExecutor() as pool:
        asked = {language: pool.submit(ask, command, cases) for language, command in readers.items()}
    for language, answers in ((language, answers.result()) for language, answers in asked.items()):
        for parser in answers[0]:
            reads = [answer[parser] for answer in answers]
            hides = [any(model.lower() in HIDDEN for model in models or []) for models in reads]
            bad = [number for number, hidden in zip(relayed, hides) if hidden]
            named = sum(bool(models) for models in reads[: len(relayed)])
            print(f"{language:7} {parser:22} of the relayed: {named:6} with a model, {len(bad):4} with a hidden one;"
                  f" of the others: {sum(hides[len(relayed):]):6} with a hidden one")
            for number in bad[:3]:
                print("        ", generated[number], "relayed as", Upstream.seen[number])
            violations += len(bad)
    if violations:
        sys.exit(f"a hidden model was read {violations} times in what was relayed")
    print("no parser reads a hidden model in what was relayed")


main()
