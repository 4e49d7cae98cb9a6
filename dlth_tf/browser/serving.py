"""Serving a folder to browsers on this machine."""

import functools
import http.server
import os
from collections.abc import Callable


class PageHandler(http.server.SimpleHTTPRequestHandler):
    """Serves files of a folder to pages that measure time."""

    # Some systems take other types for these, which browsers then refuse.
    extensions_map = {  # noqa: RUF012
        **http.server.SimpleHTTPRequestHandler.extensions_map,
        ".js": "text/javascript",
        ".wasm": "application/wasm",
    }

    def end_headers(self) -> None:
        # A page that is isolated from others may read a finer clock.
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing: whoever looks at the page sees what it got."""


def server(
    folder: str | os.PathLike,
    host: str = "127.0.0.1",
    port: int = 0,
    handler: Callable[..., PageHandler] = PageHandler,
) -> http.server.ThreadingHTTPServer:
    """A server of a folder, for `serve_forever`; port 0 is any free one.

    Raises:
        OSError: the port can't be had.
    """
    serve = functools.partial(handler, directory=os.fspath(folder))
    try:
        return http.server.ThreadingHTTPServer((host, port), serve)
    except OSError as error:
        raise OSError(
            f"Port {port} of {host} can't be had: {error.strerror}. Choose another by "
            "--port; 0 takes any free one."
        ) from error
