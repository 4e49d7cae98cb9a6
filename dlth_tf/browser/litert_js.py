"""LiteRT.js, the engine that runs LiteRT files in browsers, from the npm registry."""

import shutil
import subprocess
import tempfile
from pathlib import Path

VERSION = "2.5.3"
_PACKAGES = ("core", "wasm-utils")
# For one thread, with relaxed SIMD and without: the engine takes what a browser knows.
_FILES = (
    "core/dist/index.js",
    "wasm-utils/dist/index.js",
    "core/wasm/litert_wasm_internal.js",
    "core/wasm/litert_wasm_internal.wasm",
    "core/wasm/litert_wasm_compat_internal.js",
    "core/wasm/litert_wasm_compat_internal.wasm",
)


def fetch(folder: Path) -> None:
    """Puts LiteRT.js into a folder, for pages to load from there.

    npm keeps what it fetched once, and then needs no network.

    Raises:
        RuntimeError: there is no npm, or it could not get the package.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise RuntimeError(
            "LiteRT.js is fetched by npm, which is not installed (https://nodejs.org, "
            "Debian: apt install npm). `python -m dlth_tf.export --format=litert` needs "
            "none of it."
        )
    packages = [f"@litertjs/{name}@{VERSION}" for name in _PACKAGES]
    options = ("--prefer-offline", "--ignore-scripts", "--no-audit", "--no-fund")
    with tempfile.TemporaryDirectory() as temporary:
        command = [npm, "install", *options, "--prefix", temporary, *packages]
        done = subprocess.run(command, cwd=temporary, capture_output=True, text=True)
        if done.returncode:
            reason = "; ".join(done.stderr.strip().splitlines()[:3])
            raise RuntimeError(f"npm could not fetch {packages[0]}: {reason}")
        for file in _FILES:
            target = folder / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(Path(temporary, "node_modules", "@litertjs", file), target)
