#!/usr/bin/env python3
"""Checks the house rules that a machine can check; prints each breach as file:line: what.

- include arrows: what each room may include beyond `base` (the table below is docs/design.md's);
- operating system calls only in `io/linux` and `app` (by their headers), Asio only in `io/linux`;
- line length (100), function length (70, exceptions listed), file length (1,200);
- every header opens with a comment and compiles alone is left to the build (headers are included first).

A canary of each rule must be found, or the check itself has failed.
"""
import os
import re
import subprocess
import sys

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), '..', '..'))
SRC = os.path.join(ROOT, 'src')

ROOMS = {
    'base': [],
    'io': [],
    'wire': [],
    'log': ['io', 'wire'],
    'raft': ['wire', 'log', 'io'],
    'metadata': ['wire'],
    'security': ['wire', 'metadata'],
    'machines': ['wire', 'metadata'],
    'replica': ['io', 'wire', 'log', 'metadata'],
    'server': ['io', 'wire', 'log', 'raft', 'metadata', 'security', 'machines', 'replica'],
    'http': ['io', 'metadata'],
    'node': ['io', 'wire', 'log', 'raft', 'metadata', 'security', 'machines', 'replica', 'server', 'http'],
    'app': ['io', 'wire', 'log', 'raft', 'metadata', 'security', 'machines', 'replica', 'server', 'http', 'node'],
    'sim': ['io', 'wire', 'log', 'raft', 'metadata', 'security', 'machines', 'replica', 'server', 'node'],
}
# raft/step is pure: its driver and files may see log and io, the step may not.
PURE = {'raft/step': ['wire']}
# Rooms whose tests may use the in-memory seam.
TEST_EXTRA = ['sim']

SYSTEM_HEADERS = re.compile(
    r'^#include <(sys/|unistd\.h|fcntl\.h|poll\.h|netinet|arpa/|netdb\.h|pthread\.h|thread>|mutex>|chrono>|random>|'
    r'fstream>|iostream>|filesystem>|condition_variable>|shared_mutex>|time\.h|ctime>|csignal>|signal\.h|dirent\.h)')
ASIO = re.compile(r'^#include <boost/asio')
INCLUDE = re.compile(r'^#include "([a-z_]+)/')
# Functions that may be longer than 70 lines, with the reason.
LONG_FUNCTIONS = {}

MAX_LINE, MAX_FUNCTION, MAX_FILE = 100, 70, 1200


def tracked():
    out = subprocess.run(['git', '-C', ROOT, 'ls-files', '-co', '--exclude-standard'], capture_output=True, text=True)
    for name in out.stdout.splitlines():
        if name.endswith(('.cc', '.h')) and not name.startswith('build/') and os.path.exists(os.path.join(ROOT, name)):
            yield name


def allowed(path):
    """What a file under src/ may include, or None for anything."""
    room = path.split('/')[1]
    stem = path[len('src/'):].rsplit('.', 1)[0]
    may = ROOMS.get(room)
    if may is None:
        return None
    for prefix, only in PURE.items():
        if stem.startswith(prefix) and not stem.endswith('_test'):
            may = only
    may = ['base', room] + list(may)
    if stem.endswith('_test') or '/testing/' in path:
        may += TEST_EXTRA
    return may


def check_text(path, text):
    """All breaches of one file, as (line, what)."""
    found = []
    lines = text.split('\n')
    in_src = path.startswith('src/')
    room = path.split('/')[1] if in_src else ''
    may = allowed(path) if in_src else None
    is_test = path.endswith('_test.cc')
    if len(lines) > MAX_FILE:
        found.append((len(lines), f'file has {len(lines)} lines; the wall is {MAX_FILE}'))
    if path.endswith('.h') and not lines[0].startswith('//'):
        found.append((1, 'a header opens with what the thing is'))
    for n, line in enumerate(lines, 1):
        if len(line) > MAX_LINE:
            found.append((n, f'line has {len(line)} columns; at most {MAX_LINE}'))
        m = INCLUDE.match(line)
        if m and may is not None and m.group(1) in ROOMS and m.group(1) not in may:
            found.append((n, f'{room} may not include {m.group(1)}'))
        if in_src and not path.startswith('src/io/linux/') and ASIO.match(line):
            found.append((n, 'Asio appears only inside io/linux'))
        if in_src and not is_test and room not in ('app', 'sim') and not path.startswith('src/io/linux/') \
                and SYSTEM_HEADERS.match(line):
            found.append((n, 'the operating system is reached only through io'))
    found += long_functions(path, lines)
    return found


def long_functions(path, lines):
    """A function body starts at a line that ends in `) {` (or `const {` …) at namespace or class depth and ends at the
    line with the closing brace of the same indent."""
    found = []
    start = None
    head = re.compile(r'^(\s*)(?!(if|for|while|switch|else|do|namespace|class|struct|enum|union|extern)\b)\S.*'
                      r'(\)|const|noexcept|override|final|->.*)\s*\{$')
    for n, line in enumerate(lines, 1):
        if start is None:
            m = head.match(line)
            if m and len(m.group(1)) <= 4 and '= [' not in line and 'TEST' not in line:
                start = (n, m.group(1), line.strip())
        elif line.startswith(start[1] + '}') and (len(line) == len(start[1]) + 1 or line[len(start[1]) + 1] in ' ;,)'):
            length = n - start[0] + 1
            name = re.sub(r'\(.*', '', start[2]).split(' ')[-1].lstrip('*&')
            if length > MAX_FUNCTION and f'{path}:{name}' not in LONG_FUNCTIONS:
                found.append((start[0], f'{name} has {length} lines; at most {MAX_FUNCTION}'))
            start = None
    return found


def canaries():
    """Each rule must find its breach."""
    body = '\n'.join('  x();' for _ in range(80))
    cases = [
        ('src/machines/x.h', '// x\n#include "log/log.h"\n', 'machines may not include log'),
        ('src/raft/step.h', '// x\n#include "io/io.h"\n', 'raft may not include io'),
        ('src/log/x.cc', '#include <unistd.h>\n', 'operating system'),
        ('src/server/x.cc', '#include <boost/asio/io_context.hpp>\n', 'Asio'),
        ('src/log/x.cc', '// ' + 'x' * 120 + '\n', 'columns'),
        ('src/log/x.cc', 'void f() {\n' + body + '\n}\n', 'f has 82 lines'),
        ('src/log/x.cc', '\n' * 1300, 'wall'),
        ('src/log/x.h', '#pragma once\n', 'opens with'),
    ]
    for path, text, want in cases:
        if not any(want in what for _, what in check_text(path, text)):
            sys.exit(f'house: the check for "{want}" finds nothing any more')
    return len(cases)


def main():
    known = canaries()
    breaches = files = 0
    for path in tracked():
        files += 1
        with open(os.path.join(ROOT, path), encoding='utf-8') as f:
            for line, what in check_text(path, f.read()):
                print(f'{path}:{line}: {what}')
                breaches += 1
    print(f'house: {files} files, {known} canaries, {breaches} breaches')
    return 1 if breaches else 0


if __name__ == '__main__':
    sys.exit(main())
