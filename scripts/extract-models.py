#!/usr/bin/env python3
"""Extracts from botocore, AWS's own service models, what the tests validate inputs with.

For every operation of the emulator: its input's shapes with required members, patterns, lengths, ranges and enums;
no prose. Writes test/models/<service>.json. Run it when an operation is added:

    pip install botocore && node -r ts-node/register/transpile-only test/support/list-operations.ts | python3 scripts/extract-models.py

Reads lines `service Operation` from standard input.
"""
import glob
import gzip
import json
import os
import sys

import botocore

KEPT = ("type", "required", "min", "max", "pattern", "enum", "union", "flattened")
# Signing names that differ from botocore's folders.
FOLDERS = {"monitoring": "cloudwatch"}
OUTPUT = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "test", "models")


def model_of(service):
    folder = os.path.join(os.path.dirname(botocore.__file__), "data", FOLDERS.get(service, service))
    newest = sorted(glob.glob(os.path.join(folder, "*", "service-2.json*")))[-1]
    opener = gzip.open if newest.endswith(".gz") else open
    with opener(newest) as file:
        return json.load(file)


def shape_of(shape):
    kept = {key: shape[key] for key in KEPT if key in shape}
    if "members" in shape:
        kept["members"] = {name: member["shape"] for name, member in shape["members"].items()}
    for side in ("member", "key", "value"):
        if side in shape:
            kept[side] = shape[side]["shape"]
    return kept


def closure(shapes, name, found):
    if name in found:
        return
    found[name] = shape_of(shapes[name])
    shape = shapes[name]
    children = [member["shape"] for member in shape.get("members", {}).values()]
    children += [shape[side]["shape"] for side in ("member", "key", "value") if side in shape]
    for child in children:
        closure(shapes, child, found)


def main():
    wanted = {}
    for line in sys.stdin:
        service, operation = line.split()
        wanted.setdefault(service, set()).add(operation)
    os.makedirs(OUTPUT, exist_ok=True)
    for service, operations in sorted(wanted.items()):
        model = model_of(service)
        shapes, inputs = {}, {}
        for operation in sorted(operations):
            source = model["operations"][operation].get("input")
            inputs[operation] = source["shape"] if source else None
            if source:
                closure(model["shapes"], source["shape"], shapes)
        with open(os.path.join(OUTPUT, f"{service}.json"), "w") as file:
            json.dump(
                {"apiVersion": model["metadata"]["apiVersion"], "operations": inputs, "shapes": shapes},
                file,
                indent=1,
                sort_keys=True,
            )
            file.write("\n")


main()
