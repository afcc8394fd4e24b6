#!/usr/bin/env python3
"""Writes to standard output what is linked into the binary: each crate's name, version and licence, and the texts that
it comes with, which its licence wants passed on with every copy."""

import json
import pathlib
import subprocess
import sys

TEXTS = ("licen", "copying", "notice", "unlicense", "copyright")
ROOT = pathlib.Path(__file__).resolve().parent.parent


def metadata():
    rustc = subprocess.run(["rustc", "-vV"], check=True, capture_output=True, text=True).stdout
    host = next(line.split()[1] for line in rustc.splitlines() if line.startswith("host:"))
    command = ["cargo", "metadata", "--format-version=1", "--locked", "--filter-platform", host]
    return json.loads(subprocess.run(command, check=True, capture_output=True, cwd=ROOT).stdout)


def linked(data):
    """Ids of what `waybill` depends on, without what only tests and build scripts use."""
    nodes = {node["id"]: node for node in data["resolve"]["nodes"]}
    todo = [package["id"] for package in data["packages"] if package["name"] == "waybill"]
    found = set()
    while todo:
        at = todo.pop()
        if at not in found:
            found.add(at)
            kinds = lambda needed: [kind["kind"] for kind in needed["dep_kinds"]]
            todo += [needed["pkg"] for needed in nodes[at]["deps"] if None in kinds(needed)]
    return found


def main():
    data = metadata()
    wanted = linked(data)
    foreign = [package for package in data["packages"] if package["id"] in wanted and package["source"]]
    print("Waybill is licensed under Apache-2.0. These libraries are linked into it:\n")
    for package in sorted(foreign, key=lambda package: (package["name"], package["version"])):
        directory = pathlib.Path(package["manifest_path"]).parent
        texts = sorted(path for path in directory.iterdir() if path.is_file() and path.name.lower().startswith(TEXTS))
        print("=" * 100)
        print(f"{package['name']} {package['version']}: {package['license'] or 'see below'}")
        if package["authors"]:
            print("by " + ", ".join(package["authors"]))
        if not (package["license"] or texts):
            sys.exit(f"{package['name']} {package['version']} names no licence and has no licence file")
        for path in texts:
            print(f"\n--- {path.name}\n\n{path.read_text(errors='replace').strip()}")
        print()


main()
