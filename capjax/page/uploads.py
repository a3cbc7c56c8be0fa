"""Photos that come through a browser: read once, and then gone from the disk."""

import shutil
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from capjax.page.pictures import Encoders, Picture, photo

REMEMBERED = 16  # photos; two people may drop the same one at once, and it has one place
LEFT = 600  # seconds after which what nobody asked about is removed


class Uploads:
    """The folder that the page's server writes uploads to."""

    def __init__(self, folder: Path, encoders: Encoders) -> None:
        self.folder = folder.resolve()
        self._encoders = encoders
        self._read: OrderedDict[Path, Picture] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, upload: Mapping[str, Any]) -> Picture:
        """The photo of an upload, whose file is removed.

        Args:
          upload: {"path", "orig_name"}: FOLDER/DIGEST/NAME, the digest of what the file holds.
        Raises:
          InputError: it is no photo that can be read.
        """
        path = Path(upload["path"]).resolve()
        inside = path.parent.parent == self.folder
        with self._lock:
            picture = self._read.pop(path, None)
            try:
                # What is not ours to read is not there.
                lies = path if inside else self.folder / "none"
                name = upload.get("orig_name") or path.name
                picture = picture or photo(lies, name, self._encoders)
            finally:
                self._remove(path.parent if inside else None)
            self._read[path] = picture
            while len(self._read) > REMEMBERED:
                self._read.popitem(last=False)
        return picture

    def _remove(self, folder: Path | None) -> None:
        """Removes an upload, and what is left of those that were broken off."""
        for place in self.folder.iterdir():
            try:
                old = time.time() - place.stat().st_mtime > LEFT
            except FileNotFoundError:
                continue
            if place == folder or (old and place.is_dir()):
                shutil.rmtree(place, ignore_errors=True)
            elif old:
                place.unlink(missing_ok=True)
