#!/usr/bin/env python3
"""Writes the C++ of all messages, errors and API keys from ../schemas. Run by the build.

usage: generate.py SCHEMAS OUT          writes OUT/wire/gen/*.h and *.cc, touching only what changed
       generate.py SCHEMAS OUT --list   prints the files that it would write, one a line
"""

import sys
import zlib
from pathlib import Path

import emit
import emit_tables
import schema
import tables

GROUPS = 14  # sources; a message stays in its group whatever happens to others


def outputs(root):
    """Path below wire/gen -> text."""
    files = schema.load(root)
    groups = [[] for _ in range(GROUPS)]
    for f in files:
        groups[zlib.crc32(f.stem.encode()) % GROUPS].append(f)
    out = {f"{f.stem}.h": emit.header_file(f) for f in files}
    for i, group in enumerate(groups):
        out[f"messages_{i:02}.cc"] = emit.source_file(group)
        out[f"tables_{i:02}.cc"] = emit_tables.source_file(group)
    out["index.cc"] = emit_tables.index_file(files)
    out["error_codes.h"] = tables.error_codes(root / "errors.txt")
    out["api_key_table.h"] = tables.api_keys(root / "api-keys.txt", files)
    return out


def main():
    root, out = Path(sys.argv[1]), Path(sys.argv[2]) / "wire" / "gen"
    files = outputs(root)
    if sys.argv[3:] == ["--list"]:
        print("\n".join(str(out / name) for name in files))
        return
    out.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        path = out / name
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


if __name__ == "__main__":
    main()
