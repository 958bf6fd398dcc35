"""Lists the files of a library's folders. Opens none of them."""

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from api.files.formats import FORMAT_OF_SUFFIX
from api.library.models import ENDING, IN_FOLDER

WEIGHTS = (".safetensors", ".gguf")
PICKLES = (".ckpt", ".pt", ".pth", ".bin")
SUFFIXES = (*WEIGHTS, *PICKLES)
SIDECARS = (".civitai.info", ".cm-info.json", ".metadata.json", ".json")
"""Of Civitai Helper, Stability Matrix, ComfyUI's LoRA manager, and A1111 or Forge; what an earlier one says is taken first."""
PICTURES = tuple(FORMAT_OF_SUFFIX)
PREVIEWS = (*(f".preview{suffix}" for suffix in PICTURES), *PICTURES)
UNFINISHED = (".aria2", ".part", ".crdownload", ".download")
PIPELINE = "model_index.json"
IDENTIFIED_BY = 4
"""Raised when files are told apart in a better way: all are then read again."""

LINK_OUT = "It is a link to a place outside of the library; LIBRARY_FOLLOW_LINKS=true follows it."
PART_OUT = "Its {} is a link to a place outside of the library; LIBRARY_FOLLOW_LINKS=true follows it."
DEAD_LINK = "It is a link to a file that is not there."
UNFINISHED_DOWNLOAD = "Its download has not ended: {} lies beside it."


@dataclass(frozen=True, slots=True)
class FoundFile:
    path: str
    root: str
    size: int
    mtime_ns: int
    stamp: str
    sidecars: tuple[str, ...] = ()
    own_settings: str = ""
    """The name of the file of the owner's settings."""
    preview: str = ""
    vae: str = ""
    is_folder: bool = False
    problem: str = ""
    """Why it must not be opened."""


@dataclass
class Walk:
    """All files of weights below `folders`, with sentences about what could not be listed.

    Real folders come before links, so that a folder that can be reached in two ways is found by its own path. No folder is entered
    twice, which ends loops of links as well.
    """

    folders: list[Path]
    follow_links: bool = False
    problems: list[str] = field(default_factory=list)
    besides: Sequence[Path] = ()
    """Folders of the library that are not listed, to which links may lead as well."""

    def __iter__(self) -> Iterator[FoundFile]:
        self.entered: set[tuple[int, int]] = set()
        self.real_roots = [os.path.realpath(folder) for folder in (*self.folders, *self.besides)]
        waiting = [(str(folder), str(folder)) for folder in reversed(self.folders)]
        links: list[tuple[str, str]] = []
        while waiting or links:
            folder, root = waiting.pop() if waiting else links.pop(0)
            yield from self.list_folder(folder, root, waiting, links)

    def list_folder(
        self, folder: str, root: str, waiting: list[tuple[str, str]], links: list[tuple[str, str]]
    ) -> Iterator[FoundFile]:
        try:
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in self.entered:
                return
            self.entered.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as listing:
                found = list(listing)
                entries = {entry.name: entry for entry in found if is_text(entry.name)}
        except OSError as error:
            self.problems.append(f"The folder {shown(folder)} can't be listed ({error.strerror}).")
            return
        self.problems += [
            f"The file {shown(entry.path)} is left out: its name is not UTF-8. Give it another."
            for entry in found
            if entry.name not in entries and entry.name.lower().endswith(SUFFIXES)
        ]
        if PIPELINE in entries:
            yield from self.whole_folder(folder, root)
            return
        for name in sorted(entries):
            entry = entries[name]
            try:
                if entry.is_symlink() and entry.is_dir():
                    if self.may_follow(entry.path):
                        links.append((entry.path, root))
                    else:
                        self.problems.append(f"The link {shown(entry.path)} leads out of the library and is not followed.")
                elif entry.is_dir():
                    if not name.startswith("."):
                        waiting.append((entry.path, root))
                elif name.lower().endswith(SUFFIXES) and not name.startswith("."):
                    yield self.file(entry, root, entries)
            except OSError:
                continue  # it vanished meanwhile

    def may_follow(self, path: str) -> bool:
        """Links within the library are followed, as those of the hub's own cache."""
        target = os.path.realpath(path)
        return self.follow_links or any(target == root or target.startswith(root + os.sep) for root in self.real_roots)

    def may_read(self, entry: "os.DirEntry[str] | None") -> bool:
        """Whether there is such a file beside another one, and no link out of the library."""
        return entry is not None and (not entry.is_symlink() or self.may_follow(entry.path))

    def file(self, entry: "os.DirEntry[str]", root: str, entries: dict[str, "os.DirEntry[str]"]) -> FoundFile:
        """Raises OSError where it has vanished."""
        problem = ""
        if entry.is_symlink():
            problem = DEAD_LINK if not os.path.exists(entry.path) else "" if self.may_follow(entry.path) else LINK_OUT
        status = entry.stat(follow_symlinks=not problem)
        stem, _ = os.path.splitext(entry.name)
        sidecars = tuple(stem + ending for ending in SIDECARS if self.may_read(entries.get(stem + ending)))
        own_settings = stem + ENDING if stem + ENDING in entries else ""
        if own_settings and not problem and not self.may_read(entries[own_settings]):
            problem = PART_OUT.format(own_settings)
        preview = next((stem + ending for ending in PREVIEWS if stem + ending in entries), "")
        vae = f"{stem}.vae.safetensors" if self.may_read(entries.get(f"{stem}.vae.safetensors")) else ""
        unfinished = next((entry.name + ending for ending in UNFINISHED if entry.name + ending in entries), "")
        if unfinished and not problem:
            problem = UNFINISHED_DOWNLOAD.format(unfinished)
        beside = [entries[name] for name in (*sidecars, own_settings, preview, vae) if name]
        return FoundFile(
            path=entry.path,
            root=root,
            size=status.st_size,
            mtime_ns=status.st_mtime_ns,
            stamp=make_stamp(problem, *(stated(one.path) for one in beside)),
            sidecars=sidecars,
            own_settings=own_settings,
            preview=preview,
            vae=vae,
            problem=problem,
        )

    def whole_folder(self, folder: str, root: str) -> Iterator[FoundFile]:
        """A model in diffusers' layout: its size is that of its weights, its time that of the newest file."""
        size, newest, problem = 0, 0, ""
        own = os.path.join(folder, IN_FOLDER)
        try:
            for place, folders, names in os.walk(folder):
                paths = [os.path.join(place, name) for name in names]
                for path in (*(os.path.join(place, name) for name in folders), *paths):
                    if os.path.islink(path) and not self.may_follow(path):
                        problem = PART_OUT.format(os.path.relpath(path, folder))
                for path in paths:
                    status = os.stat(path)
                    size += status.st_size if path.endswith(".safetensors") else 0
                    newest = max(newest, status.st_mtime_ns if stat.S_ISREG(status.st_mode) else 0)
        except OSError:
            return  # it is being changed: the next scan finds it whole
        own_settings = IN_FOLDER if os.path.lexists(own) else ""
        yield FoundFile(
            path=folder,
            root=root,
            size=size,
            mtime_ns=newest,
            stamp=make_stamp(problem, *([stated(own)] if own_settings else [])),
            is_folder=True,
            own_settings=own_settings,
            problem=problem,
        )


def stated(path: str) -> str:
    """Of what lies beside a file, which may be a link to nothing, and is no reason to lose the file."""
    name = os.path.basename(path)
    try:
        status = os.stat(path)
    except OSError:
        return f"{name}:gone"
    return f"{name}:{status.st_size}:{status.st_mtime_ns}"


def make_stamp(*parts: str) -> str:
    return f"{IDENTIFIED_BY}:{hashlib.blake2b('/'.join(parts).encode(), digest_size=12).hexdigest()}"


def is_text(name: str) -> bool:
    """A name that is not UTF-8 can't be kept in a database."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def shown(path: str) -> str:
    return path.encode("utf-8", "replace").decode()
