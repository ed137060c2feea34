"""An HTTP server in this process, which responds to GET as a function says."""

import http.server
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import Message

Respond = Callable[[str, Message], tuple[int, bytes]]
"""Returns the status and the body for a path and the headers of the request."""


@contextmanager
def serving(respond: Respond) -> Iterator[str]:
    """Yield the URL of a server on a free port of 127.0.0.1, which ends with the context."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = respond(self.path, self.headers)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
