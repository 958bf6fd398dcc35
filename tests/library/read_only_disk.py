"""What a library does with folders on a disk that takes no writes: run by test_read_only_disk.py where the disk is one. Prints JSON."""

import json
import os
import sys
from pathlib import Path

import django


def main(library: Path, other: Path) -> None:
    from django.core.management import call_command

    from api.library.diagnosis import examine_folders
    from api.library.hashing import hash_rows
    from api.library.models import LibraryFile
    from api.library.moving import NotMoved, move_file
    from api.library.previews import make_thumbnail
    from api.library.scan import scan_library
    from api.loading.single_files.plan import find_vae_file
    from config.catalog import get_catalog

    call_command("migrate", verbosity=0)
    reports = [scan_library(), scan_library()]
    row = LibraryFile.objects.get(file_name="photo.safetensors")
    hashed = hash_rows(LibraryFile.objects.unhashed())
    try:
        move_file(row, other)
        moved = ""
    except NotMoved as error:
        moved = str(error)
    entry = get_catalog().get("photo")
    found = {
        "writable": os.access(library, os.W_OK),
        "added": [report.added for report in reports],
        "problems": [problem for report in reports for problem in report.problems],
        "hashed": hashed,
        "thumbnail": len(make_thumbnail(row)),
        "wrong": [finding.text for finding in examine_folders() if finding.is_wrong],
        "moved": moved,
        "left": sorted(file.name for file in other.iterdir()),
        "vae": find_vae_file(entry, Path(row.path)).name,  # type: ignore[union-attr]
    }
    print(json.dumps(found))


if __name__ == "__main__":
    django.setup()
    main(*map(Path, sys.argv[1:]))
