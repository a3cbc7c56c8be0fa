"""The page's server: on this machine unless told, and nothing of it on any disk or network."""

import contextlib
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import gradio

from capjax.errors import InputError
from capjax.page.answers import Answers
from capjax.page.blocks import blocks_of
from capjax.page.moves import Moves
from capjax.page.ready import How
from capjax.page.style import CSS
from capjax.page.uploads import Uploads

SWEPT = 10.0  # seconds from one look at what was left on the disk to the next


VISITORS = 100  # whose images are kept in memory, the latest


class Address(NamedTuple):
    """Where the page is found."""

    host: str = "127.0.0.1"
    port: int = 7860


@contextlib.contextmanager
def served(answers: Answers, address: Address, how: How, largest: int = 20) -> Iterator[str]:
    """Serves the page while inside; its address.

    Args:
      how: captions are drawn at first.
      largest: upload, in MB.
    Raises:
      InputError: nothing can be served there.
    """
    _check_free(address)
    with tempfile.TemporaryDirectory(prefix="capjax-demo-", ignore_cleanup_errors=True) as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder  # gradio asks nobody else where uploads go
        uploads = Uploads(Path(folder), answers.encoders)
        blocks = blocks_of(Moves(answers, uploads), how)
        try:
            url = _launched(blocks, address, largest)
        except OSError as error:
            raise _refused(address, error) from error
        done = threading.Event()
        threading.Thread(target=_sweeping, args=(uploads, done), daemon=True).start()
        try:
            yield url
        finally:
            done.set()
            blocks.close(verbose=False)


def serve(answers: Answers, address: Address, how: How, largest: int) -> None:
    """Serves the page until Ctrl-C, and compiles meanwhile what it will be asked for."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # nothing is left then
    with served(answers, address, how, largest) as url:
        print(f"capjax: open {url} (Ctrl-C ends it)", file=sys.stderr, flush=True)
        threading.Thread(target=answers.warm, daemon=True).start()
        threading.Event().wait()


def _sweeping(uploads: Uploads, done: threading.Event) -> None:
    while not done.wait(SWEPT):
        uploads.sweep()


def _check_free(address: Address) -> None:
    """Raises InputError where nothing can be served at an address."""
    if not 1 <= address.port < 2**16:
        raise InputError(f"--port={address.port} must be from 1 to {2**16 - 1}")
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        with socket.socket(*found[0][:3]) as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind(found[0][4])
    except OSError as error:
        raise _refused(address, error) from error


def _refused(address: Address, error: OSError) -> InputError:
    return InputError(
        f"the page cannot be served at --host={address.host} --port={address.port}"
        f" ({error.strerror or error}); give others"
    )


def _launched(blocks: gradio.Blocks, address: Address, largest: int) -> str:
    """Starts the server, with nothing beside the page; its address."""
    _, url, _ = blocks.launch(
        server_name=f"[{address.host}]" if ":" in address.host else address.host,
        server_port=address.port,
        max_file_size=f"{largest}mb",
        theme=_theme(),
        head=f"<style>{CSS}</style>",
        footer_links=[],
        run_history=False,
        prevent_thread_lock=True,
        quiet=True,
        share=False,
        inbrowser=False,
        ssr_mode=False,
        mcp_server=False,
        pwa=False,
        enable_monitoring=False,
        num_workers=0,
        state_session_capacity=VISITORS,
    )
    return url


def _theme() -> gradio.themes.Base:
    """Of fonts that are on the machine of who looks."""
    fonts = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "Arial", "sans-serif")
    mono = ("ui-monospace", "Consolas", "monospace")
    return gradio.themes.Default(primary_hue="blue", neutral_hue="gray", font=fonts, font_mono=mono)
