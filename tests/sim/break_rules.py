#!/usr/bin/env python3
"""break_rules.py SRC CHANGE OUT: writes into OUT the file of SRC that a change of tests/sim/broken is about, changed.

The build compiles a broken node of it, with OUT in front of SRC; the product knows nothing of this. A change whose text is
no longer there exactly once fails the build: it has to be written anew.
"""
import os
import re
import sys


def parse(path):
    """The head's fields (without a scenario: `groups`), and the two texts."""
    with open(path) as f:
        text = f.read()
    head, rest = text.split('--- instead of\n', 1)
    old, new = rest.split('--- there is\n', 1)
    fields = dict(re.findall(r'^(scenario|source|file|caught by):? (.*)$', head, re.M))
    return fields, old, new


def main():
    src, change, out = sys.argv[1:]
    fields, old, new = parse(change)
    with open(os.path.join(src, fields['file'])) as f:
        text = f.read()
    if text.count(old) != 1:
        sys.exit(f"{change}: its text is {text.count(old)} times in {fields['file']}")
    path = os.path.join(out, fields['file'])
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'w') as f:
        f.write(text.replace(old, new))


if __name__ == '__main__':
    main()
