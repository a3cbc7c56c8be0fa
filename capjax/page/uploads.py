"""Photos that come through a browser: read once, and then gone from the disk."""

import contextlib
import shutil
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from capjax.page.pictures import Encoders, Picture, photo

REMEMBERED = 16  # photos; two people may drop the same one at once, and it has one place
LEFT = 60.0  # seconds that what nobody asks about may lie on the disk


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
                if inside:
                    path.unlink(missing_ok=True)
                    with contextlib.suppress(OSError):  # another's of the same digest is there
                        path.parent.rmdir()
            self._read[path] = picture
            while len(self._read) > REMEMBERED:
                self._read.popitem(last=False)
        return picture

    def sweep(self, older: float = LEFT) -> None:
        """Removes what is left of uploads that were broken off, or that nobody asked about.

        Args:
          older: than so many seconds; a slow upload that is under way has been written to since.
        """
        for place in self.folder.iterdir():
            with contextlib.suppress(FileNotFoundError):  # others remove theirs
                if time.time() - place.stat().st_mtime < older:
                    continue
                if place.is_dir():
                    shutil.rmtree(place, ignore_errors=True)
                else:
                    place.unlink()
