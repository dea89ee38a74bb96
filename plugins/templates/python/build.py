"""Builds plugin.wasm: `python3 build.py`. What that takes is pinned in requirements.txt and installed into .venv."""

import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
TOOLS = HERE / ".venv"
BIN = TOOLS / ("Scripts" if sys.platform == "win32" else "bin")


def install() -> None:
    wanted, installed = HERE / "requirements.txt", TOOLS / "installed.txt"
    if installed.is_file() and installed.read_bytes() == wanted.read_bytes():
        return
    venv.create(TOOLS, clear=True, with_pip=True)
    pip = [BIN / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--require-hashes", "--only-binary", ":all:", "--requirement", wanted], check=True)
    # Last, so that an interrupted installation is started again.
    installed.write_bytes(wanted.read_bytes())


def build() -> None:
    world = ["--wit-path", HERE / "wit", "--world", "channel-plugin"]
    made = ["--python-path", HERE / "src", "app", "--output", HERE / "plugin.wasm"]
    # Plugins get nothing of WASI: what Python would ask of it is left out.
    subprocess.run([BIN / "componentize-py", "--quiet", *world, "componentize", "--stub-wasi", *made], check=True)


install()
build()
