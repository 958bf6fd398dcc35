"""What is wrong with the library's folders, in sentences: for `manage.py doctor`. Reads the folders, not the database."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from api.library.identification import Fields, ReasonKind, describe_file
from api.library.layouts import Layout, find_layout
from api.library.models import Kind
from api.library.walk import DEAD_LINK, LINK_OUT, SUFFIXES, Walk

MOST_NAMED = 5
"""Files that are named one by one."""
SETTING_CURE = "Correct LIBRARY_DIRS, or mount the disk."
CONVERT = "Where you trust them: `.venv/bin/python manage.py convert_weights FILE` for each."

CURES = {
    LINK_OUT: "Set LIBRARY_FOLLOW_LINKS=true, or put the file itself there.",
    DEAD_LINK: "Mount what the link leads to, or remove it.",
}


@dataclass(frozen=True)
class FolderFinding:
    text: str
    cure: str = ""
    is_wrong: bool = False


def examine_folders() -> Iterator[FolderFinding]:
    if not settings.LIBRARY_DIRS:
        yield FolderFinding(
            "LIBRARY_DIRS names no folder, and there is no folder models/ here: only the catalog's models are offered"
        )
    for root in settings.LIBRARY_DIRS:
        yield from examine_folder(root)


def examine_folder(root: Path) -> Iterator[FolderFinding]:
    if not root.exists():
        yield FolderFinding(f"The folder {root} of LIBRARY_DIRS is not there.", SETTING_CURE, is_wrong=True)
        return
    if not root.is_dir():
        yield FolderFinding(f"{root} of LIBRARY_DIRS is a file, and no folder.", SETTING_CURE, is_wrong=True)
        return
    if not os.access(root, os.R_OK | os.X_OK):
        yield FolderFinding(
            f"The folder {root} can't be read by this account.", "Give this account the right to read it.", is_wrong=True
        )
        return
    layout = find_layout(root)
    whole = [folder for other in settings.LIBRARY_DIRS if other.is_dir() for folder in find_layout(other).folders]
    walk = Walk(layout.folders, follow_links=settings.LIBRARY_FOLLOW_LINKS, besides=whole)
    files = [describe_file(found) for found in walk]
    yield from describe_folder(root, layout, files)
    for problem in (*layout.problems, *walk.problems):
        yield FolderFinding(problem, "Mend it, or leave it if those files are not wanted.")


def describe_folder(root: Path, layout: Layout, files: list[Fields]) -> Iterator[FolderFinding]:
    if not files:
        endings = ", ".join(SUFFIXES)
        cure = "Name the folder that holds the models: A1111's, Forge's or ComfyUI's own folder will do."
        yield FolderFinding(f"No files of models ({endings}) are recognised in {root}.", cure, is_wrong=True)
        return
    usable = [one for one in files if not one["reason"]]
    kinds = Counter(str(Kind(one["kind"]).label) for one in usable)
    counts = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    yield FolderFinding(
        f"{root} ({layout.name}): {len(files)} files, {len(usable)} can be used{f' ({counts})' if counts else ''}"
    )
    pickles = [one for one in files if one["reason_kind"] == ReasonKind.PICKLE]
    if len(pickles) == len(files):
        text = f"{root} has pickles only ({pickles[0]['file_name']} and {len(pickles) - 1} more), which are never opened."
        yield FolderFinding(text, CONVERT, is_wrong=True)
    elif pickles:
        yield FolderFinding(
            f"{len(pickles)} files are pickles, such as {pickles[0]['file_name']}, and are never opened.", CONVERT
        )
    yield from name_unreadable([one for one in files if one["reason_kind"] == ReasonKind.UNREADABLE])


def name_unreadable(files: list[Fields]) -> Iterator[FolderFinding]:
    """LFS pointers, truncated files, dead links, downloads that have not ended."""
    for one in files[:MOST_NAMED]:
        cure = CURES.get(one["reason"], "Fetch it again, or remove it.")
        yield FolderFinding(f"{one['path']}: {one['reason']}", cure, is_wrong=True)
    if len(files) > MOST_NAMED:
        more = len(files) - MOST_NAMED
        yield FolderFinding(f"{more} more files can't be read.", "`.venv/bin/python manage.py library why-not` names them all.")
