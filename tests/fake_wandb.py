"""A W&B server of one's own on 127.0.0.1: it answers, refuses the key, falls silent, or is not there."""

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ENTITY = {"name": "somebody"}


class FakeServer:
    """``silent``: from now on it takes connections and never answers; ``rows``: the history it was sent."""

    def __init__(self, knows_the_key: bool = True, begins_runs: bool = True):
        self.knows_the_key, self.begins_runs = knows_the_key, begins_runs
        self.silent, self.over = threading.Event(), threading.Event()
        self.rows: list[dict] = []
        self.exit_codes: list[int] = []
        self.buckets: list[dict] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler(self))
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def close(self) -> None:
        self.over.set()
        self.server.shutdown()
        self.server.server_close()

    def answer(self, query: str, variables: dict) -> dict | None:
        """What W&B's GraphQL interface says; None: nothing, ever."""
        if "viewer" in query:
            return {"viewer": {"id": "me", "entity": "somebody", "flags": "{}"}}
        if not self.begins_runs:
            return None
        if "upsertBucket" in query:
            self.buckets.append(variables)
            project = {"name": variables.get("project") or "aelab", "entity": ENTITY}
            bucket = {"id": "aWQ=", "name": variables.get("name"), "displayName": "run", "project": project}
            return {"upsertBucket": {"bucket": bucket, "inserted": True}}
        if "createRunFiles" in query:
            files = [{"name": name, "uploadUrl": f"{self.url}/upload"} for name in variables["files"]]
            return {"createRunFiles": {"runID": "aWQ=", "uploadHeaders": [], "files": files}}
        if "bucket(" in query:
            return {"model": {"id": "x", "name": "aelab", "entity": ENTITY, "bucket": None}}
        return {}


def handler(fake: FakeServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            answer = None if fake.silent.is_set() else self.reply(body)
            if answer is None:
                fake.over.wait()
                return
            text = json.dumps(answer).encode()
            self.send_response(200 if fake.knows_the_key else 401)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_PUT = do_POST

        def reply(self, body: bytes) -> dict | None:
            if self.path.endswith("file_stream"):
                sent = json.loads(body)
                lines = sent.get("files", {}).get("wandb-history.jsonl", {}).get("content", [])
                fake.rows += [json.loads(line) for line in lines]
                fake.exit_codes += [sent["exitcode"]] if "exitcode" in sent else []
                return {"limits": {}}
            if self.path != "/graphql":
                return {}
            asked = json.loads(body)
            data = fake.answer(asked["query"], asked.get("variables") or {})
            return None if data is None else {"data": data}

    return Handler


def dead_port() -> str:
    """The address of a port of this machine at which nobody listens."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{found.getsockname()[1]}"
