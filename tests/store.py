"""A store of objects on this machine that answers as Google's does, for runs on gs://."""

import contextlib
import importlib
import importlib.util
import threading
from collections.abc import Callable, Iterator
from http import HTTPStatus
from http.server import ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import pytest

BUCKET = "bucket"
NEEDED = ("gcsfs", "gcp_storage_emulator")


@contextlib.contextmanager
def emulated() -> Iterator[str]:
    """A store with one bucket, empty, which this process and those it starts find: gs://bucket."""
    if lacks := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        pytest.skip(f"{' and '.join(lacks)} lack: pip install 'capjax[gs]' gcp-storage-emulator")
    server = importlib.import_module("gcp_storage_emulator.server")
    _complete(server)
    store = server.create_server("127.0.0.1", 0, in_memory=True, default_bucket=BUCKET)
    store.start()
    address = f"http://127.0.0.1:{store._api._httpd.server_port}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORAGE_EMULATOR_HOST", address)  # of gcsfs and google-cloud-storage
        patch.setenv("TENSORSTORE_GCS_HTTP_URL", address)
        # Else gcsfs asks Google by gRPC what kind of bucket it is.
        patch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
        try:
            yield f"gs://{BUCKET}"
        finally:
            store.stop()


class _Many(ThreadingHTTPServer):
    """Clients ask several things at once, give up some, and wait for seconds where none listens."""

    request_queue_size = 128
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who asked has been killed, or wants to know no more."""


def _complete(server: Any) -> None:
    """Teaches the emulator what it leaves out and tensorstore counts on: generations.

    Objects are read and written on the condition that they are, or are no longer, of a generation,
    and what is read tells its own. An upload that was cut leaves nothing.
    """
    if hasattr(server, "completed"):
        return
    server.completed = True
    objects, read = server.objects, server._read_raw_data

    def all_of_it(handler: Any) -> bytes | None:
        data = read(handler)
        if data is not None and len(data) < int(handler.headers.get("Content-Length") or 0):
            raise ConnectionError("the client is gone")
        return data

    server._read_raw_data = all_of_it
    server.server = SimpleNamespace(HTTPServer=_Many)
    handle, one_at_a_time = server.Router.handle, threading.Lock()

    def alone(router: Any, method: str) -> None:
        with one_at_a_time:
            handle(router, method)

    server.Router.handle = alone
    # Clients copy and delete instead; what is not answered they ask for again and again.
    server.HANDLERS = ((r".*/moveTo/o/.*", {"POST": _refuse}), *server.HANDLERS)
    conditional = {objects.get, objects.download, objects.insert, objects.delete}
    for _, methods in server.HANDLERS:
        for method, handler in methods.items():
            if handler in conditional:
                methods[method] = _on_condition(handler)


def _refuse(request: Any, response: Any, storage: Any) -> None:
    response.status = HTTPStatus.METHOD_NOT_ALLOWED


def _on_condition(handler: Callable[..., Any]) -> Callable[..., Any]:
    missing = importlib.import_module("gcp_storage_emulator.exceptions").NotFound

    def handle(request: Any, response: Any, storage: Any) -> None:
        query = {name: values[0] for name, values in request.query.items()}
        name = request.params.get("object_id") or query.get("name")
        now = "0"
        with contextlib.suppress(missing):
            now = storage.get_file_obj(request.params["bucket_name"], name)["generation"]
        if query.get("ifGenerationMatch", now) != now:
            _ = request.data  # what was sent is read, whatever becomes of it
            response.status = HTTPStatus.PRECONDITION_FAILED
            return
        if query.get("ifGenerationNotMatch") == now != "0":
            response.status = HTTPStatus.NOT_MODIFIED
            return
        handler(request, response, storage)
        if request.method == "GET" and now != "0":
            response["x-goog-generation"] = now

    return handle
