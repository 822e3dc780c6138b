"""A small web server in this process, for sources that are fetched by http and git."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@contextmanager
def web_server(handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    """Serves on a loopback port for the length of the block, and gives the port. Nobody waits for a client that stays connected."""

    class Quiet(handler):  # type: ignore[valid-type, misc]
        def log_message(self, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    server.socket.settimeout(2)  # a caller that has gone again before it was accepted must not hold the end of the block
    server.daemon_threads, server.block_on_close = True, False
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


@contextmanager
def served_folder(folder: Path) -> Iterator[int]:
    """The files below a folder, as they are when they are asked for; gives the port."""

    class Files(SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # with 1.0 each answer ends by closing, and git has seen the rest of one as the next

        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(folder))  # type: ignore[arg-type]

    with web_server(Files) as port:
        yield port


@contextmanager
def answering(what: Callable[[], object]) -> Iterator[str]:
    """An address whose every GET is answered with `what()` as JSON; `what` is called in the server's thread."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(what()).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with web_server(Answer) as port:
        yield f"http://127.0.0.1:{port}/"
