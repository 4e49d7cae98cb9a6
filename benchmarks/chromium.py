"""Pages in headless Chromium, which tell what they found."""

import json
import os
import queue
import shutil
import signal
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Any

from dlth_tf.browser.serving import PageHandler, server

_OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


def report_of(folder: Path, page: str = "", seconds: float = 600) -> Any:
    """What a page of a folder, opened with `?report`, posts; parsed from JSON.

    Raises:
        RuntimeError: there is no Chromium, or the page was silent for so many seconds.
    """
    chromium = shutil.which("chromium")
    if chromium is None:
        raise RuntimeError("This needs Chromium (Debian: apt install chromium).")
    reports: queue.Queue[Any] = queue.Queue()

    class Listening(PageHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            reports.put(json.loads(self.rfile.read(length)))
            self.send_response(204)
            self.end_headers()

    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile,
        server(folder, handler=Listening) as serving,
    ):
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{serving.server_port}/{page}?report"
        browser = subprocess.Popen(
            [chromium, *_OPTIONS, f"--user-data-dir={profile}", address],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            return reports.get(timeout=seconds)
        except queue.Empty:
            raise RuntimeError(f"The page was silent for {seconds:g} seconds.") from None
        finally:
            # Its many processes are one group.
            os.killpg(browser.pid, signal.SIGTERM)
            browser.wait()
            serving.shutdown()
