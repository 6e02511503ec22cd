"""Builds the zip that Jeedom installs, of files that git tracks: `package.py OUT.zip PATH…`. Always the same bytes."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = "EVcharger"
EPOCH = (2020, 1, 1, 0, 0, 0)  # of every entry: two builds of one commit are the same file


def main(out: str, *paths: str) -> int:
    listed = subprocess.run(["git", "ls-files", "-z", "--", *paths], cwd=ROOT, capture_output=True, check=True)
    files = sorted(name for name in listed.stdout.decode().split("\0") if name)
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in files:
            entry = zipfile.ZipInfo(f"{FOLDER}/{name}", EPOCH)
            entry.external_attr = (0o100000 | (ROOT / name).stat().st_mode & 0o777) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, (ROOT / name).read_bytes())
    print(f"{len(files)} files")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
